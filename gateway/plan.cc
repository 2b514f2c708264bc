#include "gateway/plan.h"

#include <sys/resource.h>

#include <algorithm>
#include <bit>
#include <thread>

#include "engine/mailbox.h"
#include "gateway/http_gateway.h"
#include "gateway/tcp_connection.h"
#include "shard/event.h"
#include "shard/limits.h"
#include "store/embedded/format.h"

namespace ringtalk::gateway {
namespace {

constexpr uint64_t kIdleConnectionBytes =
    512;  // connection, its slots in tables; measured by the bench

// Those that are closing are still in the table.
constexpr uint32_t kHttpSlots = HttpGateway::kConnectionsMax * 5 / 4;

uint32_t descriptors_max() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<uint32_t>(std::min<rlim_t>(limit.rlim_cur, 1u << 20));
}

}  // namespace

Plan make_plan(const Settings& settings) {
  Plan plan;
  plan.shards =
      settings.shards ? settings.shards : std::max(1u, std::thread::hardware_concurrency());

  // Hash skew: with an exact share the fullest shard would refuse while others have room.
  const uint32_t descriptors = descriptors_max();
  uint32_t slots             = descriptors;
  plan.bounded_by            = "RLIMIT_NOFILE (per shard; more shards hold more)";
  if (settings.limits.max_connections > 0) {
    const uint64_t share = settings.limits.max_connections / plan.shards;
    const uint64_t room  = plan.shards == 1 ? share + 64 : share + share / 4 + 256;
    if (room < slots) {
      slots           = static_cast<uint32_t>(room);
      plan.bounded_by = "limits.max_connections";
    }
  }
  // The HTTP door of shard 0 takes its connections from the same table.
  plan.http_slots        = std::min(kHttpSlots, descriptors / 8);
  plan.ring.slots        = std::min(descriptors, slots + plan.http_slots);
  plan.connections       = uint64_t{plan.ring.slots} * plan.shards - plan.http_slots;
  plan.ring.sq_entries   = 1024;
  plan.ring.cq_entries   = std::clamp(std::bit_floor(65536u / plan.shards), 4096u, 32768u);
  plan.ring.buffers      = std::clamp(std::bit_floor(2048u / plan.shards), 64u, 1024u);
  plan.ring.buffer_bytes = 4096;

  plan.lane_bytes = uint64_t{plan.shards} * (plan.shards - 1) * engine::lane_slots(plan.shards) *
                    sizeof(shard::Event);
  plan.buffer_bytes        = uint64_t{plan.shards} * plan.ring.buffers * plan.ring.buffer_bytes;
  plan.repeat_window_bytes = shard::Limits{}.repeat_window_bytes;
  plan.segment_notes_bytes =
      plan.shards * store::segment_bytes_of(settings.store.segment_bytes, plan.shards);
  plan.connection_bytes = plan.connections * kIdleConnectionBytes;
  return plan;
}

}  // namespace ringtalk::gateway
