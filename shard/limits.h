// Limits of a shard: what is fixed by the protocol's promises, and what the operator sets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/units.h"
#include "proto/frame.h"
#include "proto/text_codec.h"

namespace ringtalk::shard {

// --- fixed
inline constexpr uint32_t kTextCharactersMax   = 4096;  // MySQL's column, in both stores
inline constexpr uint32_t kTextBytesMax        = 16 * kKiB;
inline constexpr uint32_t kSoundBytesMin       = 5;  // 4 bytes duration and some sound
inline constexpr uint32_t kSoundBytesMax       = 256 * kKiB;
inline constexpr uint32_t kRelayBytesMax       = 4 * kKiB;     // of a pass-through command
inline constexpr uint32_t kClientMsgIdMax      = 64;           // bytes
inline constexpr uint32_t kGroupTextMax        = 256;          // characters of a name, an avatar
inline constexpr uint32_t kHistoryCountMax     = 100;          // messages of one 0x030a, 0x030e
inline constexpr uint32_t kHistoryBytesMax     = 380 * kKiB;   // bodies of one 0x030a, 0x030e
inline constexpr uint32_t kSendsInFlightMax    = 256;          // per session; the rest waits unread
inline constexpr uint32_t kHeartbeatBytesMax   = 64;           // a longer one does not parse
inline constexpr uint32_t kUnparsableMax       = 10;           // the tenth closes
inline constexpr uint32_t kUserIdMax           = 1u << 27;     // directory: 16 MiB of bits at most
inline constexpr uint64_t kKickLingerNs        = 5 * kNsPerS;  // so that 0x0107 arrives
inline constexpr uint32_t kRepeatKeepS         = 60;
inline constexpr uint32_t kClientRepeatKeepS   = 24 * 3600;
inline constexpr uint32_t kAnswerQueueBytesMax = 64 * kKiB;  // above it no further request is taken
inline constexpr uint32_t kPushQueueFactor     = 4;  // of push_queue_bytes: closed, slow or not

static_assert(kSoundBytesMax < proto::kMessageFrameBytesMax);
static_assert(kHistoryBytesMax + kHistoryCountMax * 40 < proto::kAnswerBytesMax,
              "every message adds at most 40 bytes of fields");

// --- set by the operator (conf/ringtalk.toml explains each)
struct Limits {
  uint32_t login_deadline_s           = 15;
  uint32_t sends_per_second           = 20;  // per user; 0 = off
  uint32_t sends_burst                = 20;
  uint32_t requests_per_second        = 50;  // per connection, everything else; 0 = off
  uint32_t requests_burst             = 200;
  uint32_t connections_max            = 0;  // logged in, whole process; 0 = what fits
  uint32_t push_queue_bytes           = 256 * kKiB;
  uint32_t send_stall_s               = 15;
  uint32_t idle_pc_s                  = 120;
  uint32_t idle_mobile_s              = 300;
  uint32_t delivery_ack_wait_s        = 15;
  uint32_t send_decision_ms           = 4000;
  uint32_t wrong_passwords_max        = 10;
  uint32_t wrong_password_window_s    = 1800;
  uint32_t token_hours                = 24;
  uint32_t group_members_max          = 2000;       // that members may bring together
  bool group_session_revive           = false;      // see SessionList
  uint32_t anonymous_per_address      = 256;        // of one shard, as the next
  uint32_t connects_per_second        = 200;        // from one address
  uint64_t repeat_window_bytes        = 64 * kMiB;  // whole process
  std::vector<uint8_t> allowed_states = {0};
  std::string text_key{proto::kTextKey};
  std::string public_host;  // what 0x0102 tells clients to connect to
  uint16_t public_port = 0;

  // Not the operator's: tests make them small, so that little is already too much for one turn.
  uint32_t group_pushes_per_turn = 64;  // half a millisecond, most of it in the kernel
};

}  // namespace ringtalk::shard
