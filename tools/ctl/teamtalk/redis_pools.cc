#include "tools/ctl/teamtalk/redis_pools.h"

#include <fmt/format.h>
#include <hiredis.h>
#include <sys/time.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace ringtalk::ctl {

namespace {

constexpr size_t kPipeline = 500;  // commands in one round trip
constexpr timeval kConnect{15, 0};
constexpr timeval kAnswer{60, 0};

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using ReplyPointer = std::unique_ptr<redisReply, FreeReply>;

[[noreturn]] void broken(std::string_view pool, std::string_view why) {
  throw std::runtime_error(fmt::format("Redis, pool {}: {}", pool, why));
}

}  // namespace

void RedisPools::Close::operator()(redisContext* context) const { redisFree(context); }

std::string_view name_of(Pool pool) {
  constexpr std::array<std::string_view, kPools> kNames{"unread", "group_set", "token", "sync",
                                                        "group_member"};
  return kNames[static_cast<size_t>(pool)];
}

std::optional<uint64_t> decimal(std::string_view text) {
  uint64_t value        = 0;
  const char* const end = text.data() + text.size();
  const auto read       = std::from_chars(text.data(), end, value);
  if (text.empty() || read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return value;
}

RedisPools::RedisPools(const RedisSettings& settings) {
  for (size_t i = 0; i < kPools; ++i) {
    const auto pool   = static_cast<Pool>(i);
    const auto& place = settings[pool];
    contexts_[i].reset(redisConnectWithTimeout(place.host.c_str(), place.port, kConnect));
    if (!contexts_[i]) throw std::bad_alloc();
    if (contexts_[i]->err != 0) {
      broken(name_of(pool), fmt::format("cannot connect to {}:{}: {}", place.host, place.port,
                                        contexts_[i]->errstr));
    }
    redisSetTimeout(contexts_[i].get(), kAnswer);
    if (!settings.password.empty()) add(pool, {"AUTH", settings.password});
    add(pool, {"SELECT", std::to_string(place.db)});
  }
  flush();
}

template <class Take>
void RedisPools::each(Pool pool, std::span<const Command> commands, Take take) {
  redisContext& line = context(pool);
  std::vector<const char*> words;
  std::vector<size_t> sizes;
  for (size_t first = 0; first < commands.size(); first += kPipeline) {
    const auto part = commands.subspan(first, std::min(kPipeline, commands.size() - first));
    for (const Command& command : part) {
      words.clear();
      sizes.clear();
      for (const std::string& word : command) {
        words.push_back(word.data());
        sizes.push_back(word.size());
      }
      redisAppendCommandArgv(&line, static_cast<int>(words.size()), words.data(), sizes.data());
    }
    for (size_t i = 0; i < part.size(); ++i) {
      void* raw = nullptr;
      if (redisGetReply(&line, &raw) != REDIS_OK) broken(name_of(pool), line.errstr);
      const ReplyPointer reply(static_cast<redisReply*>(raw));
      take(first + i, *reply);
    }
  }
}

std::vector<std::optional<std::string>> RedisPools::texts(Pool pool,
                                                          std::span<const std::string> keys) {
  std::vector<Command> commands;
  for (const std::string& key : keys) commands.push_back({"GET", key});
  std::vector<std::optional<std::string>> found(keys.size());
  each(pool, commands, [&](size_t i, const redisReply& reply) {
    if (reply.type == REDIS_REPLY_STRING) found[i] = std::string(reply.str, reply.len);
  });
  return found;
}

std::vector<std::optional<uint64_t>> RedisPools::numbers(Pool pool,
                                                         std::span<const std::string> keys) {
  std::vector<std::optional<uint64_t>> found;
  for (const auto& text : texts(pool, keys)) found.push_back(text ? decimal(*text) : std::nullopt);
  return found;
}

std::vector<std::optional<uint64_t>> RedisPools::field(Pool pool, std::span<const std::string> keys,
                                                       std::string_view field) {
  std::vector<Command> commands;
  for (const std::string& key : keys) commands.push_back({"HGET", key, std::string(field)});
  std::vector<std::optional<uint64_t>> found(keys.size());
  each(pool, commands, [&](size_t i, const redisReply& reply) {
    if (reply.type == REDIS_REPLY_STRING) found[i] = decimal({reply.str, reply.len});
  });
  return found;
}

std::vector<RedisPools::Fields> RedisPools::hashes(Pool pool, std::span<const std::string> keys) {
  std::vector<Command> commands;
  for (const std::string& key : keys) commands.push_back({"HGETALL", key});
  std::vector<Fields> found(keys.size());
  each(pool, commands, [&](size_t i, const redisReply& reply) {
    if (reply.type != REDIS_REPLY_ARRAY) return;
    for (size_t part = 0; part + 1 < reply.elements; part += 2) {
      const redisReply& name  = *reply.element[part];
      const redisReply& value = *reply.element[part + 1];
      found[i].emplace_back(std::string(name.str, name.len), std::string(value.str, value.len));
    }
  });
  return found;
}

uint64_t RedisPools::now(Pool pool) {
  const std::array<Command, 1> command{Command{"TIME"}};
  uint64_t seconds = 0;
  each(pool, command, [&](size_t, const redisReply& reply) {
    if (reply.type == REDIS_REPLY_ARRAY && reply.elements > 0)
      seconds = decimal({reply.element[0]->str, reply.element[0]->len}).value_or(0);
  });
  return seconds;
}

void RedisPools::add(Pool pool, std::initializer_list<std::string_view> words) {
  auto& waiting = waiting_[static_cast<size_t>(pool)];
  waiting.emplace_back(words.begin(), words.end());
  if (waiting.size() == kPipeline) flush();
}

void RedisPools::flush() {
  for (size_t i = 0; i < kPools; ++i) {
    const auto pool = static_cast<Pool>(i);
    each(pool, waiting_[i], [&](size_t, const redisReply& reply) {
      if (reply.type == REDIS_REPLY_ERROR) broken(name_of(pool), {reply.str, reply.len});
    });
    waiting_[i].clear();
  }
}

}  // namespace ringtalk::ctl
