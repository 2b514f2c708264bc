// What a user says of himself, through the whole server at 1, 2 and 4 shards: avatar and signature, which
// everybody is told, and where his notifications go.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "proto/buddy.pb.h"
#include "proto/ext_sys.pb.h"
#include "shard/profile_edit.h"
#include "store/embedded/sqlite.h"
#include "tests/shard/harness.h"

namespace ringtalk::sim {
namespace {

constexpr uint16_t kSequence = 0xfe03;
constexpr auto kSignature    = CommandId::change_sign_info_request;
constexpr auto kSignatureSet = CommandId::change_sign_info_response;
constexpr auto kSignatureNew = CommandId::sign_info_changed_notify;
constexpr auto kAvatar       = CommandId::change_avatar_request;
constexpr auto kAvatarSet    = CommandId::change_avatar_response;
constexpr auto kAvatarNew    = CommandId::avatar_changed_notify;

std::string signature_frame(std::string_view text, uint16_t sequence = kSequence,
                            uint32_t claimed = 0) {
  IM::Buddy::IMChangeSignInfoReq request;
  request.set_user_id(claimed);
  request.set_sign_info(std::string(text));
  return frame(kSignature, sequence, request);
}

std::string avatar_frame(std::string_view url, uint16_t sequence = kSequence,
                         uint32_t claimed = 0) {
  IM::Buddy::IMChangeAvatarReq request;
  request.set_user_id(claimed);
  request.set_avatar_url(std::string(url));
  return frame(kAvatar, sequence, request);
}

std::string token_frame(std::string_view token, uint16_t sequence = kSequence,
                        uint32_t claimed = 0) {
  IM::Login::IMDeviceTokenReq request;
  request.set_user_id(claimed);
  request.set_device_token(std::string(token));
  return frame(CommandId::device_token_request, sequence, request);
}

std::string shield_frame(uint32_t status, uint16_t sequence = kSequence, uint32_t claimed = 0) {
  IM::Login::IMPushShieldReq request;
  request.set_user_id(claimed);
  request.set_shield_status(status);
  return frame(CommandId::push_shield_request, sequence, request);
}

std::string query_frame(uint16_t sequence = kSequence, uint32_t claimed = 0) {
  IM::Login::IMQueryPushShieldReq request;
  request.set_user_id(claimed);
  return frame(CommandId::query_push_shield_request, sequence, request);
}

std::string logout_frame(uint16_t sequence = kSequence) { return raw_frame(0x0105, sequence, ""); }

class Profile : public testing::TestWithParam<uint32_t> {
 protected:
  static Options options(uint32_t users = 8) {
    Options o                    = {.shards = GetParam(), .users = users};
    o.limits.sends_per_second    = 0;
    o.limits.requests_per_second = 0;
    return o;
  }

  // user:text of every 0x0215 (0x0212) that came, in order.
  static std::vector<std::string> heard(const Client& client, CommandId notify = kSignatureNew) {
    std::vector<std::string> found;
    for (const Frame* f : client.all(notify)) {
      EXPECT_EQ(f->header.sequence, 0);
      if (notify == kSignatureNew) {
        const auto m = f->as<IM::Buddy::IMSignInfoChangedNotify>();
        found.push_back(std::to_string(m.changed_user_id()) + ":" + m.sign_info());
      } else {
        const auto m = f->as<IM::Buddy::IMAvatarChangedNotify>();
        found.push_back(std::to_string(m.changed_user_id()) + ":" + m.avatar_url());
      }
    }
    return found;
  }
  // sequence:result(:text) of every 0x0214 and 0x020d.
  static std::vector<std::string> answers(const Client& client) {
    std::vector<std::string> found;
    for (const Frame& f : client.frames) {
      std::string text = std::to_string(f.header.sequence) + ":";
      if (f.id() == kSignatureSet) {
        const auto m = f.as<IM::Buddy::IMChangeSignInfoRsp>();
        EXPECT_EQ(m.user_id(), client.user);
        text += std::to_string(m.result_code());
        if (m.has_sign_info()) text += ":" + m.sign_info();
      } else if (f.id() == kAvatarSet) {
        const auto m = f.as<IM::Buddy::IMChangeAvatarRsp>();
        EXPECT_EQ(m.user_id(), client.user);
        text += std::to_string(m.result_code());
      } else {
        continue;
      }
      found.push_back(text);
    }
    return found;
  }
  static std::vector<CommandId> order(const Client& client, size_t from) {
    std::vector<CommandId> found;
    for (size_t i = from; i < client.frames.size(); ++i)
      if (client.frames[i].id() != CommandId::user_stat_notify &&
          client.frames[i].id() != CommandId::pc_login_status_notify)
        found.push_back(client.frames[i].id());
    return found;
  }

