// AddressLimits: how many strangers one source address may hold, and how fast it may connect.
//
// Bound        One entry per address with strangers, at most kEntriesMax; beyond that addresses that
//              are not yet known are admitted unchecked (the ring's slots still bound them all).
// Exempt       Loopback, and addresses that are unknown (0).
// Thread rule  One shard.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>

#include "shard/home.h"
#include "shard/pace.h"

namespace ringtalk::gateway {

class AddressLimits {
 public:
  static constexpr size_t kEntriesMax = 64 * 1024;

  AddressLimits(uint32_t strangers_max, uint32_t per_second) { set(strangers_max, per_second); }

  void set(uint32_t strangers_max, uint32_t per_second) {
    strangers_max_ = strangers_max;
    per_second_    = per_second;
  }

  // True: one more stranger, until forget().
  bool admit(uint32_t address, uint64_t now_ns) {
    if (exempt(address)) return true;
    if (entries_.size() >= kEntriesMax && !entries_.contains(address)) {
      // Who only connected once and left is forgotten all at once, when room is needed.
      boost::unordered::erase_if(entries_, [&](const auto& entry) {
        return entry.second.strangers == 0 && entry.second.pace.full(now_ns);
      });
      if (entries_.size() >= kEntriesMax) return true;
    }
    Entry& entry = entries_[address];
    if (entry.pace.wait_until(now_ns, per_second_, per_second_) > 0) return false;
    if (strangers_max_ > 0 && entry.strangers >= strangers_max_) return false;
    entry.pace.take(now_ns, per_second_);
    ++entry.strangers;
    return true;
  }

  void forget(uint32_t address) {
    if (exempt(address)) return;
    const auto at = entries_.find(address);
    if (at != entries_.end() && at->second.strangers > 0) --at->second.strangers;
  }

 private:
  struct Entry {
    uint32_t strangers = 0;
    shard::Pace pace;
  };
  struct Hash {
    using is_avalanching = void;
    size_t operator()(uint32_t address) const { return shard::mix(address); }
  };
  static bool exempt(uint32_t address) { return address == 0 || address >> 24 == 127; }

  uint32_t strangers_max_;
  uint32_t per_second_;
  boost::unordered_flat_map<uint32_t, Entry, Hash> entries_;
};

}  // namespace ringtalk::gateway
