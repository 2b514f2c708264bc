// ProfileNews: 0x0212 and 0x0215, telling everybody that somebody has another avatar or signature.
//
//   user's home: changed() ── profile_changes to each shard, many in one ──▶ learn()
//   every shard: one payload of the frames that its sessions have not been told, for all of them, in
//                slices of a turn
//
// Rules  To every session of every user, the one that asked included. Of one user's avatar, and of his
//        signature, a session hears at most once a second, the newest value: what changes sooner waits
//        and is replaced by what comes later.
// Bound  One entry per user and field that waits or was told within the last second. A payload is at
//        most kTellBytesMax; the next one begins sessions × 50 µs later.
// Errors Not stored anywhere: who misses it reads the profile, whose sync stamp has moved.
// Why    The clock that counts the second is each shard's own, so what a lane delayed does not come
//        on the heels of its successor.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>

#include "shard/context.h"

namespace ringtalk::shard {

enum class ProfileField : uint32_t { avatar, signature };

// What profile_changes carries: each followed by `bytes` of its frame.
struct ProfileChange {
  UserId user;
  ProfileField field;
  uint32_t bytes;
};

class ProfileNews {
 public:
  static constexpr uint32_t kTellBytesMax = 64 * kKiB;

  explicit ProfileNews(Context& context) : context_(context) {}

  // On the user's home, in the order of the changes.
  void changed(UserId user, ProfileField field, engine::PayloadRef frame);

  void on_changes(const ProfileChanges& event);
  void on_turn();
  void on_turn_end();
  // The process ends: what was not told is in the store.
  void stop();

  bool work_waits() const { return telling_ || may_tell(); }

 private:
  static constexpr uint64_t kPerUserNs     = kNsPerS;
  static constexpr uint64_t kPerSessionNs  = 50'000;
  static constexpr uint32_t kSlotsPerSlice = 512;

  struct Key {
    UserId user;
    ProfileField field;
    friend bool operator==(Key, Key) = default;
  };
  struct Hash {
    using is_avalanching = void;
    size_t operator()(Key key) const {
      return mix(uint64_t{raw(key.user)} << 1 | static_cast<uint32_t>(key.field));
    }
  };
  struct Entry {
    engine::PayloadRef frame;  // null: told, and nothing newer
    uint64_t due_ns = 0;       // not to be told again before
  };

  void learn(Key key, engine::PayloadRef frame);
  void cool_down(uint64_t now_ns);
  bool may_tell() const { return !ready_.empty() && context_.loop.now_ns() >= next_telling_ns_; }
  engine::PayloadRef gather(uint64_t now_ns);

  Context& context_;
  boost::unordered_flat_map<Key, engine::PayloadRef, Hash> unshared_;  // for the other shards
  boost::unordered_flat_map<Key, Entry, Hash> entries_;
  std::deque<Key> ready_;    // have a frame that may be told
  std::deque<Key> cooling_;  // told within the last second, the first one first
  engine::PayloadRef telling_;
  uint32_t told_slots_      = 0;
  uint64_t next_telling_ns_ = 0;
  bool stopped_             = false;
};

}  // namespace ringtalk::shard
