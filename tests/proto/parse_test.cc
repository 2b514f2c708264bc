// Goal    no body, however made, makes a parse take more heap than four times the largest ordinary
//         frame.
// Method  operator new and delete of this program count; hostile 64 KiB bodies go through parse().
#include "proto/parse.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>

#include "proto/buddy.pb.h"
#include "proto/ext_group.pb.h"
#include "proto/frame.h"
#include "proto/group.pb.h"
#include "proto/login.pb.h"
#include "proto/message.pb.h"
#include "tests/proto/random.h"

namespace {
size_t g_heap_bytes = 0;
size_t g_heap_peak  = 0;

[[maybe_unused]] void count_free(void* block) {
  g_heap_bytes -= std::min(g_heap_bytes, malloc_usable_size(block));
}
}  // namespace

// ThreadSanitizer brings operators of its own, which cannot be replaced: there only the verdicts count.
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define RT_HEAP_IS_NOT_COUNTED
#endif
#endif
#ifndef RT_HEAP_IS_NOT_COUNTED
void* operator new(size_t bytes) {
  void* block = std::malloc(bytes);
  if (block == nullptr) throw std::bad_alloc();
  g_heap_bytes += malloc_usable_size(block);
  g_heap_peak = std::max(g_heap_peak, g_heap_bytes);
  return block;
}
void operator delete(void* block) noexcept {
  if (block == nullptr) return;
  count_free(block);
  std::free(block);
}
void operator delete(void* block, size_t) noexcept { operator delete(block); }
#endif

