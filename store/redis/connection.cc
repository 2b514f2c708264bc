#include "store/redis/connection.h"

#include <hiredis/hiredis.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/assert.h"

namespace ringtalk::store::redis {

std::string_view name_of(Fault fault) {
  switch (fault) {
    case Fault::none: return "none";
    case Fault::lost: return "lost";
    case Fault::timeout: return "timeout";
    case Fault::denied: return "denied";
    case Fault::refused: return "refused";
    case Fault::loading: return "loading";
    case Fault::wrong_type: return "wrong_type";
    case Fault::other: return "other";
  }
  std::unreachable();
}

// Source: the error strings of Redis 7.0, server.c and config.c; ERR is all that has no word of its own.
Fault fault_of_reply(std::string_view text) {
  const std::string_view word = text.substr(0, text.find(' '));
  if (word == "WRONGTYPE") return Fault::wrong_type;
  if (word == "LOADING" || word == "MASTERDOWN") return Fault::loading;
  if (word == "OOM" || word == "MISCONF" || word == "READONLY" || word == "BUSY" ||
      word == "NOREPLICAS" || word == "CLUSTERDOWN" || word == "TRYAGAIN")
    return Fault::refused;
  if (word == "NOAUTH" || word == "WRONGPASS" || word == "NOPERM" || word == "DENIED")
    return Fault::denied;
  if (text.starts_with("ERR max number of clients")) return Fault::refused;
  // Before Redis 6, and AUTH without a password being set.
  if (text.starts_with("ERR invalid password") || text.starts_with("ERR AUTH") ||
      text.starts_with("ERR Client sent AUTH") || text.starts_with("ERR operation not permitted"))
    return Fault::denied;
  return Fault::other;
}

void Pipeline::add(std::initializer_list<std::string_view> words) {
  commands_.push_back({static_cast<uint32_t>(ends_.size()), 0});
  extend(words);
}

void Pipeline::extend(std::initializer_list<std::string_view> words) {
  RT_ASSERT(!commands_.empty());
  for (const std::string_view word : words) {
    text_ += word;
    ends_.push_back(text_.size());
    ++commands_.back().count;
  }
}

void Pipeline::append(const Pipeline& other) {
  for (size_t i = 0; i < other.size(); ++i) append(other, i);
}

void Pipeline::append(const Pipeline& other, size_t command) {
  add({});
  for (size_t i = 0; i < other.words(command); ++i) extend({other.word(command, i)});
}

void Pipeline::clear() {
  commands_.clear();
  ends_.clear();
  text_.clear();
}

std::string_view Pipeline::word(size_t command, size_t index) const {
  RT_ASSERT(index < commands_[command].count);
  const size_t at      = commands_[command].first + index;
  const uint64_t begin = at == 0 ? 0 : ends_[at - 1];
  return std::string_view(text_).substr(begin, ends_[at] - begin);
}

namespace {

timeval to_timeval(uint32_t ms) {
  return {.tv_sec = ms / 1000, .tv_usec = static_cast<suseconds_t>(ms % 1000 * 1000)};
}

Reply to_reply(const redisReply& from) {
  Reply reply;
  switch (from.type) {
    case REDIS_REPLY_ERROR:
      reply.text.assign(from.str, from.len);
      reply.fault = fault_of_reply(reply.text);
      break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS: reply.text.assign(from.str, from.len); break;
    case REDIS_REPLY_INTEGER: reply.text = std::to_string(from.integer); break;
    case REDIS_REPLY_NIL: reply.nil = true; break;
    default: break;
  }
  return reply;
}

class HiRedis final : public Connection {
 public:
  explicit HiRedis(redisContext* context) : context_(context) {}
  ~HiRedis() override { close(); }
  HiRedis(const HiRedis&)            = delete;
  HiRedis& operator=(const HiRedis&) = delete;

  Answer<std::vector<Reply>> run(const Pipeline& pipeline) override {
    if (!alive()) return std::unexpected(Trouble{Fault::lost, "the connection is gone"});
    for (size_t i = 0; i < pipeline.size(); ++i) {
      words_.clear();
      sizes_.clear();
      for (size_t j = 0; j < pipeline.words(i); ++j) {
        words_.push_back(pipeline.word(i, j).data());
        sizes_.push_back(pipeline.word(i, j).size());
      }
      if (redisAppendCommandArgv(context_, static_cast<int>(words_.size()), words_.data(),
                                 sizes_.data()) != REDIS_OK)
        return gone();
    }
    std::vector<Reply> replies;
    replies.reserve(pipeline.size());
    while (replies.size() < pipeline.size()) {
      void* raw = nullptr;
      if (redisGetReply(context_, &raw) != REDIS_OK) return gone();
      auto* reply = static_cast<redisReply*>(raw);
      replies.push_back(to_reply(*reply));
      freeReplyObject(reply);
    }
    return replies;
  }

  bool alive() const override { return context_ != nullptr; }

 private:
  // errno is what the library saw when it says REDIS_ERR_IO.
  std::unexpected<Trouble> gone() {
    const bool patience =
        context_->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
    Trouble trouble{patience ? Fault::timeout : Fault::lost, context_->errstr};
    close();
    return std::unexpected(std::move(trouble));
  }
  void close() {
    if (context_) redisFree(context_);
    context_ = nullptr;
  }

  redisContext* context_;
  std::vector<const char*> words_;  // of the command that is being added
  std::vector<size_t> sizes_;
};

}  // namespace

Answer<std::unique_ptr<Connection>> connect(const Server& server) {
  const timeval patience = to_timeval(server.connect_timeout_ms);
  redisContext* context  = server.socket.empty()
                               ? redisConnectWithTimeout(server.host.c_str(), server.port, patience)
                               : redisConnectUnixWithTimeout(server.socket.c_str(), patience);
  if (context == nullptr) return std::unexpected(Trouble{Fault::lost, "out of memory"});
  auto connection = std::make_unique<HiRedis>(context);
  if (context->err != 0) {
    const bool late = context->err == REDIS_ERR_IO && errno == ETIMEDOUT;
    return std::unexpected(Trouble{late ? Fault::timeout : Fault::lost, context->errstr});
  }
  // Not redisSetTimeout(): it sets both to one value.
  const timeval read = to_timeval(server.read_timeout_ms);
  const timeval send = to_timeval(server.write_timeout_ms);
  if (::setsockopt(context->fd, SOL_SOCKET, SO_RCVTIMEO, &read, sizeof read) != 0 ||
      ::setsockopt(context->fd, SOL_SOCKET, SO_SNDTIMEO, &send, sizeof send) != 0)
    return std::unexpected(Trouble{Fault::lost, std::strerror(errno)});

  Pipeline hello;
  if (!server.password.empty()) hello.add({"AUTH", server.password});
  // Also of database 0: the answer tells whether we are let in.
  hello.add({"SELECT", std::to_string(server.db)});
  auto replies = connection->run(hello);
  if (!replies) return std::unexpected(std::move(replies.error()));
  for (Reply& reply : *replies)
    if (reply.fault != Fault::none)
      return std::unexpected(Trouble{reply.fault, std::move(reply.text)});
  return connection;
}

}  // namespace ringtalk::store::redis
