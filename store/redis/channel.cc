#include "store/redis/channel.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engine/base/assert.h"
#include "engine/log.h"

namespace ringtalk::store::redis {
namespace {

constexpr uint64_t kWaitNsMin = 100 * kNsPerMs;
constexpr uint64_t kWaitNsMax = kNsPerS;
constexpr uint64_t kLookNs    = kNsPerS;  // between two looks at rt:seq
constexpr size_t kExpectedMax = 16;       // marks of which one stands there; more of them: a loss

engine::Counter counter_of(Fault fault) {
  using engine::Counter;
  switch (fault) {
    case Fault::none: break;
    case Fault::lost: return Counter::redis_lost;
    case Fault::timeout: return Counter::redis_timeout;
    case Fault::denied: return Counter::redis_denied;
    case Fault::refused: return Counter::redis_refused;
    case Fault::loading: return Counter::redis_loading;
    case Fault::wrong_type: return Counter::redis_wrong_type;
    case Fault::other: return Counter::redis_other;
  }
  std::unreachable();
}

bool is_command_s(Fault fault) {
  return fault == Fault::none || fault == Fault::wrong_type || fault == Fault::other;
}

}  // namespace

Channel::Channel(const Context& context, Server server)
    : context_(context), server_(std::move(server)), wait_ns_(kWaitNsMin) {}

std::string Channel::mark(uint64_t number) const {
  return fmt::format("{:016x}:{}", context_.epoch, number);
}

void Channel::tend() {
  if (context_.clock.now_ns() < at_ns_) return;
  if (!connection_ || !connection_->alive()) {
    checked_ = false;
    connection_.reset();
    auto connected = context_.connect(server_);
    if (!connected) return failed(connected.error());
    connection_ = std::move(*connected);
    context_.metrics.add(engine::Counter::redis_connects);
  }
  return checked_ ? look() : prove();
}

void Channel::look() {
  RT_ASSERT(expected_.size() == 1);
  pipeline_.clear();
  pipeline_.add({"GET", kSeqKey});
  auto replies = run(pipeline_);
  if (!replies) return failed(replies.error());
  const Reply& found = replies->front();
  if (!is_command_s(found.fault)) return failed({found.fault, found.text});
  if (found.fault != Fault::none || found.text != mark(expected_.front())) return prove();
  at_ns_ = context_.clock.now_ns() + kLookNs;
}

void Channel::prove() {
  if (expected_.size() > kExpectedMax) expected_.clear();
  expected_.push_back(++number_);
  pipeline_.clear();
  pipeline_.add({"GETSET", kSeqKey, mark(number_)});
  auto replies = run(pipeline_);
  if (!replies) return failed(replies.error());
  const Reply found = std::move(replies->front());
  if (found.fault == Fault::none)
    return proven(std::ranges::none_of(
        expected_, [&](uint64_t number) { return !found.nil && found.text == mark(number); }));
  if (found.fault != Fault::wrong_type) {
    expected_.pop_back();  // it was refused, not run
    return failed({found.fault, found.text});
  }
  pipeline_.clear();
  pipeline_.add({"SET", kSeqKey, mark(number_)});  // whatever kind it was of
  replies = run(pipeline_);
  if (!replies) return failed(replies.error());
  if (replies->front().fault != Fault::none)
    return failed({replies->front().fault, replies->front().text});
  proven(/*lost=*/true);
}

void Channel::proven(bool lost) {
  expected_ = {number_};
  checked_  = true;
  wait_ns_  = kWaitNsMin;
  at_ns_    = context_.clock.now_ns() + kLookNs;
  if (lost) lost_ = true;
  if (lost && std::exchange(ours_, true))
    engine::log::warn(
        "redis_flushed",
        {{"server", server_.host}, {"port", uint32_t{server_.port}}, {"db", server_.db}});
  if (trouble_.fault == Fault::none) return;
  trouble_ = {Fault::none, {}};
  engine::log::info(
      "redis_back",
      {{"server", server_.host}, {"port", uint32_t{server_.port}}, {"db", server_.db}});
}

const std::vector<Reply>* Channel::send(const Pipeline& commands) {
  RT_ASSERT(ready());
  RT_ASSERT(expected_.size() == 1);
  const uint64_t before = expected_.front();
  const uint64_t first = ++number_, last = ++number_;
  pipeline_.clear();
  pipeline_.add({"GETSET", kSeqKey, mark(first)});
  pipeline_.append(commands);
  pipeline_.add({"GETSET", kSeqKey, mark(last)});
  expected_    = {before, first, last};
  auto replies = run(pipeline_);
  if (!replies) {
    failed(replies.error());
    return nullptr;
  }
  for (const Reply& reply : *replies) {
    if (is_command_s(reply.fault)) continue;
    failed({reply.fault, std::move(reply.text)});
    return nullptr;
  }
  const Reply& opening = replies->front();
  const Reply& closing = replies->back();
  if (opening.fault != Fault::none || closing.fault != Fault::none) {
    // Somebody put a value of another kind there: prove() sees and mends it.
    failed({Fault::wrong_type, closing.text});
    return nullptr;
  }
  if (opening.text != mark(before) || closing.text != mark(first)) lost_ = true;
  expected_ = {last};
  context_.metrics.add(engine::Counter::redis_commands, commands.size());
  replies->erase(replies->begin());
  replies->pop_back();
  for (const Reply& reply : *replies)
    if (reply.fault != Fault::none) context_.metrics.add(counter_of(reply.fault));
  replies_ = std::move(*replies);
  at_ns_   = context_.clock.now_ns() + kLookNs;
  return &replies_;
}

Answer<std::vector<Reply>> Channel::run(const Pipeline& pipeline) {
  auto replies = connection_->run(pipeline);
  context_.metrics.add(engine::Counter::redis_pipelines);
  if (replies) RT_ASSERT(replies->size() == pipeline.size());
  return replies;
}

void Channel::failed(const Trouble& trouble) {
  checked_ = false;
  context_.metrics.add(counter_of(trouble.fault));
  if (trouble.fault != trouble_.fault)
    engine::log::warn("redis_away", {{"server", server_.host},
                                     {"port", uint32_t{server_.port}},
                                     {"db", server_.db},
                                     {"fault", name_of(trouble.fault)},
                                     {"text", trouble.text}});
  trouble_ = trouble;
  at_ns_   = context_.clock.now_ns() + wait_ns_;
  wait_ns_ = std::min(wait_ns_ * 2, kWaitNsMax);
}

}  // namespace ringtalk::store::redis
