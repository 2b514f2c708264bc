#include "proto/command.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <vector>

namespace ringtalk::proto {
namespace {

const std::vector<CommandId> kAll = {
#define RT_TEST_COMMAND(number, direction, name) CommandId::name,
    RT_PROTO_COMMANDS(RT_TEST_COMMAND)
#undef RT_TEST_COMMAND
};

TEST(Command, ListIsCompleteAscendingAndNamedOnce) {
  EXPECT_EQ(kAll.size(), 95u + 40u) << "TeamTalk and extension";
  EXPECT_TRUE(std::ranges::is_sorted(kAll, {}, raw));
  std::set<std::string_view> names;
  for (const CommandId id : kAll) names.insert(name(id));
  EXPECT_EQ(names.size(), kAll.size());
  EXPECT_FALSE(names.contains("unknown"));
}

TEST(Command, ServiceIsTheHighByte) {
  EXPECT_EQ(service_of(CommandId::login_request), 1);
  EXPECT_EQ(service_of(CommandId::heartbeat), 7);
  EXPECT_EQ(service_of(CommandId::push_unregister_response), 0x24);
}

// The guard asks this of any 16-bit number a stranger may send.
TEST(Command, DirectionOfEveryNumber) {
  for (uint32_t number = 0; number <= 0xffff; ++number) {
    const auto id            = CommandId(number);
    const bool listed        = std::ranges::find(kAll, id) != kAll.end();
    const bool private_range = (number >= 0x0702 && number <= 0x07ff) || number >> 8 == 0x08;
    if (private_range) {
      EXPECT_EQ(direction(id), Direction::internal) << number;
    } else if (!listed) {
      EXPECT_EQ(direction(id), Direction::unknown) << number;
      EXPECT_EQ(name(id), "unknown");
    } else {
      EXPECT_NE(direction(id), Direction::unknown) << number;
      EXPECT_NE(direction(id), Direction::internal) << number;
    }
  }
}

TEST(Command, NamesEndAsTheirDirectionSays) {
  for (const CommandId id : kAll) {
    const std::string_view text = name(id);
    if (direction(id) == Direction::internal || direction(id) == Direction::both) continue;
    const bool from_client = text.ends_with("_request");
    const bool from_server = text.ends_with("_response") || text.ends_with("_notify");
    EXPECT_TRUE(!from_client || direction(id) == Direction::client) << text;
    EXPECT_TRUE(!from_server || direction(id) == Direction::server) << text;
  }
}

TEST(Command, ExtensionsAreTheFiveServices) {
  EXPECT_TRUE(is_extension(CommandId::ext_hello_request));
  EXPECT_TRUE(is_extension(CommandId(0x24ff)));
  EXPECT_FALSE(is_extension(CommandId(0x2501)));
  EXPECT_FALSE(is_extension(CommandId::heartbeat));
}

}  // namespace
}  // namespace ringtalk::proto
