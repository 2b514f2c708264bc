// What this machine's limits allow, and how shard 0 shares its table between its two doors.
#include "gateway/plan.h"

#include <gtest/gtest.h>

#include "gateway/http_gateway.h"

namespace ringtalk::gateway {
namespace {

TEST(Plan, HttpConnectionsHaveTheirOwnSlots) {
  for (const uint32_t shards : {1u, 2u, 7u}) {
    for (const uint32_t max : {0u, 1u, 100u, 10'000'000u}) {
      Settings settings;
      settings.shards                 = shards;
      settings.limits.max_connections = max;
      const Plan plan                 = make_plan(settings);
      EXPECT_EQ(plan.client_slots(0) + plan.http_slots, plan.ring.slots);
      EXPECT_GT(plan.http_slots, plan.http_connections()) << "those that close are still there";
      EXPECT_GT(plan.http_connections(), 0u);
      EXPECT_LE(plan.http_connections(), HttpGateway::kConnectionsMax);
      uint64_t clients = 0;
      for (uint32_t i = 0; i < shards; ++i) clients += plan.client_slots(i);
      EXPECT_EQ(plan.connections, clients);
      if (max > 0 && max <= 100) {
        EXPECT_GE(clients, max);
        EXPECT_EQ(plan.bounded_by, "limits.max_connections");
      }
    }
  }
}

}  // namespace
}  // namespace ringtalk::gateway
