#include "store/redis/outlet.h"

#include <algorithm>
#include <string_view>

namespace ringtalk::store::redis {

Outlet::Outlet(const Pools& pools, const Channel::Context& context) {
  for (size_t i = 0; i < kPoolsUsed; ++i) {
    const Server& server = pools[static_cast<Pool>(i)];
    const auto same =
        std::ranges::find_if(channels_, [&](const auto& one) { return one->server() == server; });
    channel_of_[i] = static_cast<size_t>(same - channels_.begin());
    if (same == channels_.end()) channels_.push_back(std::make_unique<Channel>(context, server));
  }
  pipelines_.resize(channels_.size());
  replies_.resize(channels_.size());
}

void Outlet::tend() {
  for (const auto& channel : channels_) channel->tend();
}

bool Outlet::ready() const {
  return std::ranges::all_of(channels_, [](const auto& channel) { return channel->ready(); });
}

bool Outlet::take_loss() {
  bool lost = std::exchange(incomplete_, false);
  for (const auto& channel : channels_) lost |= channel->take_loss();
  return lost;
}

const Trouble& Outlet::trouble() const {
  for (const auto& channel : channels_)
    if (channel->trouble().fault != Fault::none) return channel->trouble();
  return channels_.front()->trouble();
}

size_t Outlet::commands() const {
  size_t count = 0;
  for (const Pipeline& pipeline : pipelines_) count += pipeline.size();
  return count;
}

bool Outlet::send() {
  bool sent = true;
  for (size_t i = 0; i < channels_.size(); ++i) {
    replies_[i].clear();
    sent = sent && send_to(i);
  }
  for (Pipeline& pipeline : pipelines_) pipeline.clear();
  return sent;
}

bool Outlet::send_to(size_t channel) {
  const Pipeline& pipeline = pipelines_[channel];
  if (pipeline.empty()) return true;
  if (!channels_[channel]->ready()) return false;
  const std::vector<Reply>* replies = channels_[channel]->send(pipeline);
  if (!replies) return false;
  replies_[channel] = *replies;
  const bool wrong  = std::ranges::any_of(
      *replies, [](const Reply& reply) { return reply.fault == Fault::wrong_type; });
  return !wrong || repair(channel);
}

// A key is deleted once, before its first command: several may be of the same one.
bool Outlet::repair(size_t channel) {
  const Pipeline& pipeline = pipelines_[channel];
  Pipeline mended;
  std::vector<std::string_view> deleted;
  for (size_t i = 0; i < pipeline.size(); ++i) {
    if (replies_[channel][i].fault != Fault::wrong_type) continue;
    const std::string_view key = pipeline.word(i, 1);
    if (std::ranges::find(deleted, key) == deleted.end()) {
      deleted.push_back(key);
      mended.add({"DEL", key});
    }
    mended.append(pipeline, i);
    // The counters of groups are hashes of one field.
    if (pipeline.words(i) > 2 && pipeline.word(i, 2) != "count") incomplete_ = true;
  }
  return channels_[channel]->send(mended) != nullptr;
}

}  // namespace ringtalk::store::redis