  static uint32_t stamp(World& world, Client& client, uint32_t since, std::set<uint32_t>& ids) {
    IM::Buddy::IMAllUserReq request;
    request.set_user_id(0);
    request.set_latest_update_time(since);
    client.write(frame(CommandId::all_user_request, kSequence, request));
    world.settle();
    const auto m = client.all(CommandId::all_user_response).back()->as<IM::Buddy::IMAllUserRsp>();
    ids.clear();
    for (const auto& user : m.user_list()) ids.insert(user.user_id());
    return m.latest_update_time();
  }
  static IM::BaseDefine::UserInfo profile(World& world, Client& client, uint32_t user) {
    IM::Buddy::IMUsersInfoReq request;
    request.set_user_id(0);
    request.add_user_id_list(user);
    client.write(frame(CommandId::users_info_request, kSequence, request));
    world.settle();
    return client.all(CommandId::users_info_response)
        .back()
        ->as<IM::Buddy::IMUsersInfoRsp>()
        .user_info_list(0);
  }

  // --- notifications
  // Result and value of the newest 0x010d or 0x010f; -1: no value.
  template <class M>
  static std::pair<uint32_t, int> shield_of(World& world, Client& client, CommandId response,
                                            std::string_view request) {
    const size_t before = client.count(response);
    client.write(request);
    world.settle();
    EXPECT_EQ(client.count(response), before + 1);
    if (client.count(response) == 0) return {9, 9};
    EXPECT_EQ(client.all(response).back()->header.sequence, kSequence);
    const auto m = client.all(response).back()->as<M>();
    EXPECT_EQ(m.user_id(), client.user);
    return {m.result_code(), m.has_shield_status() ? static_cast<int>(m.shield_status()) : -1};
  }
  static std::pair<uint32_t, int> set_shield(World& world, Client& client, uint32_t status,
                                             uint32_t claimed = 0) {
    return shield_of<IM::Login::IMPushShieldRsp>(world, client, CommandId::push_shield_response,
                                                 shield_frame(status, kSequence, claimed));
  }
  static std::pair<uint32_t, int> shield(World& world, Client& client, uint32_t claimed = 0) {
    return shield_of<IM::Login::IMQueryPushShieldRsp>(
        world, client, CommandId::query_push_shield_response, query_frame(kSequence, claimed));
  }
  // user:vendor:token of everybody, from the file of a server that has stopped.
  static std::string tokens(World& world) {
    EXPECT_TRUE(world.stop());
    std::string found;
    {
      static int looks = 0;
      store::SqliteVfs vfs("look" + std::to_string(++looks), world.sql_disk, world.clock,
                           world.random);
      store::Sqlite db;
      store::Statement select;
      EXPECT_TRUE(db.open({.path = "ringtalk.db", .vfs_name = vfs.name(), .exclusive = true}));
      EXPECT_TRUE(db.tune());  // as the server: what it leaves behind must survive a power cut
      EXPECT_TRUE(
          select.prepare(db, "SELECT user_id, vendor, token FROM push_token ORDER BY user_id"));
      store::Query query(select);
      while (query.step().value_or(false))
        found += query.text(0) + ":" + query.text(1) + ":" + query.text(2) + " ";
    }
    world.boot();
    return found;
  }
  static void hello(World& world, Client& client) {
    IM::Ext::Sys::ExtHelloReq request;
    request.set_user_id(0);
    request.set_ext_version(1);
    request.set_features(0);
    client.write(frame(CommandId::ext_hello_request, kSequence, request));
    world.settle();
  }
  static std::vector<std::string> errors(const Client& client) {
    std::vector<std::string> found;
    for (const Frame* f : client.all(CommandId::ext_error)) {
      const auto m = f->as<IM::Ext::Sys::ExtError>();
      found.push_back(std::to_string(m.command()) + ":" + std::to_string(m.seq()) + ":" +
                      std::to_string(m.result_code()));
    }
    return found;
  }
  // Every place in the queue of the user's home shard is taken, until the workers run.
  static void fill_store(World& world, uint32_t user) {
    world.run_store_workers = false;
    while (world.seat(world.home(user)).store->find_user(UserId(1), [](Result<store::User>) {})) {
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Shards, Profile, testing::Values(1, 2, 4));

using Texts = std::vector<std::string>;

// --- avatar and signature ----------------------------------------------------------------------------

TEST_P(Profile, ASignatureIsStoredAnsweredAndToldToEverybody) {
  World world(options());
  Client& pc    = world.enter(1);
  Client& phone = world.enter(1, kPhone);
  std::vector<Client*> others;
  for (uint32_t user = 2; user <= 8; ++user)
    others.push_back(&world.enter(user, user % 2 ? kAndroid : kMac));
  Client& stranger = world.connect(0);
  Client& kicked   = world.enter(3, kWindows);
  world.enter(3, kWindows);
  std::set<uint32_t> ids;
  const uint32_t before  = stamp(world, *others[0], 0, ids);
  const size_t seen      = pc.frames.size();
  const std::string text = "<b>here</b> & 'there' \xf0\x9f\x92\xac";
  pc.write(signature_frame(text, 77, /*claimed=*/2));
  world.settle();
  EXPECT_EQ(answers(pc), Texts{"77:0:" + text});
  EXPECT_EQ(order(pc, seen), (std::vector{kSignatureSet, kSignatureNew})) << "the answer first";
  for (const Client* client : others) EXPECT_EQ(heard(*client), Texts{"1:" + text});
  EXPECT_EQ(heard(phone), Texts{"1:" + text});
  EXPECT_EQ(phone.count(kSignatureSet), 0u) << "only who asked is answered";
  EXPECT_TRUE(stranger.frames.empty());
  EXPECT_TRUE(heard(kicked).empty());
  const uint32_t after = stamp(world, *others[0], before, ids);
  EXPECT_EQ(ids, std::set<uint32_t>{1}) << "whoever asks with the old stamp gets exactly him";
  EXPECT_GT(after, before);
  EXPECT_EQ(profile(world, *others[0], 1).sign_info(), text);
  EXPECT_EQ(profile(world, *others[0], 2).sign_info(), "");

  world.crash();
  world.boot();
  Client& again = world.enter(2);
  EXPECT_EQ(profile(world, again, 1).sign_info(), text) << "answered means durable";
  stamp(world, again, before, ids);
  EXPECT_EQ(ids, std::set<uint32_t>{1});
  EXPECT_TRUE(heard(again).empty());
}

TEST_P(Profile, AnAvatarIsToldToTheOwnConnectionsAndToEverybody) {
  World world(options());
  Client& phone = world.enter(1, kPhone);
  Client& pc    = world.enter(1);
  Client& bob   = world.enter(2);
  Client& carol = world.enter(3, kAndroid);
  phone.write(avatar_frame("g0/000/000/1.png", 78, /*claimed=*/3));
  world.settle();
  EXPECT_EQ(answers(phone), Texts{"78:0"});
  EXPECT_EQ(answers(pc), Texts{"0:0"});
  for (const Client* client : {&phone, &pc, &bob, &carol})
    EXPECT_EQ(heard(*client, kAvatarNew), Texts{"1:g0/000/000/1.png"});
  EXPECT_TRUE(answers(bob).empty());
  EXPECT_EQ(profile(world, bob, 1).avatar_url(), "g0/000/000/1.png");
  EXPECT_TRUE(world.stop());
  world.boot();
  EXPECT_EQ(profile(world, world.enter(2), 1).avatar_url(), "g0/000/000/1.png");
}

TEST_P(Profile, WhatNoClientMayBeGivenIsRefusedToItsAskerOnly) {
  World world(options());
  Client& pc    = world.enter(1);
  Client& phone = world.enter(1, kPhone);
  Client& bob   = world.enter(2);
  pc.write(signature_frame("good", 1) + avatar_frame("good.png", 2));
  world.settle();
  world.advance_s(2);
  std::set<uint32_t> ids;
  const uint32_t before  = stamp(world, bob, 0, ids);
  const Texts signatures = {
      std::string(129, 'x'),
      std::string(50'000, 'x'),
      "\xff",
      "\xc0\x80",
      "\xed\xa0\x80",
      "cut \xf0\x9f\x92",
      "line\nbreak",
      "tab\t",
      std::string("nul\0x", 5),
      "bell\x07",
      "del\x7f",
      "\xc2\x85",
      "\xc2\x9f end",
  };
  const Texts avatars = {
      std::string(256, 'x'),
      "\xff",
      "a\nb.png",
      std::string("a\0b", 3),
      "\xc2\x80.png",
      "javascript:alert(1)",
      "JavaScript:alert(1)",
      " javascript:alert(1)",
      "java script:alert(1)",
      "data:image/png;base64,AA==",
      "file:///etc/passwd",
      "ftp://example.org/a.png",
      "x:y",
      "http:",
      "http:/x",
      "https://",
      "http:example.org",
      ":",
      "\\\\host\\share\\a.png",
      "c:\\a.png",
      "a\\b.png",
  };
  for (const std::string& text : signatures)
    EXPECT_FALSE(shard::acceptable_signature(text)) << text;
  for (const std::string& text : avatars) EXPECT_FALSE(shard::acceptable_avatar(text)) << text;
  Texts expected    = {"1:0:good", "2:0"};
  uint16_t sequence = 100;
  for (const std::string& text : signatures) {
    pc.write(signature_frame(text, ++sequence));
    expected.push_back(std::to_string(sequence) + ":1");
  }
  for (const std::string& text : avatars) {
    pc.write(avatar_frame(text, ++sequence));
    expected.push_back(std::to_string(sequence) + ":1");
  }
  world.settle();
  world.advance_s(3);
  EXPECT_EQ(answers(pc), expected);
  EXPECT_EQ(answers(phone), Texts{"0:0"}) << "of the good one";
  for (const Client* client : {&pc, &phone, &bob}) {
    EXPECT_EQ(heard(*client), Texts{"1:good"});
    EXPECT_EQ(heard(*client, kAvatarNew), Texts{"1:good.png"});
  }
  EXPECT_EQ(stamp(world, bob, before, ids), before);
  EXPECT_TRUE(ids.empty());
  EXPECT_EQ(profile(world, bob, 1).sign_info(), "good");
}

TEST(ProfileText, WhatClientsMayBeGiven) {
  for (const std::string& text :
       Texts{"", "x", std::string(128, 'x'), "<script>alert(1)</script>", "'; DROP TABLE user; --",
             "%s%n", "javascript:alert(1)", "\xc2\xa0", "\xe2\x80\xae rtl"})
    EXPECT_TRUE(shard::acceptable_signature(text)) << text;
  for (const std::string& text :
       Texts{"", "a", "/g0/000/000/a.png", "g0/000/000/a.png", "http://h", "https://h/a.png?x=1:2",
             "HTTP://H/a", "/a:b", "g0/a:b.png", "?x:y", "g0/\xc3\xa9.png", std::string(255, 'x')})
    EXPECT_TRUE(shard::acceptable_avatar(text)) << text;
}

// Changes every 40 ms from two devices: each is answered, and heard at most once a second, at the end
// the last one.
TEST_P(Profile, OnceASecondTheNewest) {
  World world(options());
  Client& pc                     = world.enter(1);
  Client& phone                  = world.enter(1, kPhone);
  Client& bob                    = world.enter(2);
  Client& carol                  = world.enter(3);
  const std::vector<Client*> all = {&pc, &phone, &bob, &carol};
  std::map<Client*, std::vector<uint64_t>> times;
  const auto look = [&] {
    for (Client* client : all)
      while (times[client].size() < heard(*client).size())
        times[client].push_back(world.clock.now_ns());
  };
  uint16_t n           = 0;
  const uint64_t began = world.clock.now_ns();
  while (world.clock.now_ns() < began + 5 * kNsPerS) {
    ++n;
    (n % 2 ? pc : phone).write(signature_frame("n" + std::to_string(n), n));
    world.settle();
    look();
    world.advance(40 * kNsPerMs, 10 * kNsPerMs);
    look();
  }
  world.advance_s(3);
  EXPECT_EQ(answers(pc).size() + answers(phone).size(), n) << "each is stored and answered";
  EXPECT_EQ(profile(world, bob, 1).sign_info(), "n" + std::to_string(n));
  for (Client* client : all) {
    EXPECT_EQ(heard(*client).front(), "1:n1") << "the first one at once";
    EXPECT_EQ(heard(*client).back(), "1:n" + std::to_string(n)) << "the last one in the end";
    EXPECT_GE(heard(*client).size(), 5u);
    EXPECT_LE(heard(*client).size(), 7u);
    for (size_t i = 1; i < times[client].size(); ++i)
      EXPECT_GE(times[client][i] - times[client][i - 1], kNsPerS);
    EXPECT_EQ(heard(*client), heard(bob)) << "everybody the same";
  }
  // A quiet second later a change is told at once again; others and avatars have a second of their own.
  pc.write(signature_frame("late", 900) + avatar_frame("late.png", 901));
  carol.write(signature_frame("carol's", 902));
  world.settle();
  world.advance(200 * kNsPerMs);
  EXPECT_EQ(heard(bob).size(), heard(pc).size());
  EXPECT_EQ(std::ranges::count(heard(bob), "1:late"), 1);
  EXPECT_EQ(std::ranges::count(heard(bob), "3:carol's"), 1);
  EXPECT_EQ(heard(bob, kAvatarNew), Texts{"1:late.png"});
}

TEST_P(Profile, ManyChangesReachEverybodyInFewPayloads) {
  constexpr uint32_t kUsers = 60;
  World world(options(kUsers));
  std::vector<Client*> all;
  for (uint32_t user = 1; user <= kUsers; ++user) all.push_back(&world.enter(user));
  const std::string longest(128, 's');
  for (Client* client : all) client->write(signature_frame(longest, 9));
  world.advance_s(2);
  for (const Client* client : all) {
    std::set<std::string> different;
    for (const std::string& text : heard(*client)) different.insert(text);
    EXPECT_EQ(different.size(), kUsers);
    EXPECT_EQ(heard(*client).size(), kUsers) << "each once";
  }
  EXPECT_LE(world.metric(Counter::profile_pushes), kUsers * 10u) << "not one for each change";
}

TEST_P(Profile, AReaderThatDoesNotReadIsClosed) {
  Options o                 = options();
  o.limits.push_queue_bytes = 2048;
  World world(o);
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  Client& slow  = world.enter(3, kWindows, {}, /*window=*/2048);
  slow.reads    = false;
  for (int i = 0; i < 60 && slow.is_open(); ++i) {
    alice.write(avatar_frame(std::string(255, 'a'), 5) + signature_frame(std::string(128, 's'), 6));
    world.settle();
    world.advance_s(1);
  }
  EXPECT_FALSE(slow.is_open());
  EXPECT_EQ(world.metric(Counter::close_slow_reader), 1u);
  EXPECT_TRUE(bob.is_open());
  EXPECT_TRUE(alice.is_open());
}

TEST_P(Profile, AShardThatIsBehindHearsTheNewestOnly) {
  if (GetParam() == 1) GTEST_SKIP() << "needs another shard";
  World world(options());
  Client& alice = world.enter(1);
  uint32_t far  = 2;
  while (world.home(far) == world.home(1)) ++far;
  Client& bob                        = world.enter(far);
  world.seat(world.home(far)).frozen = true;
  for (uint16_t n = 1; n <= 4; ++n) {
    alice.write(signature_frame("n" + std::to_string(n), n));
    world.settle();
    world.advance_s(1);
  }
  EXPECT_EQ(answers(alice).size(), 4u) << "nobody waits for it";
  EXPECT_EQ(heard(alice).size(), 4u);
  world.seat(world.home(far)).frozen = false;
  world.settle();
  EXPECT_EQ(heard(bob), Texts{"1:n4"});
  world.advance_s(3);
  EXPECT_EQ(heard(bob), Texts{"1:n4"});
}

// --- storage -------------------------------------------------------------------------------------------

TEST_P(Profile, AnswersWaitForTheStoreInTheOrderAsked) {
  World world(options());
  Client& phone           = world.enter(1, kPhone);
  Client& bob             = world.enter(2);
  const size_t seen       = phone.frames.size();
  world.run_store_workers = false;
  phone.write(signature_frame("s", 10) + avatar_frame("a.png", 11) + token_frame("t", 12) +
              shield_frame(1, 13) + query_frame(14) + avatar_frame("javascript:", 15) +
              heartbeat_frame(16));
  world.advance_s(3);
  EXPECT_TRUE(order(phone, seen).empty()) << "nothing that is not durable";
  EXPECT_TRUE(heard(bob).empty());
  world.run_store_workers = true;
  world.advance_s(1);
  auto got = order(phone, seen);
  std::erase_if(got, [](CommandId id) { return id == kSignatureNew || id == kAvatarNew; });
  EXPECT_EQ(got,
            (std::vector{kSignatureSet, kAvatarSet, CommandId::device_token_response,
                         CommandId::push_shield_response, CommandId::query_push_shield_response,
                         kAvatarSet, CommandId::heartbeat}));
  EXPECT_EQ(heard(bob), Texts{"1:s"});
}

TEST_P(Profile, WhoDoesNotWaitHasChangedItAllTheSame) {
  World world(options());
  Client& alice           = world.enter(1);
  Client& bob             = world.enter(2);
  world.run_store_workers = false;
  alice.write(signature_frame("gone", 10));
  world.advance(100 * kNsPerMs);
  alice.socket.close();
  world.advance(100 * kNsPerMs);
  world.run_store_workers = true;
  world.settle();
  EXPECT_EQ(heard(bob), Texts{"1:gone"});
}

TEST_P(Profile, AFullStoreDelaysAndLosesNothing) {
  World world(options());
  Client& phone = world.enter(1, kPhone);
  Client& bob   = world.enter(2);
  fill_store(world, 1);
  phone.write(signature_frame("s", 10) + avatar_frame("a.png", 11) + token_frame("t", 12) +
              shield_frame(1, 13) + query_frame(14) + logout_frame(15));
  for (int i = 0; i < 20; ++i) world.step();
  EXPECT_TRUE(answers(phone).empty());
  EXPECT_TRUE(phone.is_open());
  world.run_store_workers = true;
  world.settle();
  EXPECT_EQ(answers(phone), (Texts{"10:0:s", "11:0"}));
  EXPECT_EQ(phone.count(CommandId::device_token_response), 1u);
  EXPECT_EQ(phone.count(CommandId::push_shield_response), 1u);
  EXPECT_EQ(phone.count(CommandId::query_push_shield_response), 1u);
  EXPECT_EQ(phone.count(CommandId::logout_response), 1u);
  EXPECT_EQ(heard(bob), Texts{"1:s"});
}

TEST_P(Profile, AFullDiskIsToldAndNobodyElseHears) {
  World world(options());
  Client& phone = world.enter(1, kPhone);
  Client& bob   = world.enter(2);
  hello(world, phone);
  world.sql_disk.set_space(0);
  phone.write(signature_frame("s", 10) + avatar_frame("a.png", 11) + token_frame("t", 12) +
              shield_frame(1, 13) + query_frame(14));
  world.settle();
  EXPECT_EQ(answers(phone), (Texts{"10:1", "11:1"}));
  EXPECT_EQ(phone.count(CommandId::device_token_response), 0u);
  EXPECT_EQ(errors(phone), Texts{"264:12:2"});
  ASSERT_EQ(phone.count(CommandId::push_shield_response), 1u);
  const auto refused =
      phone.all(CommandId::push_shield_response)[0]->as<IM::Login::IMPushShieldRsp>();
  EXPECT_EQ(refused.result_code(), 1u);
  EXPECT_FALSE(refused.has_shield_status());
  world.advance_s(2);
  EXPECT_TRUE(heard(bob).empty());
  EXPECT_TRUE(heard(bob, kAvatarNew).empty());
  world.sql_disk.set_space(~uint64_t{0});
  EXPECT_EQ(set_shield(world, phone, 1), (std::pair<uint32_t, int>{0, 1}));
  EXPECT_EQ(shield(world, phone), (std::pair<uint32_t, int>{0, 1}));
}

// --- notifications -------------------------------------------------------------------------------------

TEST_P(Profile, OnePhoneOfAUserHasHisToken) {
  World world(options());
  Client& phone = world.enter(1, kPhone);
  phone.write(token_frame("first", 50, /*claimed=*/2));
  world.settle();
  ASSERT_EQ(phone.count(CommandId::device_token_response), 1u);
  const Frame* answer = phone.all(CommandId::device_token_response)[0];
  EXPECT_EQ(answer->header.sequence, 50);
  EXPECT_EQ(answer->as<IM::Login::IMDeviceTokenRsp>().user_id(), 1u);
  Client& pc        = world.enter(1, kWindows);
  Client& mac       = world.enter(2, kMac);
  const size_t seen = pc.frames.size();
  pc.write(token_frame("pc", 51));
  mac.write(token_frame("mac", 52));
  world.settle();
  EXPECT_TRUE(order(pc, seen).empty());
  EXPECT_EQ(mac.count(CommandId::device_token_response), 0u);
  Client& bobs = world.enter(2, kAndroid);
  bobs.write(token_frame("bob's", 53));
  world.settle();
  EXPECT_EQ(tokens(world), "1:ios:first 2:android:bob's ");

  Client& another = world.enter(1, kAndroid);
  another.write(token_frame("second", 54));
  world.settle();
  EXPECT_EQ(tokens(world), "1:android:second 2:android:bob's ") << "one per user";
  Client& borrowed = world.enter(3, kAndroid);
  borrowed.write(token_frame("second", 55));
  world.settle();
  EXPECT_EQ(borrowed.count(CommandId::device_token_response), 1u);
  world.crash();
  world.boot();
  EXPECT_EQ(tokens(world), "2:android:bob's 3:android:second ") << "the last account has it";
  Client& empty = world.enter(2, kPhone);
  empty.write(token_frame("", 56));
  world.settle();
  EXPECT_EQ(empty.count(CommandId::device_token_response), 1u);
  EXPECT_EQ(tokens(world), "3:android:second ");
}

TEST_P(Profile, ATokenIsAtMost256PrintableBytes) {
  World world(options());
  Client& stock = world.enter(1, kPhone);
  Client& ext   = world.enter(2, kAndroid);
  hello(world, ext);
  const std::string longest = "%s%n' \"" + std::string(249, 'x');
  for (Client* client : {&stock, &ext})
    client->write(token_frame("kept" + std::to_string(client->user), 1));
  for (Client* client : {&stock, &ext})
    client->write(token_frame(std::string(257, 'x'), 10) +
                  token_frame(std::string(60'000, 'x'), 11) +
                  token_frame(std::string("a\0b", 3), 12) + token_frame("a\n", 13) +
                  token_frame("\xc3\xa9", 14) + token_frame("\x7f", 15) + token_frame("\xff", 16));
  world.settle();
  for (const Client* client : {&stock, &ext})
    EXPECT_EQ(client->count(CommandId::device_token_response), 1u) << "of the good one";
  EXPECT_TRUE(errors(stock).empty());
  EXPECT_EQ(errors(ext), (Texts{"264:10:8", "264:11:8", "264:12:1", "264:13:1", "264:14:1",
                                "264:15:1", "264:16:1"}));
  EXPECT_EQ(tokens(world), "1:ios:kept1 2:android:kept2 ");
  Client& again = world.enter(1, kPhone);
  again.write(token_frame(longest, 20));
  world.settle();
  EXPECT_EQ(again.count(CommandId::device_token_response), 1u);
  EXPECT_EQ(tokens(world), "1:ios:" + longest + " 2:android:kept2 ");
}

TEST_P(Profile, APhoneThatLogsOutTakesTheTokenAlong) {
  World world(options());
  const auto registered = [&](uint8_t type, const char* token) -> Client& {
    Client& client = world.enter(1, type);
    client.write(token_frame(token, 1));
    world.settle();
    return client;
  };
  Client& phone = registered(kPhone, "one");
  phone.write(logout_frame(60) + chat_frame(2, "behind", 61) + token_frame("behind", 62));
  world.settle();
  EXPECT_EQ(phone.count(CommandId::logout_response), 1u);
  EXPECT_EQ(phone.all(CommandId::logout_response)[0]->as<IM::Login::IMLogoutRsp>().result_code(),
            0u);
  EXPECT_FALSE(phone.is_open());
  EXPECT_EQ(world.head(1, 2).newest, 0u);
  EXPECT_EQ(tokens(world), "");

  // A PC, a phone that was replaced and one whose connection breaks leave it.
  registered(kAndroid, "two");
  Client& pc = world.enter(1);
  pc.write(logout_frame(63));
  world.settle();
  EXPECT_EQ(pc.count(CommandId::logout_response), 1u);
  EXPECT_FALSE(pc.is_open());
  EXPECT_EQ(tokens(world), "1:android:two ");
  Client& replaced = registered(kAndroid, "three");
  Client& newer    = registered(kPhone, "four");
  replaced.write(logout_frame(64));
  world.settle();
  EXPECT_EQ(replaced.count(CommandId::logout_response), 1u);
  EXPECT_FALSE(replaced.is_open());
  newer.socket.close();
  world.settle();
  EXPECT_EQ(tokens(world), "1:ios:four ");
}

TEST_P(Profile, ALogoutEndsTheConnectionWhateverTheStoreDoes) {
  World world(options());
  for (const bool kicked : {false, true}) {
    Client& phone           = world.enter(1, kPhone);
    world.run_store_workers = false;
    phone.write(logout_frame(60) + heartbeat_frame(61));
    world.advance_s(1);
    EXPECT_EQ(phone.count(CommandId::logout_response), 0u);
    shard::Login& login = world.seat(world.home(1)).shard->login();
    if (kicked) login.kick_class(UserId(1), /*mobile=*/true, 1, nullptr);
    world.run_store_workers = true;
    world.settle();
    EXPECT_EQ(phone.count(CommandId::logout_response), 1u);
    EXPECT_EQ(phone.count(CommandId::kick_user), kicked ? 1u : 0u);
    EXPECT_EQ(phone.count(CommandId::heartbeat), kicked ? 1u : 0u)
        << "nothing behind a logout, but a kicked session's heartbeats";
    EXPECT_FALSE(phone.is_open());
  }

  Client& next = world.enter(1, kAndroid);
  next.write(token_frame("kept", 1));
  world.settle();
  world.sql_disk.set_space(0);
  next.write(logout_frame(62));
  world.settle();
  ASSERT_EQ(next.count(CommandId::logout_response), 1u);
  EXPECT_EQ(next.all(CommandId::logout_response)[0]->as<IM::Login::IMLogoutRsp>().result_code(),
            1u);
  EXPECT_FALSE(next.is_open());
  world.sql_disk.set_space(~uint64_t{0});
  EXPECT_EQ(tokens(world), "1:android:kept ");
}

TEST_P(Profile, SilentNightsAreTheUsersOwn) {
  using Answer = std::pair<uint32_t, int>;
  World world(options());
  Client& pc    = world.enter(1);
  Client& phone = world.enter(1, kPhone);
  Client& bob   = world.enter(2, kPhone);
  std::set<uint32_t> ids;
  const uint32_t before = stamp(world, bob, 0, ids);
  EXPECT_EQ(shield(world, pc), (Answer{0, 0}));
  EXPECT_EQ(set_shield(world, phone, 1, /*claimed=*/2), (Answer{0, 1}));
  EXPECT_EQ(shield(world, pc), (Answer{0, 1}));
  EXPECT_EQ(shield(world, bob), (Answer{0, 0}));
  EXPECT_EQ(shield(world, bob, /*claimed=*/1), (Answer{0, 0})) << "one's own, whatever is claimed";
  for (const uint32_t value : {2u, 7u, 0x80000000u, ~0u}) {
    EXPECT_EQ(set_shield(world, pc, value), (Answer{1, -1}));
    EXPECT_EQ(shield(world, pc), (Answer{0, 1}));
  }
  EXPECT_EQ(stamp(world, bob, before, ids), before) << "no profile has changed";
  world.crash();
  world.boot();
  Client& again = world.enter(1, kMac);
  EXPECT_EQ(shield(world, again), (Answer{0, 1}));
  EXPECT_EQ(set_shield(world, again, 0), (Answer{0, 0}));
  EXPECT_EQ(shield(world, again), (Answer{0, 0}));
}

TEST_P(Profile, StrangersAndBrokenBodiesChangeNothing) {
  World world(options());
  Client& bob = world.enter(2);
  for (const std::string& request : {signature_frame("x"), avatar_frame("x"), token_frame("x"),
                                     shield_frame(1), query_frame()}) {
    Client& stranger = world.connect(0);
    stranger.write(request);
    world.settle();
    EXPECT_FALSE(stranger.is_open());
    EXPECT_TRUE(stranger.frames.empty());
  }
  uint32_t user = 2;
  for (const uint16_t command : {0x0108, 0x010c, 0x010e, 0x020c, 0x0213}) {
    Client& client    = world.enter(++user, kPhone);
    const size_t seen = client.frames.size();
    for (int i = 0; i < 9; ++i) client.write(raw_frame(command, 5, i % 2 ? "" : "\xff\xff"));
    world.settle();
    EXPECT_TRUE(order(client, seen).empty());
    EXPECT_TRUE(client.is_open());
    client.write(raw_frame(command, 5, "\x0f"));
    world.settle();
    EXPECT_FALSE(client.is_open()) << "the tenth";
  }
  EXPECT_TRUE(heard(bob).empty());
}

}  // namespace
}  // namespace ringtalk::sim
