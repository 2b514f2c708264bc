// One-to-one chat through the whole server, at 1, 2 and 4 shards: what clients see, under order,
// faults, fullness, withheld storage and power cuts.
#include "tests/shard/harness.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

namespace ringtalk::sim {
namespace {

using End = engine::FakeClient::End;

constexpr char kWrong[] = "用户名/密码错误";
constexpr char kFull[]  = "负载过高";

class Chat : public testing::TestWithParam<uint32_t> {
 protected:
  Options options(uint32_t users = 8) { return {.shards = GetParam(), .users = users}; }
  Options unpaced(uint32_t users = 8) {
    Options o                    = options(users);
    o.limits.sends_per_second    = 0;
    o.limits.requests_per_second = 0;
    return o;
  }
};
INSTANTIATE_TEST_SUITE_P(Shards, Chat, testing::Values(1, 2, 4));

IM::Login::IMLoginRes login_answer(const Client& client) {
  const auto answers = client.all(CommandId::login_response);
  EXPECT_EQ(answers.size(), 1u);
  return answers.empty() ? IM::Login::IMLoginRes() : answers[0]->as<IM::Login::IMLoginRes>();
}

// --- login -------------------------------------------------------------------------------------------

TEST_P(Chat, LoginByPasswordTokenAndNeither) {
  Options o       = options();
  o.password_user = true;
  World world(o);
  const std::string md5 = shard::md5hex_of(kPassword);
  for (uint32_t door = 0; door < world.shards(); ++door) {
    Client& right = world.connect(door);
    right.write(login_frame("pass", md5, kWindows, 77));
    world.settle();
    const auto answer = login_answer(right);
    EXPECT_EQ(answer.result_code(), 0);
    EXPECT_EQ(right.frames[0].header.sequence, 77);
    EXPECT_EQ(answer.user_info().user_id(), 9u);
    EXPECT_EQ(answer.user_info().user_real_name(), "pass");
    EXPECT_EQ(answer.user_info().status(), 0u);
    EXPECT_EQ(answer.server_time(), world.clock.wall_ns() / kNsPerS);
    EXPECT_TRUE(right.is_open());

    Client& again = world.connect(door + 1);  // by the token it was given
    again.write(login_frame("pass", "token:" + answer.session_token(), kPhone));
    world.settle();
    EXPECT_EQ(world.result_of_login(again), 0);

    // Wrong, unknown, somebody else's token, an old token, garbage: one answer for all.
    std::string answers[6];
    const std::string tries[6][2] = {{"pass", std::string(32, 'a')},
                                     {"nobody", md5},
                                     {"u1", world.token(2)},
                                     {"pass", "token:"},
                                     {"u1", ""},
                                     {"' or 1=1 --", md5}};
    for (int i = 0; i < 6; ++i) {
      Client& wrong = world.connect(door);
      wrong.write(login_frame(tries[i][0], tries[i][1]));
      world.settle();
      const auto refused = login_answer(wrong);
      EXPECT_EQ(refused.result_code(), 6) << i;
      EXPECT_EQ(refused.result_string(), kWrong);
      EXPECT_FALSE(refused.has_user_info());
      EXPECT_FALSE(refused.has_session_token());
      answers[i] = wrong.frames[0].body;
      EXPECT_EQ(answers[i], answers[0]) << "it tells which names exist";
      EXPECT_EQ(wrong.socket.end(), End::finished);
    }
  }
  Client& old = world.connect(0);
  old.write(login_frame("u1", world.token(1, 0)));
  world.advance_s(1);
  EXPECT_EQ(world.result_of_login(old), 6) << "an expired token";
}

TEST_P(Chat, TenWrongPasswordsLockTheNameForThatAddressOnly) {
  Options o       = options();
  o.password_user = true;
  World world(o);
  const std::string md5 = shard::md5hex_of(kPassword);
  std::string token;
  for (int i = 0; i < 12; ++i) {
    Client& client = world.connect(static_cast<uint32_t>(i), 65536, 0x0a000001);
    client.write(login_frame("pass", std::string(32, 'b')));
    world.settle();
    EXPECT_EQ(world.result_of_login(client), 6);
  }
  Client& locked = world.connect(1, 65536, 0x0a000001);
  locked.write(login_frame("pass", md5));
  world.settle();
  EXPECT_EQ(world.result_of_login(locked), 6);
  EXPECT_NE(login_answer(locked).result_string(), kWrong);

  Client& elsewhere = world.connect(2, 65536, 0x0a000002);
  elsewhere.write(login_frame("pass", md5));
  world.settle();
  EXPECT_EQ(world.result_of_login(elsewhere), 0);
  Client& token_holder = world.connect(3, 65536, 0x0a000001);
  token_holder.write(
      login_frame("pass", "token:" + login_answer(elsewhere).session_token(), kPhone));
  world.settle();
  EXPECT_EQ(world.result_of_login(token_holder), 0) << "a valid token is never refused for it";
}

TEST_P(Chat, PasswordQueueFullSaysServerFull) {
  Options o        = options();
  o.password_queue = 1;
  World world(o);
  world.run_passwords = false;
  std::vector<Client*> all;
  for (int i = 0; i < 12; ++i) {
    all.push_back(&world.connect(0));
    all.back()->write(login_frame("one and the same", std::string(32, 'a')));
  }
  world.settle();
  size_t full = 0;
  for (Client* client : all)
    if (!client->frames.empty()) {
      ++full;
      EXPECT_EQ(world.result_of_login(*client), 2);
      EXPECT_EQ(login_answer(*client).result_string(), kFull);
      EXPECT_EQ(client->socket.end(), End::finished);
    }
  EXPECT_GE(full, 10u);
  world.run_passwords = true;
  world.settle();
  for (Client* client : all) EXPECT_GT(world.result_of_login(*client), 0);
}

TEST_P(Chat, ASecondLoginIsIgnored) {
  World world(options());
  Client& alice = world.enter(1);
  alice.write(world.login_of(2) + world.login_of(1) + heartbeat_frame(5));
  world.settle();
  EXPECT_EQ(alice.count(CommandId::login_response), 1u);
  EXPECT_EQ(alice.count(CommandId::heartbeat), 1u);
  EXPECT_TRUE(alice.is_open());
}

TEST_P(Chat, ANewLoginKicksItsClassOnly) {
  World world(options());
  Client& pc    = world.enter(1, kWindows, 0);
  Client& phone = world.enter(1, kPhone, 1);
  Client& peer  = world.enter(2);
  Client& mac   = world.enter(1, kMac, 2);
  ASSERT_EQ(pc.count(CommandId::kick_user), 1u);
  const auto kick = pc.all(CommandId::kick_user)[0];
  EXPECT_EQ(kick->header.sequence, 0);
  EXPECT_EQ(kick->as<IM::Login::IMKickUser>().kick_reason(), 1);
  EXPECT_EQ(kick->as<IM::Login::IMKickUser>().user_id(), 1u);
  EXPECT_EQ(phone.count(CommandId::kick_user), 0u);

  // Kicked: nothing is delivered, nothing executed, a heartbeat still comes back.
  peer.write(chat_frame(1, "to the living", 1));
  pc.write(chat_frame(2, "from the dead", 3) + heartbeat_frame(9) + page_frame(2, 0, 10, 4));
  world.settle();
  EXPECT_EQ(pc.deliveries().size(), 0u);
  EXPECT_TRUE(pc.acks().empty());
  EXPECT_EQ(pc.count(CommandId::heartbeat), 1u);
  EXPECT_EQ(pc.count(CommandId::get_msg_list_response), 0u);
  EXPECT_EQ(mac.deliveries().size(), 1u);
  EXPECT_EQ(phone.deliveries().size(), 1u);
  EXPECT_EQ(peer.deliveries().size(), 0u);
  world.advance(4900 * kNsPerMs);
  EXPECT_TRUE(pc.is_open());
  world.advance(400 * kNsPerMs);
  EXPECT_FALSE(pc.is_open());
  EXPECT_TRUE(mac.is_open());
  EXPECT_TRUE(phone.is_open());

  // Logging out while kicked is answered.
  world.enter(1, kWindows);
  mac.write(raw_frame(0x0105, 12, ""));
  world.settle();
  ASSERT_EQ(mac.count(CommandId::logout_response), 1u);
  EXPECT_EQ(mac.all(CommandId::logout_response)[0]->header.sequence, 12);
  EXPECT_EQ(mac.socket.end(), End::finished);
}

TEST_P(Chat, APhoneKicksThePcs) {
  World world(options());
  Client& pc     = world.enter(1, kWindows);
  Client& phone  = world.enter(1, kPhone);
  Client& victim = world.enter(2, kWindows);
  IM::Login::IMKickPCClientReq request;
  request.set_user_id(2);  // claims somebody else: acts on himself
  pc.write(frame(CommandId::kick_pc_client_request, 3, request));
  world.settle();
  EXPECT_EQ(pc.count(CommandId::kick_user), 0u) << "a PC may not";
  EXPECT_EQ(pc.count(CommandId::kick_pc_client_response), 0u);
  phone.write(frame(CommandId::kick_pc_client_request, 4, request));
  world.settle();
  ASSERT_EQ(phone.count(CommandId::kick_pc_client_response), 1u);
  EXPECT_EQ(phone.all(CommandId::kick_pc_client_response)[0]->header.sequence, 4);
  ASSERT_EQ(pc.count(CommandId::kick_user), 1u);
  EXPECT_EQ(pc.all(CommandId::kick_user)[0]->as<IM::Login::IMKickUser>().kick_reason(), 2);
  EXPECT_EQ(victim.count(CommandId::kick_user), 0u);
}

TEST_P(Chat, LogoutAnswersClosesAndExecutesNothingBehindIt) {
  World world(options());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  alice.write(raw_frame(0x0105, 7, "") + chat_frame(2, "too late", 8));
  world.settle();
  EXPECT_EQ(alice.count(CommandId::logout_response), 1u);
  EXPECT_EQ(alice.socket.end(), End::finished);
  EXPECT_TRUE(bob.deliveries().empty());
  EXPECT_EQ(world.head(1, 2).newest, 0u);
}

// --- chat --------------------------------------------------------------------------------------------

TEST_P(Chat, EveryPairHearsEachOther) {
  World world(unpaced());
  std::vector<Client*> pc{nullptr}, phone{nullptr};
  for (uint32_t u = 1; u <= 8; ++u) {
    pc.push_back(&world.enter(u, kWindows, u * 3));  // some at their own door, some not
    phone.push_back(&world.enter(u, kPhone, u));
  }
  uint16_t sequence = 100;
  for (int round = 0; round < 3; ++round)
    for (uint32_t from = 1; from <= 8; ++from)
      for (uint32_t to = 1; to <= 8; ++to) {
        if (from == to) continue;
        const std::string text =
            std::to_string(from) + ">" + std::to_string(to) + "#" + std::to_string(round);
        // What the client claims about itself is not believed.
        pc[from]->write(chat_frame(to, text, sequence++, {}, 1, /*claimed_from=*/from % 8 + 1));
        if (round == 1) world.step();
      }
  world.settle();

  for (uint32_t u = 1; u <= 8; ++u) {
    EXPECT_EQ(pc[u]->count(CommandId::msg_data_ack), 21u);
    EXPECT_EQ(phone[u]->count(CommandId::msg_data_ack), 0u);
    EXPECT_EQ(pc[u]->deliveries().size(), 21u) << "receives, and never hears itself";
    EXPECT_EQ(phone[u]->deliveries().size(), 42u) << "receives, and hears the other device";
    for (const Frame* f : pc[u]->all(CommandId::msg_data_ack)) {
      const auto ack = proto::parse_message_ack(as_bytes(f->body));
      EXPECT_EQ(ack->user_id, u);
      EXPECT_EQ(ack->session_type, proto::SessionType::single);
    }
  }
  for (uint32_t a = 1; a <= 8; ++a)
    for (uint32_t b = a + 1; b <= 8; ++b) {
      SCOPED_TRACE(std::to_string(a) + " and " + std::to_string(b));
      EXPECT_EQ(world.head(a, b).newest, 6u);
      std::map<uint32_t, std::string> by_id;
      for (const Delivery& d : phone[a]->deliveries()) {
        if (!(d.from == a && d.to == b) && !(d.from == b && d.to == a)) continue;
        const uint32_t last = by_id.empty() ? 0 : by_id.rbegin()->first;
        EXPECT_EQ(d.msg_id, last + 1) << "order is id order";
        EXPECT_TRUE(by_id.emplace(d.msg_id, d.text).second);
        EXPECT_EQ(d.text.substr(0, 3), std::to_string(d.from) + ">" + std::to_string(d.to));
        EXPECT_EQ(d.time, world.clock.wall_ns() / kNsPerS);
      }
      ASSERT_EQ(by_id.size(), 6u);
      EXPECT_EQ(by_id.begin()->first, 1u);
      const auto stored = world.history(*pc[b], a);
      ASSERT_EQ(stored.size(), 6u);
      for (size_t i = 0; i < 6; ++i) {
        EXPECT_EQ(stored[i].msg_id(), 6 - i);
        EXPECT_EQ(stored[i].msg_data(), by_id[static_cast<uint32_t>(6 - i)]);
      }
    }
}

TEST_P(Chat, HistoryPagesAndForeignConversations) {
  World world(unpaced());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  Client& eve   = world.enter(3);
  for (uint16_t i = 1; i <= 250; ++i) alice.write(chat_frame(2, "m" + std::to_string(i), i));
  world.settle();
  EXPECT_EQ(world.page(bob, 1, 0, 10).size(), 10u);
  EXPECT_EQ(world.page(bob, 1, 0, 10)[0].msg_data(), "m250");
  EXPECT_EQ(world.page(bob, 1, 0, 4'000'000'000u).size(), 100u) << "capped";
  EXPECT_EQ(world.page(bob, 1, 4'000'000'000u, 1)[0].msg_id(), 250u);
  EXPECT_EQ(world.page(bob, 1, 7, 100).size(), 7u);
  EXPECT_TRUE(world.page(bob, 1, 0, 0).empty());
  EXPECT_TRUE(world.page(eve, 1).empty()) << "hers with alice, not bob's";
  EXPECT_TRUE(world.page(alice, 1).empty());
  EXPECT_TRUE(world.page(alice, 0).empty());
  EXPECT_TRUE(world.page(alice, 4'000'000'000u).empty());
  EXPECT_EQ(world.history(alice, 2).size(), 250u);

  // Requests of one connection are answered in the order sent.
  const size_t before = bob.frames.size();
  for (uint16_t i = 0; i < 20; ++i) {
    bob.write(page_frame(i % 2 ? 1 : 3, 0, 100, i));
    bob.write(raw_frame(0x0305, static_cast<uint16_t>(1000 + i), ""));
  }
  world.settle();
  ASSERT_EQ(bob.frames.size(), before + 40);
  for (uint16_t i = 0; i < 40; ++i)
    EXPECT_EQ(bob.frames[before + i].header.sequence, i % 2 ? 1000 + i / 2 : i / 2);
}

TEST_P(Chat, BigSoundsFitThroughAndPagesStayBelowTheAndroidLimit) {
  World world(unpaced());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  std::string sound(256 * kKiB, 's');
  for (uint16_t i = 1; i <= 5; ++i) {
    sound[10] = static_cast<char>(i);
    alice.write(chat_frame(2, sound, i, {}, 2));
    world.settle();  // two in one turn would pass the limit of what may wait
  }
  alice.write(
      chat_frame(2, std::string(256 * kKiB + 1, 'x'), 6, {}, 2));  // one byte too long: silence
  alice.write(chat_frame(2, "four", 7, {}, 2));                    // no sound in it
  alice.write(chat_frame(2, "after", 8));
  world.settle();
  EXPECT_EQ(alice.acks().size(), 6u);
  const auto got = bob.deliveries();
  ASSERT_EQ(got.size(), 6u);
  EXPECT_EQ(got[4].text, sound);
  EXPECT_EQ(got[5].text, "after");
  const auto page = world.page(bob, 1);
  EXPECT_EQ(page.size(), 2u) << "'after' and one sound; the next would pass 380 KiB";
  EXPECT_EQ(world.history(bob, 1).size(), 6u);
}

TEST_P(Chat, WhatMayNotBeSentIsSilentlyRefused) {
  World world(unpaced());
  Client& alice = world.enter(1);
  world.enter(2);
  const std::string wide = [] {
    std::string s;
    for (int i = 0; i < 4096; ++i) s += "語";
    return s;
  }();
  const auto chat = [&](uint32_t to, std::string_view text, uint16_t seq, uint32_t type = 1) {
    return chat_frame(to, text, seq, {}, type);
  };
  alice.write(chat(1, "self", 1) + chat(0, "nobody", 2) + chat(99, "unknown", 3) +
              chat(4'000'000'000u, "beyond", 4) + chat(2, "", 5) + chat(2, "\xff\xfe", 6) +
              chat(2, std::string(4097, 'x'), 7) + chat(2, wide + "x", 8) +
              chat(2, "group", 9, 0x11) + chat(2, "\xed\xa0\x80", 10));
  alice.write(chat_frame(2, "empty id", 11, "") +
              chat_frame(2, "long id", 12, std::string(65, 'i')) +
              chat_frame(2, "bad id", 13, "\xff"));
  alice.write(chat(2, std::string(4096, 'x'), 20) + chat(2, wide, 21) +
              chat_frame(2, "good id", 22, std::string(64, 'i')) +
              chat(2, std::string(3, '\0'), 23));
  world.settle();
  const auto acks = alice.acks();
  EXPECT_EQ(acks, (std::map<uint16_t, uint32_t>{{20, 1}, {21, 2}, {22, 3}, {23, 4}}));
  EXPECT_TRUE(alice.is_open());
  EXPECT_EQ(world.metric(Counter::sends_refused_rule), 13u);
}

// --- repeats -----------------------------------------------------------------------------------------

TEST_P(Chat, RepeatsGetTheFirstId) {
  World world(options());
  Client& alice = world.enter(1);
  Client& phone = world.enter(1, kPhone);
  Client& bob   = world.enter(2);
  alice.write(chat_frame(2, "hello", 50));
  world.settle();
  alice.write(chat_frame(2, "hello", 50));
  phone.write(chat_frame(2, "hello", 50));  // any of his connections
  world.settle();
  EXPECT_EQ(bob.deliveries().size(), 1u);
  EXPECT_EQ(alice.count(CommandId::msg_data_ack), 2u);
  EXPECT_EQ(phone.acks(), (std::map<uint16_t, uint32_t>{{50, 1}}));
  // Anything else different is a new message.
  alice.write(chat_frame(2, "hello", 51) + chat_frame(2, "hello!", 50) +
              chat_frame(3, "hello", 50));
  world.settle();
  EXPECT_EQ(bob.deliveries().size(), 3u);
  EXPECT_EQ(world.head(1, 3).newest, 1u);

  world.advance_s(62);
  world.enter(1, kAndroid).write(chat_frame(2, "hello", 50));
  world.settle();
  EXPECT_EQ(bob.deliveries().size(), 4u) << "after a minute it is a new message";
}

TEST_P(Chat, RepeatsInFlightJoin) {
  World world(options());
  Client& alice = world.enter(1);
  Client& phone = world.enter(1, kPhone);
  Client& bob   = world.enter(2);
  alice.write(chat_frame(2, "first", 1));
  world.settle();
  for (uint32_t i = 0; i < world.shards(); ++i) world.seat(i).ring->hold(engine::FakeOp::sync);
  alice.write(chat_frame(2, "again", 10) + chat_frame(2, "again", 11) + chat_frame(2, "again", 10));
  phone.write(chat_frame(2, "again", 10) + chat_frame(2, "again", 99));
  world.settle();
  EXPECT_EQ(alice.acks().size(), 1u);
  EXPECT_EQ(phone.acks().size(), 0u);
  for (uint32_t i = 0; i < world.shards(); ++i) world.seat(i).ring->release(engine::FakeOp::sync);
  world.settle();
  EXPECT_EQ(alice.acks(), (std::map<uint16_t, uint32_t>{{1, 1}, {10, 2}, {11, 2}}));
  // The phone's 10 is the same send; its 99 is another connection's other number: new.
  EXPECT_EQ(phone.acks(), (std::map<uint16_t, uint32_t>{{10, 2}, {99, 3}}));
  EXPECT_EQ(bob.deliveries().size(), 3u);
}

TEST_P(Chat, ClientMsgIdHoldsForADayAndForOneContent) {
  World world(options());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  alice.write(chat_frame(2, "once", 1, "id-1") + chat_frame(2, "once", 2, "id-1"));
  world.settle();
  EXPECT_EQ(alice.acks(), (std::map<uint16_t, uint32_t>{{1, 1}, {2, 1}}));
  alice.write(chat_frame(2, "other", 3, "id-1") + chat_frame(3, "once", 4, "id-1"));
  world.settle();
  EXPECT_EQ(alice.acks().size(), 2u) << "the same id for something else is refused";
  alice.write(chat_frame(2, "once", 5, "id-2") + chat_frame(2, "once", 6));
  world.settle();
  EXPECT_EQ(alice.acks().at(5), 2u);
  EXPECT_EQ(alice.acks().at(6), 3u);
  EXPECT_EQ(bob.deliveries().size(), 3u);
  EXPECT_EQ(world.head(1, 3).newest, 0u);
}

TEST_P(Chat, RepeatsAreKnownAfterAPowerCut) {
  World world(options());
  Client& alice = world.enter(1);
  Client& carol = world.enter(3);
  alice.write(chat_frame(2, "precious", 7) + chat_frame(2, "marked", 8, "id-8"));
  carol.write(chat_frame(2, "late", 9));
  world.settle();
  ASSERT_EQ(alice.acks().size(), 2u);
  world.crash();
  EXPECT_FALSE(alice.is_open());
  world.clock.advance(5 * kNsPerS);
  world.boot();

  Client& back = world.enter(1);
  Client& bob  = world.enter(2);
  back.write(chat_frame(2, "precious", 7) + chat_frame(2, "marked", 1, "id-8") +
             chat_frame(2, "changed", 2, "id-8") + chat_frame(2, "new", 3));
  world.settle();
  EXPECT_EQ(back.acks(), (std::map<uint16_t, uint32_t>{{7, 1}, {1, 2}, {3, 3}}));
  EXPECT_EQ(bob.deliveries().size(), 1u);
  world.advance_s(70);
  Client& later = world.enter(1);
  later.write(chat_frame(2, "precious", 7) + chat_frame(2, "marked", 4, "id-8"));
  world.settle();
  EXPECT_EQ(later.acks().at(4), 2u) << "a day";
  EXPECT_EQ(world.head(1, 2).newest, 4u) << "a minute";
}

// Every acknowledged message survives, ids stay dense, at a power cut in the middle of everything.
TEST_P(Chat, PowerCutsLoseNothingAcknowledged) {
  const uint64_t seed = 11;
  Options o           = unpaced();
  o.seed              = seed;
  o.faults.delay      = 300;
  World world(o);
  std::map<std::pair<uint32_t, uint32_t>, std::map<uint32_t, std::string>> acknowledged;
  uint32_t number = 0;
  for (int life = 0; life < 6; ++life) {
    std::vector<Client*> in;
    for (uint32_t u = 1; u <= 8; ++u) in.push_back(&world.enter(u));
    std::map<std::pair<Client*, uint16_t>, std::pair<uint32_t, std::string>> sent;
    for (int i = 0; i < 300; ++i) {
      const auto from = static_cast<uint32_t>(world.random.below(8));
      const auto to   = static_cast<uint32_t>((from + 1 + world.random.below(7)) % 8);
      const auto text = "n" + std::to_string(++number);
      in[from]->write(chat_frame(to + 1, text, static_cast<uint16_t>(i)));
      sent[{in[from], static_cast<uint16_t>(i)}] = {to + 1, text};
      if (world.random.below(4) == 0) world.step();
    }
    for (uint64_t n = world.random.below(30); n > 0; --n) world.step();
    world.crash();
    for (Client* client : in)
      for (const auto& [sequence, id] : client->acks()) {
        const auto& [to, text] = sent.at({client, sequence});
        const auto pair        = std::minmax(client->user, to);
        EXPECT_TRUE(acknowledged[pair].emplace(id, text).second) << "one id twice";
      }
    world.boot();
    for (const auto& [pair, messages] : acknowledged) {
      Client& reader    = world.enter(pair.first);
      const auto stored = world.history(reader, pair.second);
      ASSERT_GE(stored.size(), messages.rbegin()->first) << "acknowledged and gone";
      for (size_t i = 0; i < stored.size(); ++i) ASSERT_EQ(stored[i].msg_id(), stored.size() - i);
      for (const auto& [id, text] : messages)
        ASSERT_EQ(stored[stored.size() - id].msg_data(), text);
    }
  }
  size_t total = 0;
  for (const auto& [pair, messages] : acknowledged) total += messages.size();
  EXPECT_GT(total, 300u) << "the cuts came too early to prove anything";
}

// --- pace, slow readers ------------------------------------------------------------------------------

TEST_P(Chat, TwentyAtOnceThenTwentyASecondAndNothingIsLost) {
  World world(options());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  for (uint16_t i = 1; i <= 100; ++i) alice.write(chat_frame(2, "m" + std::to_string(i), i));
  world.settle();
  EXPECT_EQ(alice.acks().size(), 20u);
  for (int second = 1; second <= 4; ++second) {
    world.advance_s(1);
    EXPECT_NEAR(static_cast<double>(alice.acks().size()), 20.0 + 20 * second, 1.0);
  }
  world.advance_s(1);
  ASSERT_EQ(bob.deliveries().size(), 100u);
  for (size_t i = 0; i < 100; ++i) EXPECT_EQ(bob.deliveries()[i].text, "m" + std::to_string(i + 1));

  // Per user, over all connections, and reconnecting buys nothing.
  world.advance_s(10);
  Client& phone = world.enter(1, kPhone);
  for (uint16_t i = 1; i <= 30; ++i) {
    alice.write(chat_frame(3, "a" + std::to_string(i), i));
    phone.write(chat_frame(4, "p" + std::to_string(i), i));
  }
  world.settle();
  EXPECT_EQ(world.head(1, 3).newest + world.head(1, 4).newest, 20u);
  Client& again = world.enter(1, kAndroid);  // kicks the phone
  again.write(chat_frame(5, "burst?", 1));
  world.settle();
  EXPECT_TRUE(again.acks().empty());
  // Other users are not slowed.
  bob.write(chat_frame(3, "quick", 1));
  world.settle();
  EXPECT_EQ(bob.acks().size(), 1u);
}

TEST_P(Chat, RequestsWaitAtTheirRate) {
  World world(options());
  Client& alice = world.enter(1);
  for (uint16_t i = 0; i < 400; ++i) alice.write(heartbeat_frame(i));
  world.settle();
  EXPECT_NEAR(static_cast<double>(alice.count(CommandId::heartbeat)), 200.0, 1.0);
  world.advance_s(2);
  EXPECT_NEAR(static_cast<double>(alice.count(CommandId::heartbeat)), 300.0, 2.0);
  world.advance_s(3);
  EXPECT_EQ(alice.count(CommandId::heartbeat), 400u);
}

TEST_P(Chat, ASlowReaderIsClosedAndItsNeighbourIsNot) {
  World world(unpaced());
  Client& alice = world.enter(1);
  Client& slow  = world.enter(2, kWindows, {}, /*window=*/2048);
  Client& phone = world.enter(2, kPhone);
  Client& bob   = world.enter(3);
  slow.reads    = false;
  const std::string text(1000, 't');
  uint16_t sequence = 1;
  for (; sequence <= 250; ++sequence) {
    alice.write(chat_frame(2, text, sequence) +
                chat_frame(3, text, static_cast<uint16_t>(1000 + sequence)));
    world.settle();
  }
  EXPECT_TRUE(slow.is_open()) << "250 KB are not 256 KiB";
  for (; sequence <= 275; ++sequence) {
    alice.write(chat_frame(2, text, sequence));
    world.advance(2 * kNsPerMs, kNsPerMs);
  }
  EXPECT_FALSE(slow.is_open());
  EXPECT_EQ(world.metric(Counter::close_slow_reader), 1u);
  EXPECT_EQ(alice.acks().size(), 525u);
  EXPECT_EQ(phone.deliveries().size(), 275u);
  EXPECT_EQ(bob.deliveries().size(), 250u);
  // What it missed is in the history.
  Client& back = world.enter(2);
  EXPECT_EQ(world.history(back, 1).size(), 275u);
}

// The clock stands: a burst of pushes that nobody had time to read is not the reader's fault, however
// many turns it takes; there is a bound all the same.
TEST_P(Chat, ABurstIsNotSlownessUpToABound) {
  World world(unpaced());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2, kWindows, {}, /*window=*/2048);
  bob.reads     = false;
  const std::string text(4000, 't');
  uint16_t sequence = 1;
  for (; sequence <= 250; ++sequence) {
    alice.write(chat_frame(2, text, sequence));
    world.settle();
  }
  EXPECT_TRUE(bob.is_open()) << "1 MB in no time";
  for (; sequence <= 270; ++sequence) {
    alice.write(chat_frame(2, text, sequence));
    world.settle();
  }
  EXPECT_FALSE(bob.is_open()) << "4 times 256 KiB";
  EXPECT_EQ(alice.acks().size(), 270u);
}

TEST_P(Chat, AReaderWithoutProgressIsClosedAfterFifteenSeconds) {
  World world(unpaced());
  Client& alice = world.enter(1);
  Client& slow  = world.enter(2, kWindows, {}, 1024);
  slow.reads    = false;
  for (uint16_t i = 1; i <= 10; ++i) alice.write(chat_frame(2, std::string(500, 'a' + i), i));
  world.settle();
  world.advance_s(14);
  EXPECT_TRUE(slow.is_open());
  world.advance_s(2);
  EXPECT_FALSE(slow.is_open());
  EXPECT_EQ(world.metric(Counter::close_send_stall), 1u);
}

// Answers to own requests never count as pushes; but they must not raise the limit for ever either.
TEST_P(Chat, AnswersDoNotRaiseThePushLimit) {
  World world(unpaced());
  Client& alice = world.enter(1);
  for (uint16_t i = 1; i <= 100; ++i)
    alice.write(chat_frame(2, std::string(3000, 'h') + std::to_string(i), i));
  world.settle();
  Client& slow = world.enter(2, kWindows, {}, /*window=*/1024);
  for (uint16_t i = 0; i < 40; ++i) slow.write(page_frame(1, 0, 100, i));
  // Reads steadily, never all: the queue does not become empty while the answers are made.
  slow.reads = false;
  for (int i = 0; i < 60'000 && slow.count(CommandId::get_msg_list_response) < 39; ++i) {
    slow.reads = true;
    world.step();
    slow.reads = false;
    world.step();
  }
  ASSERT_GE(slow.count(CommandId::get_msg_list_response), 39u);
  uint32_t pushed = 0;
  for (uint16_t i = 1; i <= 1000 && slow.is_open(); ++i) {
    alice.write(chat_frame(2, std::string(4000, 'p'), i));
    world.advance(kNsPerMs, kNsPerMs);
    pushed += 4000;
  }
  EXPECT_FALSE(slow.is_open());
  EXPECT_LT(pushed, 256 * kKiB + 400 * kKiB);
}

// --- storage withheld --------------------------------------------------------------------------------

TEST_P(Chat, NoAcknowledgementBeforeTheWriteIsDurable) {
  World world(options());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  alice.write(chat_frame(2, "opens", 1));
  world.settle();
  ASSERT_EQ(alice.acks().size(), 1u);
  for (uint32_t i = 0; i < world.shards(); ++i) world.seat(i).ring->hold(engine::FakeOp::sync);
  alice.write(chat_frame(2, "withheld", 2));
  world.settle();
  alice.write(chat_frame(2, "behind it", 3));
  world.advance_s(3);
  EXPECT_EQ(alice.acks().size(), 1u);
  EXPECT_EQ(bob.deliveries().size(), 1u);
  world.advance_s(
      2);  // "behind it" passed its four seconds without its write having begun: refused
  EXPECT_EQ(world.metric(Counter::sends_refused_store), 1u);
  EXPECT_TRUE(alice.is_open());
  for (uint32_t i = 0; i < world.shards(); ++i) world.seat(i).ring->release(engine::FakeOp::sync);
  world.settle();
  // The write that had begun is awaited; the refused one is never stored.
  EXPECT_EQ(alice.acks(), (std::map<uint16_t, uint32_t>{{1, 1}, {2, 2}}));
  EXPECT_EQ(bob.deliveries().size(), 2u);
  EXPECT_EQ(world.history(bob, 1).size(), 2u);
  // Its retry is a new try, not a repeat.
  alice.write(chat_frame(2, "behind it", 3));
  world.settle();
  EXPECT_EQ(alice.acks().at(3), 3u);
}

// A full batch: who finds no room waits, untried, and everything is stored once, in order.
TEST_P(Chat, SendsWithoutRoomWaitAndAreAllStored) {
  constexpr uint32_t kPairs = 40, kSends = 256;
  Options o                    = options();
  o.users                      = 2 * kPairs;
  o.limits.sends_per_second    = 0;
  o.limits.requests_per_second = 0;
  World world(o);
  std::vector<Client*> senders, receivers;
  for (uint32_t i = 1; i <= kPairs; ++i) senders.push_back(&world.enter(i));
  for (uint32_t i = 1; i <= kPairs; ++i) receivers.push_back(&world.enter(kPairs + i));
  for (uint32_t i = 0; i < kPairs; ++i) senders[i]->write(chat_frame(kPairs + i + 1, "opens", 1));
  world.settle();
  for (uint32_t i = 0; i < world.shards(); ++i) world.seat(i).ring->hold(engine::FakeOp::sync);
  const uint64_t before = world.metric(Counter::frames_in);
  for (uint32_t i = 0; i < kPairs; ++i)
    for (uint16_t n = 2; n <= kSends; ++n)
      senders[i]->write(chat_frame(kPairs + i + 1, std::string(500, 'x') + std::to_string(n), n));
  world.settle();
  world.advance_s(1);
  size_t waiting = 0;
  for (uint32_t i = 0; i < world.shards(); ++i)
    waiting += world.seat(i).shard->context().unstored.size();
  if (world.shards() == 1) {
    EXPECT_GT(waiting, kPairs / 2u);
    // The receivers' confirmations are not in it: nothing was delivered yet.
    size_t taken = 0;
    for (Client* client : senders) taken += client->acks().size();
    EXPECT_LE(world.metric(Counter::frames_in) - before,
              world.seat(0).store->figures().waiting + 8 * kPairs + taken)
        << "frames that wait are not tried again and again";
  }
  for (uint32_t i = 0; i < world.shards(); ++i) world.seat(i).ring->release(engine::FakeOp::sync);
  world.settle();
  for (uint32_t i = 0; i < kPairs; ++i) {
    const auto acks = senders[i]->acks();
    ASSERT_EQ(acks.size(), kSends);
    for (const auto& [sequence, id] : acks) EXPECT_EQ(id, sequence) << "in the order sent";
    EXPECT_EQ(receivers[i]->deliveries().size(), kSends);
  }
}

TEST_P(Chat, AConversationWhoseRowDoesNotComeIsRefusedInTime) {
  World world(options());
  Client& alice           = world.enter(1);
  Client& bob             = world.enter(2);
  world.run_store_workers = false;  // SQLite hangs
  alice.write(chat_frame(2, "one", 1) + chat_frame(2, "two", 2));
  world.advance_s(3);
  EXPECT_TRUE(alice.acks().empty());
  EXPECT_EQ(world.metric(Counter::sends_refused_store), 0u);
  world.advance_s(2);
  EXPECT_EQ(world.metric(Counter::sends_refused_store), 2u);
  alice.write(chat_frame(2, "three", 3));
  world.settle();
  world.run_store_workers = true;
  world.settle();
  EXPECT_EQ(alice.acks(), (std::map<uint16_t, uint32_t>{{3, 1}})) << "the refused never come back";
  EXPECT_EQ(bob.deliveries().size(), 1u);
}

TEST_P(Chat, AFullDiskRefusesAndResumes) {
  World world(unpaced());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  alice.write(chat_frame(2, "fits", 1));
  world.settle();
  world.log_disk.set_space(world.log_disk.space_used());
  // More than the prepared segments hold.
  for (uint16_t i = 2; i <= 1200; ++i) {
    alice.write(chat_frame(2, std::string(16'000, 'f') + std::to_string(i), i));
    if (i % 50 == 0) world.advance(200 * kNsPerMs);
  }
  world.advance_s(6);
  const size_t stored = world.head(1, 2).newest;
  EXPECT_LT(stored, 1200u);
  EXPECT_EQ(alice.acks().size(), stored);
  EXPECT_TRUE(alice.is_open());
  const size_t delivered = bob.deliveries().size();
  EXPECT_EQ(delivered, stored);
  world.log_disk.set_space(~uint64_t{0});
  world.advance_s(3);
  alice.write(chat_frame(2, "room again", 2000));
  world.advance_s(1);
  EXPECT_EQ(alice.acks().count(2000), 1u);
  EXPECT_EQ(world.history(bob, 1).size(), alice.acks().size());
}

// --- lanes -------------------------------------------------------------------------------------------

// Each shard in turn works alone until its lanes are full and it refuses admission, while nobody
// drains them. Then all run: everything arrives, once, in order.
TEST_P(Chat, LanesFullInBothDirectionsLoseNothing) {
  constexpr uint32_t kUsers = 200, kEach = 220;
  World world(unpaced(kUsers));
  std::vector<Client*> in;
  for (uint32_t u = 1; u <= kUsers; ++u) in.push_back(&world.enter(u, kWindows, {}, 1 << 20));
  // Conversations exist before the flood, so that it goes straight to the log.
  for (uint32_t u = 0; u < kUsers; ++u)
    for (uint32_t k = 1; k <= 4; ++k)
      in[u]->write(chat_frame((u + k * 11) % kUsers + 1, "open", static_cast<uint16_t>(k)));
  world.settle();
  std::map<std::pair<uint32_t, uint32_t>, std::vector<std::string>> sent;  // (from, to)
  uint32_t total = 0;
  for (uint32_t u = 0; u < kUsers; ++u) {
    std::string burst;
    for (uint32_t i = 0; i < kEach; ++i) {
      const uint32_t away = (1 + i % 4) * 11;
      const uint32_t to   = (u + (i % 8 < 4 ? away : kUsers - away)) % kUsers + 1;
      const auto text     = std::to_string(u + 1) + ":" + std::to_string(i);
      burst += chat_frame(to, text, static_cast<uint16_t>(100 + i));
      sent[{u + 1, to}].push_back(text);
      ++total;
    }
    in[u]->write(burst);
  }
  for (int round = 0; round < 4; ++round)
    for (uint32_t alone = 0; alone < world.shards(); ++alone) {
      for (uint32_t i = 0; i < world.shards(); ++i) world.seat(i).frozen = i != alone;
      for (int i = 0; i < 200; ++i) world.step();
    }
  if (world.shards() > 1) {
    EXPECT_GT(world.metric(Counter::lane_full), 0u) << "no lane was ever full";
  }
  for (uint32_t i = 0; i < world.shards(); ++i) world.seat(i).frozen = false;
  world.settle();
  uint32_t acks = 0;
  for (Client* client : in) acks += static_cast<uint32_t>(client->acks().size());
  EXPECT_EQ(acks, total + kUsers * 4);
  std::map<std::pair<uint32_t, uint32_t>, std::vector<std::string>> got;
  for (Client* client : in) {
    std::map<uint32_t, uint32_t> newest;
    for (const Delivery& d : client->deliveries()) {
      EXPECT_GT(d.msg_id, newest[d.from]);
      newest[d.from] = d.msg_id;
      if (d.text != "open") got[{d.from, d.to}].push_back(d.text);
    }
  }
  EXPECT_EQ(got, sent);
}

// --- hand-over ---------------------------------------------------------------------------------------

TEST_P(Chat, FramesRightBehindTheLoginArriveInOrder) {
  World world(unpaced(32));
  Client& bob = world.enter(2);
  size_t want = 0;
  for (uint32_t u = 3; u <= 20; ++u) {
    for (uint32_t door = 0; door < world.shards(); ++door) {
      SCOPED_TRACE("user " + std::to_string(u) + " at door " + std::to_string(door));
      Client& client    = world.connect(door);
      client.user       = u;
      std::string burst = world.login_of(u);
      for (uint16_t i = 0; i < 60; ++i)
        burst += chat_frame(2, std::to_string(door) + "/" + std::to_string(i),
                            static_cast<uint16_t>(door * 100 + i + 10));
      client.write(burst);
      world.settle();
      ASSERT_EQ(world.result_of_login(client), 0);
      EXPECT_EQ(client.frames[0].id(), CommandId::login_response) << "first of all";
      ASSERT_EQ(client.acks().size(), 60u);
      uint32_t id = door * 60;
      for (const auto& [sequence, msg_id] : client.acks()) EXPECT_EQ(msg_id, ++id);
      want += 60;
      ASSERT_EQ(bob.deliveries().size(), want);
      EXPECT_EQ(bob.deliveries().back().text, std::to_string(door) + "/59");
    }
  }
  if (world.shards() > 1) {
    EXPECT_GT(world.metric(Counter::handovers), 10u);
  }
}

TEST_P(Chat, LoginAndMessageByteByByteAndAtEverySplit) {
  World world(unpaced(16));
  Client& bob = world.enter(2);
  const std::string bytes =
      world.login_of(5) + chat_frame(2, "split", 3) + heartbeat_frame(4) + chat_frame(2, "two", 5);
  size_t want = 0;
  for (size_t split = 0; split <= bytes.size(); split += split < 32 ? 1 : 7) {
    SCOPED_TRACE(split);
    Client& client = world.connect(static_cast<uint32_t>(split));
    client.write(bytes.substr(0, split));
    for (uint64_t n = world.random.below(12); n > 0; --n) world.step();
    client.write(bytes.substr(split));
    world.settle();
    ASSERT_EQ(world.result_of_login(client), 0);
    EXPECT_EQ(client.acks().size(), 2u);
    EXPECT_EQ(client.count(CommandId::heartbeat), 1u);
    want = 2;  // later ones are repeats of the first within the minute
    ASSERT_EQ(bob.deliveries().size(), want);
  }
  for (uint32_t door = 0; door < world.shards(); ++door) {
    Client& client = world.connect(door);
    for (const char c : bytes) {
      client.write(std::string_view(&c, 1));
      world.step();
    }
    world.settle();
    ASSERT_EQ(world.result_of_login(client), 0);
    EXPECT_EQ(client.acks().size(), 2u);
  }
}

TEST_P(Chat, AFullTargetSaysServerFull) {
  if (GetParam() == 1) GTEST_SKIP() << "nobody moves";
  Options o = options(16);
  o.slots   = 24;
  World world(o);
  uint32_t user = 1;
  while (world.home(user) != 1) ++user;
  std::vector<Client*> fillers;
  for (int i = 0; i < 24; ++i) {
    fillers.push_back(&world.connect(1));
    world.settle();
  }
  EXPECT_LT(world.seat(1).ring->slots_used(), 24u) << "accepting pauses before the table is full";
  // Hand-overs take the rest.
  std::vector<Client*> moved;
  for (int i = 0; i < 6; ++i) {
    moved.push_back(&world.connect(0));
    moved.back()->write(world.login_of(user, kWindows));
    world.settle();
  }
  size_t full = 0;
  for (Client* client : moved) {
    const int result = world.result_of_login(*client);
    if (result == 0) continue;
    ++full;
    EXPECT_EQ(result, 2);
    EXPECT_EQ(login_answer(*client).result_string(), kFull);
    EXPECT_EQ(client->socket.end(), End::finished);
  }
  EXPECT_GE(full, 3u);
  EXPECT_EQ(world.metric(Counter::handovers_refused), full);
  // Room again: service again. None that was waiting at the door was turned away.
  for (Client* filler : fillers) {
    EXPECT_NE(filler->socket.end(), End::reset);
    filler->socket.close();
  }
  world.settle();
  world.enter(user, kPhone, 0);
}

TEST_P(Chat, ManyMovesWhileTheTargetRefusesAtRandom) {
  Options o            = unpaced(24);
  o.faults.pass_enfile = 400;
  o.faults.delay       = 200;
  World world(o);
  size_t in = 0;
  for (int i = 0; i < 200; ++i) {
    const auto user = static_cast<uint32_t>(1 + world.random.below(24));
    Client& client  = world.connect(static_cast<uint32_t>(i));
    client.write(world.login_of(user) + heartbeat_frame(9));
    if (world.random.below(4) == 0) {
      for (uint64_t n = world.random.below(10); n > 0; --n) world.step();
      if (world.random.below(2)) {
        client.socket.reset();
      } else {
        client.socket.finish();
      }
    }
    world.settle();
    const int result = world.result_of_login(client);
    if (result == 0) ++in;
    if (result == 0 && client.is_open()) {
      EXPECT_EQ(client.count(CommandId::heartbeat), 1u);
    }
  }
  EXPECT_GT(in, 50u);
}

// --- garbage -----------------------------------------------------------------------------------------

std::string with_last_byte(std::string bytes, char last) {
  bytes.back() = last;
  return bytes;
}
std::string wrong_length(uint32_t length) { return raw_frame(0x0103, 1, "", length); }

TEST_P(Chat, AStrangersGarbageClosesWithoutAnAnswer) {
  World world(options());
  const std::string login                                      = world.login_of(1);
  const std::vector<std::pair<const char*, std::string>> cases = {
      {"length 0", wrong_length(0)},
      {"length 15", wrong_length(15)},
      {"length 4097", wrong_length(4097)},
      {"length 2^31", wrong_length(1u << 31)},
      {"length 2^32-1", wrong_length(~0u)},
      {"empty login", raw_frame(0x0103, 1, "")},
      {"cut login", raw_frame(0x0103, 1, login.substr(16, login.size() - 17))},
      {"message", chat_frame(2, "x", 1)},
      {"history", page_frame(2, 0, 1, 1)},
      {"logout", raw_frame(0x0105, 1, "")},
      {"unknown", raw_frame(0x7777, 1, "")},
      {"zero", raw_frame(0, 1, "")},
      {"ffff", raw_frame(0xffff, 1, "")},
      {"server's", raw_frame(0x0104, 1, "")},
      {"internal", raw_frame(0x0703, 1, "")},
      {"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
      {"TLS",
       std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(40, 'r')},
      {"SSH", "SSH-2.0-OpenSSH_9.2\r\n"},
      {"zeros", std::string(64, '\0')},
      {"address query with garbage", raw_frame(0x0101, 1, "\xff\xff\xff")},
      {"long heartbeat", raw_frame(0x0701, 1, std::string(49, 'h'))},
      {"client type out of enum", with_last_byte(login_frame("u1", "x"), 0x55)},
  };
  for (const auto& [what, bytes] : cases) {
    SCOPED_TRACE(what);
    Client& whole  = world.connect(1);
    Client& pieces = world.connect(2);
    Client& behind = world.connect(3);
    whole.write(bytes);
    behind.write(heartbeat_frame(3) + bytes);
    for (const char c : bytes) {
      if (!pieces.is_open()) break;
      pieces.write(std::string_view(&c, 1));
      world.step();
    }
    world.settle();
    EXPECT_FALSE(whole.is_open());
    EXPECT_FALSE(pieces.is_open());
    EXPECT_FALSE(behind.is_open());
    EXPECT_TRUE(whole.frames.empty());
    EXPECT_TRUE(pieces.frames.empty());
  }
  world.advance_s(3);
  EXPECT_EQ(world.connections(), 0u);
}

TEST_P(Chat, AStrangerIsBoundedInFramesBytesAndTime) {
  World world(options());
  Client& beats = world.connect(0);
  for (uint16_t i = 0; i < 8; ++i) beats.write(heartbeat_frame(i));
  world.settle();
  EXPECT_EQ(beats.count(CommandId::heartbeat), 8u);
  EXPECT_TRUE(beats.is_open());
  beats.write(heartbeat_frame(9));
  world.settle();
  EXPECT_FALSE(beats.is_open());

  Client& address = world.connect(1);
  address.write(raw_frame(0x0101, 44, ""));
  world.settle();
  ASSERT_EQ(address.count(CommandId::msg_serv_response), 1u);
  EXPECT_EQ(address.frames[0].header.sequence, 44);
  EXPECT_EQ(address.socket.end(), End::finished);

  Client& silent = world.connect(0);
  Client& slow   = world.connect(1);
  Client& half   = world.connect(2);
  half.write(world.login_of(1).substr(0, 20));
  for (int s = 0; s < 14; ++s) {
    slow.write(std::string(1, world.login_of(1)[static_cast<size_t>(s)]));
    world.advance_s(1);
  }
  EXPECT_TRUE(silent.is_open());
  EXPECT_TRUE(slow.is_open());
  world.advance_s(2);
  EXPECT_FALSE(silent.is_open());
  EXPECT_FALSE(slow.is_open());
  EXPECT_FALSE(half.is_open());
  EXPECT_EQ(world.connections(), 0u);
}

TEST_P(Chat, GarbageAfterTheLogin) {
  World world(unpaced());
  Client& bob       = world.enter(2);
  const auto fresh  = [&]() -> Client& { return world.enter(1); };
  const auto closes = [&](const std::string& bytes) {
    Client& client = fresh();
    client.write(bytes);
    world.settle();
    return !client.is_open();
  };
  for (const uint32_t length : {0u, 1u, 15u, 64u * 1024 + 1, 0x7fffffffu, 0x80000000u, 0xffffffffu})
    EXPECT_TRUE(closes(raw_frame(0x0309, 1, "", length))) << length;
  EXPECT_TRUE(closes(raw_frame(0x0301, 1, "", 257 * 1024 + 1)));
  EXPECT_FALSE(closes(raw_frame(0x0301, 1, "", 257 * 1024))) << "waits for the rest";
  EXPECT_TRUE(closes(raw_frame(0x0702, 1, "")));
  EXPECT_TRUE(closes(raw_frame(0x07ff, 1, "")));
  EXPECT_TRUE(closes(raw_frame(0x0801, 1, "")));
  EXPECT_TRUE(closes("GET / HTTP/1.1\r\n\r\n"));

  // Ignored, however often; then it still works.
  Client& client = fresh();
  std::string ignored;
  for (int i = 0; i < 50; ++i)
    ignored += raw_frame(0x7777, 1, "abc") + raw_frame(0x0104, 1, "") + raw_frame(0xffff, 1, "x") +
               raw_frame(0, 1, "");
  client.write(ignored + chat_frame(2, "alive", 7));
  world.settle();
  EXPECT_EQ(client.acks().count(7), 1u);

  // The tenth that does not parse closes; nine do not.
  std::string bad_type                        = chat_frame(2, "bad type", 1);
  bad_type[bad_type.find("\x28\x01\x32") + 1] = 0x55;
  const std::vector<std::string> unparsable   = {
      raw_frame(0x0301, 1, ""),
      raw_frame(0x0301, 1, "\xff"),
      raw_frame(0x0302, 1, "\x08"),
      raw_frame(0x0303, 1, std::string(20, '\xff')),
      raw_frame(0x0309, 1, ""),
      raw_frame(0x0305, 1, "\x07"),
      raw_frame(0x0105, 1, "\xff\xff"),
      raw_frame(0x0701, 1, std::string(49, 'h')),
      bad_type,
  };
  Client& nine = fresh();
  for (const auto& bytes : unparsable) nine.write(bytes);
  nine.write(chat_frame(2, "nine are borne", 8));
  world.settle();
  EXPECT_TRUE(nine.is_open());
  EXPECT_EQ(nine.acks().count(8), 1u);
  nine.write(unparsable[0] + chat_frame(2, "never", 9));
  world.settle();
  EXPECT_FALSE(nine.is_open());
  EXPECT_EQ(nine.acks().count(9), 0u);

  // Confirmations of what never was, for whomever: ignored.
  Client& acks = fresh();
  for (uint32_t id : {0u, 1u, 77u, 0xffffffffu})
    for (const CommandId command : {CommandId::msg_data_ack, CommandId::msg_data_read_ack}) {
      IM::Message::IMMsgDataAck ack;
      ack.set_user_id(id);
      ack.set_session_id(99);
      ack.set_msg_id(id);
      ack.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
      acks.write(frame(command, 1, ack));
    }
  acks.write(chat_frame(2, "still here", 10));
  world.settle();
  EXPECT_EQ(acks.acks().count(10), 1u);
  EXPECT_TRUE(bob.is_open());
}

TEST_P(Chat, RandomBytesNeverHurtTheOthers) {
  World world(unpaced());
  Client& alice     = world.enter(1);
  Client& bob       = world.enter(2);
  uint16_t sequence = 1;
  for (int i = 0; i < 300; ++i) {
    Client& mad        = world.connect(static_cast<uint32_t>(i));
    const bool insider = world.random.below(2) == 0;
    if (insider) {
      mad.write(world.login_of(3 + static_cast<uint32_t>(world.random.below(4))));
      world.settle();
    }
    std::string bytes =
        insider ? chat_frame(2, "seed of evil", 9) + page_frame(2, 0, 5, 9) : world.login_of(7);
    for (uint64_t flips = 1 + world.random.below(4); flips > 0; --flips)
      bytes[world.random.below(bytes.size())] ^= static_cast<char>(1u << world.random.below(8));
    bytes.resize(world.random.below(bytes.size() + 1));
    mad.write(bytes);
    world.settle();
    if (world.random.below(2))
      mad.socket.reset();
    else
      mad.socket.close();
    alice.write(chat_frame(2, "steady", sequence++));
    world.settle();
  }
  EXPECT_EQ(alice.acks().size(), 300u);
  size_t steady = 0;
  for (const Delivery& d : bob.deliveries()) steady += d.from == 1;
  EXPECT_EQ(steady, 300u);
}

TEST_P(Chat, AnUnfinishedFrameHasItsTime) {
  World world(options());
  Client& client         = world.enter(1);
  const std::string chat = chat_frame(2, std::string(2000, 'x'), 1);
  client.write(chat.substr(0, 1000));
  world.advance_s(14);
  EXPECT_TRUE(client.is_open());
  client.write(chat.substr(1000));
  world.settle();
  EXPECT_EQ(client.acks().size(), 1u);
  client.write(chat.substr(0, 1000));
  world.advance_s(17);
  EXPECT_FALSE(client.is_open());
}

TEST_P(Chat, IdleLimitsByClass) {
  World world(options());
  Client& pc    = world.enter(1, kWindows);
  Client& phone = world.enter(1, kPhone);
  Client& alive = world.enter(2, kWindows);
  for (int s = 0; s < 119; s += 7) {
    world.advance(7 * kNsPerS, kNsPerS);
    alive.write(heartbeat_frame());
  }
  EXPECT_TRUE(pc.is_open());
  world.advance(3 * kNsPerS, kNsPerS);
  EXPECT_FALSE(pc.is_open());
  EXPECT_TRUE(phone.is_open());
  EXPECT_TRUE(alive.is_open());
  world.advance(100 * kNsPerS, kNsPerS);
  alive.write(heartbeat_frame());
  world.advance(90 * kNsPerS, kNsPerS);
  EXPECT_FALSE(phone.is_open());
  EXPECT_TRUE(alive.is_open());
}

// --- ends --------------------------------------------------------------------------------------------

TEST_P(Chat, HalfCloseBehindRequestsStillGetsTheirAnswers) {
  World world(unpaced());
  Client& bob = world.enter(2);
  for (uint32_t u = 3; u <= 6; ++u) {
    Client& client = world.enter(u);
    for (uint16_t i = 0; i < 30; ++i)
      client.write(chat_frame(2, "last words " + std::to_string(i), i));
    client.write(page_frame(2, 0, 10, 77) + heartbeat_frame(78));
    client.socket.finish();
    world.settle();
    EXPECT_EQ(client.acks().size(), 30u);
    EXPECT_EQ(client.count(CommandId::get_msg_list_response), 1u);
    EXPECT_EQ(client.count(CommandId::heartbeat), 1u);
    EXPECT_EQ(client.socket.end(), End::finished);
  }
  EXPECT_EQ(bob.deliveries().size(), 120u);
}

TEST_P(Chat, ADrainDecidesEverySendAndClosesEveryone) {
  World world(unpaced());
  std::vector<Client*> in;
  for (uint32_t u = 1; u <= 8; ++u) in.push_back(&world.enter(u));
  world.connect(0);  // a stranger
  for (uint16_t i = 0; i < 100; ++i)
    for (uint32_t u = 0; u < 8; ++u)
      in[u]->write(chat_frame((u + 3) % 8 + 1, std::to_string(i), i));
  world.step();
  world.step();
  ASSERT_TRUE(world.stop());
  for (Client* client : in) {
    client->poll();
    EXPECT_EQ(client->socket.end(), End::finished) << "no reset: what was acknowledged is heard";
  }
  std::map<uint32_t, uint32_t> acked;  // by author: all go to one peer
  for (uint32_t u = 0; u < 8; ++u) acked[u + 1] = static_cast<uint32_t>(in[u]->acks().size());
  world.boot();
  Client& reader    = world.enter(1);
  const auto stored = world.history(reader, 4);
  size_t mine       = 0;
  for (const auto& message : stored) mine += message.from_session_id() == 1;
  EXPECT_EQ(mine, acked[1]) << "acknowledged is stored, and refused is not";
}

// --- faults ------------------------------------------------------------------------------------------

struct Outcome {
  uint64_t trace = 0;
  uint64_t acks  = 0;
};

// Everything the kernel may do, at once: nothing acknowledged is lost, doubled or out of order.
Outcome faulty_run(uint32_t shards, uint64_t seed, uint32_t messages) {
  Options o;
  o.shards                     = shards;
  o.seed                       = seed;
  o.limits.sends_per_second    = 0;
  o.limits.requests_per_second = 0;
  o.buffers                    = 16;
  o.buffer_bytes               = 512;
  o.faults                     = {.short_count         = 300,
                                  .lose_more           = 200,
                                  .cancelled           = 20,
                                  .no_buffers          = 100,
                                  .delay               = 150,
                                  .reorder             = true,
                                  .file_latency_ns_max = 3 * kNsPerMs};
  World world(o);
  std::vector<Client*> pc, phone;
  for (uint32_t u = 1; u <= 8; ++u) {
    pc.push_back(&world.enter(u, kWindows, u * 5));
    phone.push_back(&world.enter(u, kPhone, u * 3));
  }
  struct Sent {
    uint32_t from, to;
    std::string text;
  };
  std::map<std::pair<Client*, uint16_t>, Sent> sent;
  for (uint32_t i = 0; i < messages; ++i) {
    const auto from = static_cast<uint32_t>(world.random.below(8));
    const auto to   = static_cast<uint32_t>((from + 1 + world.random.below(7)) % 8);
    Client* by      = world.random.below(2) ? pc[from] : phone[from];
    std::string text(1 + world.random.below(world.random.below(20) == 0 ? 4000 : 100), 'm');
    text += std::to_string(i);
    by->write(chat_frame(to + 1, text, static_cast<uint16_t>(i)));
    sent[{by, static_cast<uint16_t>(i)}] = {from + 1, to + 1, text};
    Client* sleepy                       = world.random.below(2) ? pc[to] : phone[to];
    sleepy->reads                        = world.random.below(3) != 0;
    if (world.random.below(3) == 0) world.step();
    if (world.random.below(10) == 0) world.clock.advance(kNsPerMs);
  }
  for (Client& client : world.clients) client.reads = true;
  world.settle();

  Outcome run{.trace = world.trace};
  std::map<std::pair<uint32_t, uint32_t>, std::map<uint32_t, std::string>> truth;
  for (const auto& [key, s] : sent) {
    const auto acks = key.first->acks();
    const auto at   = acks.find(key.second);
    EXPECT_NE(at, acks.end()) << "never decided: " << key.second;
    if (at == acks.end()) continue;
    ++run.acks;
    EXPECT_TRUE(truth[std::minmax(s.from, s.to)].emplace(at->second, s.text).second);
  }
  for (const auto& [pair, ids] : truth)
    EXPECT_EQ(ids.rbegin()->first, ids.size()) << "ids are dense";
  for (uint32_t u = 1; u <= 8; ++u) {
    uint32_t sum = 0;
    for (const auto* device : {pc[u - 1], phone[u - 1]}) {
      std::map<std::pair<uint32_t, uint32_t>, uint32_t> newest;
      for (const Delivery& d : device->deliveries()) {
        const auto pair = std::minmax(d.from, d.to);
        EXPECT_GT(d.msg_id, newest[pair]) << "twice, or out of order";
        newest[pair] = d.msg_id;
        EXPECT_EQ(d.text, truth[pair][d.msg_id]);
        ++sum;
      }
    }
    // Received by both devices; one's own by the other device.
    uint32_t want = 0;
    for (const auto& [key, s] : sent) want += s.to == u ? 2 : s.from == u ? 1 : 0;
    EXPECT_EQ(sum, want);
  }
  return run;
}

uint64_t first_seed() {
  const char* given = std::getenv("RINGTALK_SEED");
  return given ? std::strtoull(given, nullptr, 10) : 1;
}

TEST_P(Chat, FaultsOfTheKernelLoseNothing) {
  for (uint64_t seed = first_seed(); seed < first_seed() + 4; ++seed) {
    SCOPED_TRACE("RINGTALK_SEED=" + std::to_string(seed));
    const Outcome run = faulty_run(GetParam(), seed, 1500);
    EXPECT_EQ(run.acks, 1500u);
  }
}

TEST_P(Chat, ASeedReplaysExactly) {
  const Outcome one = faulty_run(GetParam(), 42, 400);
  const Outcome two = faulty_run(GetParam(), 42, 400);
  EXPECT_EQ(one.trace, two.trace);
  EXPECT_NE(one.trace, faulty_run(GetParam(), 43, 400).trace);
}

// Connections die at random while others talk: nobody else notices, nothing leaks.
TEST_P(Chat, ResetsAreLocal) {
  Options o      = unpaced(16);
  o.seed         = first_seed();
  o.faults.reset = 4;
  o.faults.delay = 100;
  World world(o);
  std::map<uint32_t, Client*> in;
  uint16_t sequence = 0;
  uint64_t acks     = 0;
  for (int round = 0; round < 2000; ++round) {
    const auto user = static_cast<uint32_t>(1 + world.random.below(16));
    Client*& client = in[user];
    if (!client || !client->is_open()) {
      if (client) acks += client->acks().size();
      client       = &world.connect(static_cast<uint32_t>(world.random.below(4)));
      client->user = user;
      client->write(world.login_of(user));
    }
    const auto to = static_cast<uint32_t>(1 + (user + world.random.below(15)) % 16);
    if (to != user) client->write(chat_frame(to, std::to_string(round), ++sequence));
    if (world.random.below(3) == 0) world.step();
  }
  world.settle();
  for (auto& [user, client] : in) acks += client->acks().size();
  uint64_t stored = 0;
  for (uint32_t a = 1; a <= 16; ++a)
    for (uint32_t b = a + 1; b <= 16; ++b) stored += world.head(a, b).newest;
  EXPECT_GE(stored, acks);
  EXPECT_GT(acks, 100u);
  for (uint32_t i = 0; i < world.shards(); ++i) world.seat(i).ring->faults() = {};
}

}  // namespace
}  // namespace ringtalk::sim
