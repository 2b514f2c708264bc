// Connection: one conversation with a Redis server, blocking, behind an interface that tests fake.
//
// Thread rule  One thread at a time, never a shard's.
// Pipelines    All commands leave, then all replies are read: one round trip. A pipeline is no transaction:
//              the server may run a part of it, and others' commands between.
// Errors       Trouble: the pipeline has no replies, and which of its commands were run is unknown. After
//              `lost` or `timeout` the connection is closed and answers `lost` from then on. A command that
//              the server refuses is not Trouble: its Reply says so, and the others were run.
// Safety       Words are counted, never quoted: no value can become a command.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ringtalk::store::redis {

enum class Fault : uint8_t {
  none,
  lost,        // the connection went, or could not be made
  timeout,     // as lost, but by our own patience
  denied,      // password, rights: not before somebody changes a setting
  refused,     // not now: out of memory, read-only, cannot save, too many clients, busy
  loading,     // not now: the server reads its snapshot
  wrong_type,  // the key holds another kind of value
  other,
};

// The server says no, and will say yes by itself some time later.
constexpr bool is_passing(Fault fault) {
  return fault == Fault::refused || fault == Fault::loading;
}

std::string_view name_of(Fault fault);
// Of an error reply, by its first word.
Fault fault_of_reply(std::string_view text);

struct Trouble {
  Fault fault = Fault::other;
  std::string text;
};

template <class T>
using Answer = std::expected<T, Trouble>;

struct Reply {
  Fault fault = Fault::none;
  bool nil    = false;
  std::string text;  // of strings, statuses, errors; an integer's digits; arrays are not kept
};

// Commands in the order they are sent. Keeps its memory when it is cleared.
class Pipeline {
 public:
  void add(std::initializer_list<std::string_view> words);
  // Further words of the newest command.
  void extend(std::initializer_list<std::string_view> words);
  void append(const Pipeline& other);
  // One command of another pipeline.
  void append(const Pipeline& other, size_t command);
  void clear();

  size_t size() const { return commands_.size(); }
  bool empty() const { return commands_.empty(); }
  size_t words(size_t command) const { return commands_[command].count; }
  std::string_view word(size_t command, size_t index) const;

 private:
  struct Command {
    uint32_t first;  // of its words
    uint32_t count;
  };
  std::vector<Command> commands_;
  std::vector<uint64_t> ends_;  // of each word in text_
  std::string text_;
};

class Connection {
 public:
  virtual ~Connection() = default;

  // One reply for each command.
  virtual Answer<std::vector<Reply>> run(const Pipeline& pipeline) = 0;
  virtual bool alive() const                                       = 0;
};

struct Server {
  std::string host = "127.0.0.1";
  uint16_t port    = 6379;
  uint32_t db      = 0;
  std::string socket;  // instead of host and port, if not empty
  std::string password;
  uint32_t connect_timeout_ms = 1000;
  uint32_t read_timeout_ms    = 2000;
  uint32_t write_timeout_ms   = 2000;

  friend bool operator==(const Server&, const Server&) = default;
};

using Connect = std::function<Answer<std::unique_ptr<Connection>>(const Server&)>;

// With hiredis. AUTH and SELECT are behind it when it returns.
Answer<std::unique_ptr<Connection>> connect(const Server& server);

}  // namespace ringtalk::store::redis