namespace ringtalk::proto {
namespace {

constexpr size_t kBodyBytesMax = kFrameBytesMax - kHeaderBytes;
constexpr size_t kHeapBytesMax = 4 * size_t{kFrameBytesMax};

std::string repeat(std::string_view unit, size_t bytes_max) {
  std::string all;
  all.reserve(bytes_max);
  while (all.size() + unit.size() <= bytes_max) all += unit;
  return all;
}

std::string varint(size_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}

// Heap at its highest while M is parsed from `body`; the verdict goes to `accepted`.
template <class M>
size_t parse_heap_peak(const std::string& body, bool& accepted) {
  M message;
  g_heap_peak          = g_heap_bytes;
  const size_t at_rest = g_heap_bytes;
  accepted             = parse(message, as_bytes(body));
  return g_heap_peak - at_rest;
}

template <class M>
void expect_bounded(const std::string& body, bool expected, const char* what) {
  bool accepted     = false;
  const size_t peak = parse_heap_peak<M>(body, accepted);
  EXPECT_LE(peak, kHeapBytesMax) << what;
  EXPECT_EQ(accepted, expected) << what;
}

TEST(Parse, AcceptsAndRefusesLikeProtobufDoes) {
  IM::Login::IMLoginReq login;
  login.set_user_name("alice");
  login.set_password("5f4dcc3b5aa765d61d8327deb882cf99");
  login.set_online_status(IM::BaseDefine::USER_STATUS_ONLINE);
  login.set_client_type(IM::BaseDefine::CLIENT_TYPE_MAC);
  const std::string body = login.SerializeAsString();
  IM::Login::IMLoginReq read;
  ASSERT_TRUE(parse(read, as_bytes(body)));
  EXPECT_EQ(read.SerializeAsString(), body);
  testing::internal::CaptureStderr();
  for (size_t length = 0; length < body.size(); ++length) {
    EXPECT_FALSE(parse(read, as_bytes(body).first(length))) << length;
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "") << "a stranger must not write our log";
}

TEST(Parse, PackedAndUnpackedIdsAreTheSame) {
  for (const std::string_view body : {std::string_view("\x08\x00\x10\x01\x10\xac\x02", 7),
                                      std::string_view("\x08\x00\x12\x03\x01\xac\x02", 7),
                                      std::string_view("\x12\x01\x01\x08\x00\x10\xac\x02", 8)}) {
    IM::Buddy::IMUsersInfoReq message;
    ASSERT_TRUE(parse(message, as_bytes(body)));
    ASSERT_EQ(message.user_id_list_size(), 2);
    EXPECT_EQ(message.user_id_list(1), 300u);
  }
}

TEST(Parse, HostileBodiesTakeAtMostFourFrames) {
  const std::string user("\x08\x00", 2);
  const auto rest = [&](std::string_view unit) { return user + repeat(unit, kBodyBytesMax - 2); };

  expect_bounded<IM::Group::IMGroupInfoListReq>(rest(std::string_view("\x12\x00", 2)), false,
                                                "empty sub-messages");
  expect_bounded<IM::Group::IMGroupInfoListReq>(rest("\x12\x04\x08\x01\x10\x01"), false,
                                                "the smallest whole sub-messages");
  expect_bounded<IM::Group::IMGroupInfoListReq>(rest("\x12\x06\x08\x01\x10\x01\x18\x01"), false,
                                                "each with an unknown field");
  expect_bounded<IM::Ext::Group::GroupSyncReq>(rest(std::string_view("\x12\x00", 2)), false,
                                               "the same in an extension");
  expect_bounded<IM::Group::IMGroupInfoListReq>(rest("\x1b\x1c"), false, "groups");
  expect_bounded<IM::Buddy::IMUsersInfoReq>(rest("\x10\x01"), true, "unpacked ids");
  expect_bounded<IM::Buddy::IMUsersInfoReq>(rest("\x12\x01\x01"), true, "ids packed one by one");
  const size_t packed = kBodyBytesMax - 6;
  expect_bounded<IM::Buddy::IMUsersInfoReq>(
      user + "\x12" + varint(packed) + std::string(packed, '\x01'), true, "packed ids");
  expect_bounded<IM::Message::IMGetMsgByIdReq>(
      "\x08\x01\x10\x01\x18\x01\x22" + varint(packed - 4) + std::string(packed - 4, '\x01'), true,
      "packed message ids");
  expect_bounded<IM::Buddy::IMUsersInfoReq>(rest("\x98\x06\x01"), true, "unknown numbers");
  expect_bounded<IM::Buddy::IMUsersInfoReq>(
      user + "\x9a\x06" + varint(60000) + std::string(60000, 'u'), true, "one big unknown field");
  expect_bounded<IM::Buddy::IMChangeSignInfoReq>(
      user + "\x12" + varint(60000) + std::string(60000, 's'), true, "one big string");
  expect_bounded<IM::Buddy::IMChangeSignInfoReq>(
      user + repeat("\x12\x20" + std::string(32, 's'), kBodyBytesMax - 2), false,
      "a string repeated");
}

TEST(Parse, RandomHostileMixesStayBounded) {
  test::Random random(test::seed());
  const std::string_view units[] = {std::string_view("\x12\x00", 2),
                                    "\x12\x04\x08\x01\x10\x01",
                                    "\x12\x06\x08\x01\x10\x01\x18\x01",
                                    "\x10\x01",
                                    "\x12\x02\x01\x02",
                                    "\x1b\x1c",
                                    "\x9a\x06\x03xyz",
                                    "\x98\x06\x01"};
  for (int round = 0; round < 200; ++round) {
    std::string body("\x08\x00", 2);
    const size_t goal = random.below(kBodyBytesMax);
    while (body.size() + 600 < goal) {
      const auto unit = units[random.below(8)];
      for (uint32_t i = random.below(60); i > 0; --i) body += unit;
    }
    bool accepted = false;
    EXPECT_LE(parse_heap_peak<IM::Group::IMGroupInfoListReq>(body, accepted), kHeapBytesMax);
    EXPECT_LE(parse_heap_peak<IM::Buddy::IMUsersInfoReq>(body, accepted), kHeapBytesMax);
    EXPECT_LE(parse_heap_peak<IM::Ext::Group::GroupSyncReq>(body, accepted), kHeapBytesMax);
  }
}

// An honest client with very many groups, and the biggest honest answer, must still pass.
TEST(Parse, HonestBigBodiesPass) {
  IM::Group::IMGroupInfoListReq groups;
  groups.set_user_id(0);
  for (uint32_t i = 0; i < 2000; ++i) {
    auto* entry = groups.add_group_version_list();
    entry->set_group_id(1000 + i);
    entry->set_version(i % 50);
  }
  const std::string request = groups.SerializeAsString();
  IM::Group::IMGroupInfoListReq read;
  EXPECT_TRUE(parse(read, as_bytes(request)));
  EXPECT_EQ(read.group_version_list_size(), 2000);

  IM::Buddy::IMAllUserRsp users;
  users.set_user_id(1);
  users.set_latest_update_time(2);
  while (users.ByteSizeLong() < kAnswerBytesMax - 200) {
    auto* user = users.add_user_list();
    user->set_user_id(static_cast<uint32_t>(users.user_list_size()));
    user->set_user_gender(0);
    user->set_department_id(1);
    user->set_status(0);
    user->set_user_nick_name("nickname");
    for (auto* text :
         {user->mutable_avatar_url(), user->mutable_email(), user->mutable_user_real_name(),
          user->mutable_user_tel(), user->mutable_user_domain()}) {
      *text = "text";
    }
  }
  const std::string answer = users.SerializeAsString();
  IM::Buddy::IMAllUserRsp all;
  EXPECT_TRUE(parse(all, as_bytes(answer)));
}

TEST(Prescan, CountsTheTopLevel) {
  const auto shape =
      prescan(as_bytes("\x08\x01\x10\x01\x10\x02\x12\x02\x03\x04\x1a\x01x\x23\x24"), 2);
  ASSERT_TRUE(shape);
  EXPECT_EQ(shape->values, 6u);
  EXPECT_EQ(shape->nested, 2u);
  EXPECT_EQ(shape->ids, 4u);
}

TEST(Prescan, RefusesAHundredThousandEmptySubMessages) {
  const auto shape = prescan(as_bytes(repeat(std::string_view("\x12\x00", 2), 200000)));
  ASSERT_FALSE(shape);
  EXPECT_EQ(shape.error().code, Errc::too_large);
}

TEST(Prescan, BrokenBodiesAreMalformed) {
  for (const std::string_view bad : {"\x08", "\x12\x05xx", "\x0f\x01", "\x0c", "\x0b\x08\x01"}) {
    const auto shape = prescan(as_bytes(bad));
    ASSERT_FALSE(shape);
    EXPECT_EQ(shape.error().code, Errc::malformed);
  }
}

}  // namespace
}  // namespace ringtalk::proto
