// RedisPools: the Redis side of a TeamTalk site: five pools by name, which may be five servers, five
// databases of one, or all the same. For tools: what goes wrong is thrown.
//
// Reading  many keys in one round trip; what is missing, of another kind or no number is nothing.
// Errors   std::runtime_error: the server is away or refuses.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct redisContext;

namespace ringtalk::ctl {

enum class Pool : uint8_t { unread, group_set, token, sync, group_member };
inline constexpr size_t kPools = 5;
std::string_view name_of(Pool pool);

struct RedisSettings {
  struct Place {
    std::string host = "127.0.0.1";
    uint16_t port    = 6379;
    uint32_t db      = 0;
  };
  // As the original's installer numbers them.
  std::array<Place, kPools> pools{Place{.db = 1}, Place{.db = 2}, Place{.db = 4}, Place{.db = 3},
                                  Place{.db = 5}};
  std::string password;

  Place& operator[](Pool pool) { return pools[static_cast<size_t>(pool)]; }
  const Place& operator[](Pool pool) const { return pools[static_cast<size_t>(pool)]; }
};

class RedisPools {
 public:
  using Fields = std::vector<std::pair<std::string, std::string>>;

  explicit RedisPools(const RedisSettings& settings);

  std::vector<std::optional<std::string>> texts(Pool pool, std::span<const std::string> keys);
  std::vector<std::optional<uint64_t>> numbers(Pool pool, std::span<const std::string> keys);
  // One field of each hash.
  std::vector<std::optional<uint64_t>> field(Pool pool, std::span<const std::string> keys,
                                             std::string_view field);
  // Empty: there is no such hash.
  std::vector<Fields> hashes(Pool pool, std::span<const std::string> keys);
  uint64_t now(Pool pool);  // the server's clock, seconds

  // A command on its way; flush() sends what waits and checks every answer.
  void add(Pool pool, std::initializer_list<std::string_view> words);
  void flush();

 private:
  struct Close {
    void operator()(redisContext* context) const;
  };
  using Context = std::unique_ptr<redisContext, Close>;
  using Command = std::vector<std::string>;

  redisContext& context(Pool pool) { return *contexts_[static_cast<size_t>(pool)]; }
  template <class Take>
  void each(Pool pool, std::span<const Command> commands, Take take);

  std::array<Context, kPools> contexts_;
  std::array<std::vector<Command>, kPools> waiting_;
};

// Decimal text, nothing else around it.
std::optional<uint64_t> decimal(std::string_view text);

}  // namespace ringtalk::ctl
