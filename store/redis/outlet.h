// Outlet: commands on their way to the pools, however many servers these are.
//
//   to(pool) ─▶ a pipeline per channel ─▶ send() ─▶ Redis
//
// Thread rule  The mirror's thread.
// Wrong type   A key of ours that holds another kind of value is deleted and its commands are sent again. If it
//              has other fields than theirs, that counts as a loss.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "store/redis/channel.h"
#include "store/redis/pools.h"

namespace ringtalk::store::redis {

class Outlet {
 public:
  Outlet(const Pools& pools, const Channel::Context& context);

  // Connects what is to be connected, looks whether everything is still there.
  void tend();
  bool ready(Pool pool) const { return channels_[at(pool)]->ready(); }
  bool ready() const;
  bool take_loss();
  // Of a channel that is not ready, or none.
  const Trouble& trouble() const;

  // Where the next command for this pool goes.
  Pipeline& to(Pool pool) { return pipelines_[at(pool)]; }
  size_t commands() const;
  // Everything since the last send(), even if that failed: then what was sent is not known to be there.
  bool send();
  // To what went to this pool's channel with the last send().
  const std::vector<Reply>& replies(Pool pool) const { return replies_[at(pool)]; }

 private:
  size_t at(Pool pool) const { return channel_of_[static_cast<size_t>(pool)]; }
  bool send_to(size_t channel);
  bool repair(size_t channel);

  std::array<size_t, kPoolsUsed> channel_of_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::vector<Pipeline> pipelines_;  // of each channel
  std::vector<std::vector<Reply>> replies_;
  bool incomplete_ = false;  // a key was deleted that has other fields
};

}  // namespace ringtalk::store::redis
