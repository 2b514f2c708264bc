// What has been read, what has not, and what can be read again: 0x0303…0x030e through the whole
// server at 1, 2 and 4 shards.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "proto/file.pb.h"
#include "tests/shard/harness.h"

namespace ringtalk::sim {
namespace {

constexpr auto kSingle       = IM::BaseDefine::SESSION_TYPE_SINGLE;
constexpr auto kGroup        = IM::BaseDefine::SESSION_TYPE_GROUP;
constexpr uint32_t kNobody[] = {0, 99, 134'217'728, 4'294'967'295};  // and whoever asks

std::string read_frame(uint32_t peer, uint32_t msg_id, uint32_t claimed = 0,
                       IM::BaseDefine::SessionType type = kSingle) {
  IM::Message::IMMsgDataReadAck ack;
  ack.set_user_id(claimed);
  ack.set_session_id(peer);
  ack.set_msg_id(msg_id);
  ack.set_session_type(type);
  return frame(CommandId::msg_data_read_ack, 0, ack);
}

std::string unread_frame(uint16_t sequence, uint32_t claimed = 0) {
  IM::Message::IMUnreadMsgCntReq request;
  request.set_user_id(claimed);
  return frame(CommandId::unread_msg_cnt_request, sequence, request);
}

std::string latest_frame(uint32_t peer, uint16_t sequence, uint32_t claimed = 0,
                         IM::BaseDefine::SessionType type = kSingle) {
  IM::Message::IMGetLatestMsgIdReq request;
  request.set_user_id(claimed);
  request.set_session_type(type);
  request.set_session_id(peer);
  return frame(CommandId::get_latest_msg_id_request, sequence, request);
}

std::string ids_frame(uint32_t peer, const std::vector<uint32_t>& ids, uint16_t sequence,
                      uint32_t claimed = 0, IM::BaseDefine::SessionType type = kSingle) {
  IM::Message::IMGetMsgByIdReq request;
  request.set_user_id(claimed);
  request.set_session_type(type);
  request.set_session_id(peer);
  for (const uint32_t id : ids) request.add_msg_id_list(id);
  return frame(CommandId::get_msg_by_id_request, sequence, request);
}

std::vector<uint32_t> countdown(uint32_t from, uint32_t count) {
  std::vector<uint32_t> ids;
  for (uint32_t i = 0; i < count; ++i) ids.push_back(from - i);
  return ids;
}

class Read : public testing::TestWithParam<uint32_t> {
 protected:
  Options options(uint32_t users = 8) {
    Options o                    = {.shards = GetParam(), .users = users};
    o.limits.sends_per_second    = 0;
    o.limits.requests_per_second = 0;
    return o;
  }

  template <class M>
  static M asked(World& world, Client& client, const std::string& request, CommandId response) {
    const size_t before = client.count(response);
    client.write(request);
    world.settle();
    const auto answers = client.all(response);
    EXPECT_EQ(answers.size(), before + 1);
    if (answers.size() <= before) return {};
    EXPECT_EQ(answers.back()->header.sequence, 0xfe03);
    EXPECT_LE(answers.back()->body.size() + proto::kHeaderBytes, 400 * kKiB);
    const M message = answers.back()->as<M>();
    EXPECT_EQ(message.user_id(), client.user) << "the connection's user, whatever the body claims";
    return message;
  }
  static IM::Message::IMUnreadMsgCntRsp unread(World& world, Client& client, uint32_t claimed = 0) {
    return asked<IM::Message::IMUnreadMsgCntRsp>(world, client, unread_frame(0xfe03, claimed),
                                                 CommandId::unread_msg_cnt_response);
  }
  // Counts by peer; checks that the total is their sum.
  static std::map<uint32_t, uint32_t> counts(World& world, Client& client) {
    std::map<uint32_t, uint32_t> found;
    uint32_t sum      = 0;
    const auto answer = unread(world, client);
    for (const auto& info : answer.unreadinfo_list()) {
      EXPECT_GT(info.unread_cnt(), 0u);
      EXPECT_EQ(info.session_type(), kSingle);
      EXPECT_TRUE(found.emplace(info.session_id(), info.unread_cnt()).second);
      sum += info.unread_cnt();
    }
    EXPECT_EQ(answer.total_cnt(), sum);
    return found;
  }
  static uint32_t latest(World& world, Client& client, uint32_t peer, uint32_t claimed = 0) {
    const auto answer = asked<IM::Message::IMGetLatestMsgIdRsp>(
        world, client, latest_frame(peer, 0xfe03, claimed), CommandId::get_latest_msg_id_response);
    EXPECT_EQ(answer.session_id(), peer);
    EXPECT_EQ(answer.session_type(), kSingle);
    return answer.latest_msg_id();
  }
  static std::vector<IM::BaseDefine::MsgInfo> by_ids(World& world, Client& client, uint32_t peer,
                                                     const std::vector<uint32_t>& ids) {
    const auto answer = asked<IM::Message::IMGetMsgByIdRsp>(
        world, client, ids_frame(peer, ids, 0xfe03), CommandId::get_msg_by_id_response);
    EXPECT_EQ(answer.session_id(), peer);
    EXPECT_EQ(answer.session_type(), kSingle);
    return {answer.msg_list().begin(), answer.msg_list().end()};
  }
  static std::vector<uint32_t> ids_of(const std::vector<IM::BaseDefine::MsgInfo>& messages) {
    std::vector<uint32_t> ids;
    for (const auto& message : messages) ids.push_back(message.msg_id());
    return ids;
  }
  struct Notice {
    uint32_t peer, msg_id;
    friend bool operator==(const Notice&, const Notice&) = default;
  };
  static std::vector<Notice> notices(const Client& client) {
    std::vector<Notice> found;
    for (const Frame* f : client.all(CommandId::msg_data_read_notify)) {
      EXPECT_EQ(f->header.sequence, 0);
      EXPECT_EQ(f->header.service, 3);
      const auto notify = f->as<IM::Message::IMMsgDataReadNotify>();
      EXPECT_EQ(notify.user_id(), client.user);
      EXPECT_EQ(notify.session_type(), kSingle);
      found.push_back({notify.session_id(), notify.msg_id()});
    }
    return found;
  }
  static void say(World& world, Client& from, uint32_t to, uint32_t count,
                  std::string_view text = "m") {
    static uint16_t sequence = 0;
    for (uint32_t i = 1; i <= count; ++i)
      from.write(chat_frame(to, std::string(text) + std::to_string(i), ++sequence));
    world.settle();
  }
  static uint32_t position(World& world, uint32_t user, uint32_t peer) {
    return world.seat(world.home(user))
        .store->cursor(UserId(user), ConversationId::single(UserId(user), UserId(peer)));
  }
};
INSTANTIATE_TEST_SUITE_P(Shards, Read, testing::Values(1, 2, 4));

// --- counts --------------------------------------------------------------------------------------------

TEST_P(Read, CountsWhatOthersWroteWhileAway) {
  World world(options());
  Client& alice = world.enter(1);
  Client& carol = world.enter(3);
  say(world, alice, 2, 3);
  world.advance_s(2);
  say(world, carol, 2, 1, "c");
  Client& bob       = world.enter(2);
  const auto answer = unread(world, bob);
  EXPECT_EQ(answer.total_cnt(), 4u);
  ASSERT_EQ(answer.unreadinfo_list_size(), 2);
  const auto& newer = answer.unreadinfo_list(0);
  EXPECT_EQ(newer.session_id(), 3u) << "newest first";
  EXPECT_EQ(newer.unread_cnt(), 1u);
  EXPECT_EQ(newer.latest_msg_id(), 1u);
  EXPECT_EQ(newer.latest_msg_data(), "c1");
  const auto& older = answer.unreadinfo_list(1);
  EXPECT_EQ(older.session_id(), 1u);
  EXPECT_EQ(older.session_type(), kSingle);
  EXPECT_EQ(older.unread_cnt(), 3u);
  EXPECT_EQ(older.latest_msg_id(), 3u);
  EXPECT_EQ(older.latest_msg_data(), "m3");
  EXPECT_EQ(older.latest_msg_type(), IM::BaseDefine::MSG_TYPE_SINGLE_TEXT);
  EXPECT_EQ(older.latest_msg_from_user_id(), 1u);
  // Who wrote has nothing unread; being delivered is not being read.
  EXPECT_TRUE(counts(world, alice).empty());
  EXPECT_TRUE(counts(world, carol).empty());
  say(world, alice, 2, 2);
  EXPECT_EQ(counts(world, bob), (std::map<uint32_t, uint32_t>{{1, 5}, {3, 1}}));

  // Writing oneself is not reading; the newest message may be one's own.
  say(world, bob, 1, 2, "reply");
  const auto after = unread(world, bob);
  EXPECT_EQ(after.total_cnt(), 6u);
  EXPECT_EQ(after.unreadinfo_list(0).latest_msg_data(), "reply2");
  EXPECT_EQ(after.unreadinfo_list(0).latest_msg_id(), 7u);
  EXPECT_EQ(after.unreadinfo_list(0).latest_msg_from_user_id(), 2u);
  EXPECT_EQ(after.unreadinfo_list(0).unread_cnt(), 5u);
  EXPECT_EQ(counts(world, alice), (std::map<uint32_t, uint32_t>{{2, 2}}));
}

TEST_P(Read, SoundsAndPicturesGoThroughUnchanged) {
  World world(options());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  std::string sound("\0\0\0\x07", 4);
  for (int i = 0; i < 40'000; ++i) sound.push_back(static_cast<char>(i * 7));
  const std::string picture = "before &$#@~^@[{:http://127.0.0.1/g0/000/1_200x300.png:}]&$~@#@ 后";
  alice.write(chat_frame(2, picture, 1));
  alice.write(chat_frame(2, std::string("\0\0\0\0", 4), 2, {}, 2));   // a duration and no sound
  alice.write(chat_frame(2, std::string("\0\0\0\0x", 5), 3, {}, 2));  // the least there is
  alice.write(chat_frame(2, sound, 4, {}, 2));
  world.settle();
  EXPECT_EQ(alice.acks(), (std::map<uint16_t, uint32_t>{{1, 1}, {3, 2}, {4, 3}}));
  const auto got = bob.deliveries();
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(got[0].text, picture);
  EXPECT_EQ(got[2].text, sound);
  for (const auto& messages : {world.page(bob, 1), by_ids(world, bob, 1, {1, 2, 3})}) {
    ASSERT_EQ(messages.size(), 3u);
    EXPECT_EQ(messages[0].msg_data(), sound);
    EXPECT_EQ(messages[0].msg_type(), IM::BaseDefine::MSG_TYPE_SINGLE_AUDIO);
    EXPECT_EQ(messages[1].msg_data(), std::string("\0\0\0\0x", 5));
    EXPECT_EQ(messages[2].msg_data(), picture);
    EXPECT_EQ(messages[2].from_session_id(), 1u);
  }
  const auto list = unread(world, bob);
  ASSERT_EQ(list.unreadinfo_list_size(), 1);
  EXPECT_EQ(list.unreadinfo_list(0).latest_msg_data(), "QhGXlpFjvMFUNrtl1aaPzA==");
  EXPECT_EQ(list.unreadinfo_list(0).latest_msg_type(), IM::BaseDefine::MSG_TYPE_SINGLE_AUDIO);
  EXPECT_EQ(list.unreadinfo_list(0).unread_cnt(), 3u);
}

// 60 people with texts of 16 KiB: 23 entries fit, the newest; the others come when those are read.
TEST_P(Read, TheNewestEntriesThatFitAreListedAndSummed) {
  World world(options(64));
  std::string wide;
  for (int i = 0; i < 4096; ++i) wide += "𝄞";
  for (uint32_t user = 2; user <= 61; ++user) {
    Client& client = world.enter(user);
    client.write(chat_frame(1, wide, static_cast<uint16_t>(user)));
    world.settle();
    world.advance_s(1);
  }
  Client& alice = world.enter(1);
  std::set<uint32_t> seen;
  uint32_t next = 61;
  for (int round = 0; round < 4 && seen.size() < 60; ++round) {
    const auto answer = unread(world, alice);
    EXPECT_EQ(answer.total_cnt(), static_cast<uint32_t>(answer.unreadinfo_list_size()));
    EXPECT_LE(answer.unreadinfo_list_size(), 23);
    EXPECT_GE(answer.unreadinfo_list_size(), round < 2 ? 23 : 14);
    for (const auto& info : answer.unreadinfo_list()) {
      EXPECT_EQ(info.session_id(), next--);
      EXPECT_EQ(info.latest_msg_data(), wide);
      EXPECT_TRUE(seen.insert(info.session_id()).second);
      alice.write(read_frame(info.session_id(), info.latest_msg_id()));
    }
    world.settle();
  }
  EXPECT_EQ(seen.size(), 60u);
  EXPECT_EQ(unread(world, alice).unreadinfo_list_size(), 0);
}

// --- reading -------------------------------------------------------------------------------------------

TEST_P(Read, TheNewestIdClearsAndTellsTheOtherDevice) {
  World world(options());
  Client& alice = world.enter(1);
  Client& pc    = world.enter(2, kWindows, 0);
  Client& phone = world.enter(2, kPhone, 1);
  say(world, alice, 2, 5);
  pc.write(read_frame(1, 5, /*claimed=*/1));
  world.settle();
  EXPECT_TRUE(counts(world, pc).empty());
  EXPECT_TRUE(counts(world, phone).empty());
  EXPECT_EQ(notices(phone), (std::vector<Notice>{{1, 5}}));
  EXPECT_TRUE(notices(pc).empty());
  EXPECT_EQ(alice.count(CommandId::msg_data_read_notify), 0u) << "the author is not told";
  EXPECT_EQ(world.metric(Counter::read_positions_moved), 1u);
  EXPECT_EQ(world.metric(Counter::delivery_acks), 1u);
}

TEST_P(Read, PartsBackwardsBeyondAndZero) {
  World world(options());
  Client& alice = world.enter(1);
  Client& pc    = world.enter(2, kWindows);
  Client& phone = world.enter(2, kPhone);
  say(world, alice, 2, 5);
  pc.write(read_frame(1, 3));
  world.settle();
  EXPECT_EQ(counts(world, pc), (std::map<uint32_t, uint32_t>{{1, 2}}));
  pc.write(read_frame(1, 2) + read_frame(1, 3));  // never backwards, and nothing to tell
  world.settle();
  EXPECT_EQ(counts(world, pc), (std::map<uint32_t, uint32_t>{{1, 2}}));
  EXPECT_EQ(notices(phone), (std::vector<Notice>{{1, 3}}));
  phone.write(read_frame(1, 0));  // 0 is everything
  world.settle();
  EXPECT_TRUE(counts(world, pc).empty());
  EXPECT_EQ(notices(pc), (std::vector<Notice>{{1, 5}}));
  pc.write(read_frame(1, 0) + read_frame(1, 4'294'967'295));
  world.settle();
  EXPECT_EQ(notices(phone).size(), 1u);
  EXPECT_EQ(position(world, 2, 1), 5u);

  say(world, alice, 2, 2);
  pc.write(read_frame(1, 4'294'967'295));  // beyond: the newest, so that what comes later counts
  world.settle();
  EXPECT_EQ(notices(phone).back(), (Notice{1, 7}));
  say(world, alice, 2, 1);
  EXPECT_EQ(counts(world, phone), (std::map<uint32_t, uint32_t>{{1, 1}}));
  // Reading is for oneself only.
  EXPECT_TRUE(counts(world, alice).empty());
  EXPECT_EQ(position(world, 1, 2), 0u);
}

// iOS answers every 0x0304 with a 0x0303.
TEST_P(Read, TwoDevicesThatEchoComeToRest) {
  World world(options());
  Client& alice = world.enter(1);
  Client& pc    = world.enter(2, kMac, 0);
  Client& phone = world.enter(2, kPhone, 3);
  std::map<Client*, size_t> echoed;
  const auto play = [&] {
    for (int round = 0; round < 20; ++round) {
      for (Client* client : {&pc, &phone}) {
        const auto all = notices(*client);
        for (size_t i = echoed[client]; i < all.size(); ++i)
          client->write(read_frame(all[i].peer, all[i].msg_id));
        echoed[client] = all.size();
      }
      world.settle();
    }
  };
  say(world, alice, 2, 9);
  pc.write(read_frame(1, 9));
  phone.write(read_frame(1, 9));  // both look at once
  play();
  EXPECT_LE(notices(pc).size(), 1u);
  EXPECT_LE(notices(phone).size(), 1u);
  EXPECT_EQ(notices(pc).size() + notices(phone).size(), 1u);
  say(world, alice, 2, 3);
  phone.write(read_frame(1, 0));
  play();
  EXPECT_EQ(notices(pc).size() + notices(phone).size(), 2u);
  EXPECT_EQ(world.metric(Counter::read_positions_moved), 2u);
}

TEST_P(Read, WhatIsAskedBehindAMarkKnowsOfIt) {
  World world(options());
  Client& alice = world.enter(1);
  for (uint32_t user = 2; user <= 8; ++user) {
    Client& client = world.enter(user);
    say(world, alice, user, 3);
    // In one write; the session may not even be there any more when the mark is set.
    client.write(read_frame(1, 2) + unread_frame(7) + read_frame(1, 0) + unread_frame(8) +
                 heartbeat_frame(9));
    world.settle();
    const auto answers = client.all(CommandId::unread_msg_cnt_response);
    ASSERT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers[0]->header.sequence, 7);
    EXPECT_EQ(answers[0]->as<IM::Message::IMUnreadMsgCntRsp>().total_cnt(), 1u);
    EXPECT_EQ(answers[1]->as<IM::Message::IMUnreadMsgCntRsp>().total_cnt(), 0u);
    EXPECT_EQ(client.frames.back().id(), CommandId::heartbeat);

    say(world, alice, user, 2);
    client.write(read_frame(1, 5) + raw_frame(0x0105, 1, ""));
    world.settle();
    EXPECT_FALSE(client.is_open());
    EXPECT_EQ(position(world, user, 1), 5u);
  }
}

TEST_P(Read, AMarkOutlivesItsConnectionAndADrain) {
  World world(options());
  Client& alice = world.enter(1);
  std::vector<Client*> in;
  for (uint32_t user = 2; user <= 8; ++user) in.push_back(&world.enter(user));
  for (uint32_t user = 2; user <= 8; ++user) say(world, alice, user, 4);
  for (Client* client : in) {
    client->write(read_frame(1, 4));
    client->socket.reset();
  }
  world.settle();
  // Read just before the process is told to stop.
  std::vector<Client*> again;
  for (uint32_t user = 2; user <= 8; ++user) again.push_back(&world.enter(user));
  say(world, alice, 8, 1);
  again.back()->write(read_frame(1, 0));
  world.step();
  ASSERT_TRUE(world.stop());
  world.boot();
  for (uint32_t user = 2; user <= 8; ++user) {
    const uint32_t at = position(world, user, 1);
    // A connection that was cut may have lost what it wrote; what was taken is remembered.
    EXPECT_TRUE(at == 0 || at == 4 || at == 5) << at;
  }
  EXPECT_EQ(position(world, 8, 1), 5u);
}

TEST_P(Read, CountsAreTheSameAfterAStopAndAfterAPowerCut) {
  World world(options());
  uint16_t sequence = 1000;
  std::map<uint32_t, std::map<uint32_t, uint32_t>> before;
  const auto look = [&] {
    std::map<uint32_t, std::map<uint32_t, uint32_t>> all;
    for (uint32_t user = 1; user <= 8; ++user) all[user] = counts(world, world.enter(user));
    return all;
  };
  for (int life = 0; life < 4; ++life) {
    std::vector<Client*> in{nullptr};
    for (uint32_t user = 1; user <= 8; ++user) in.push_back(&world.enter(user));
    for (int i = 0; i < 100; ++i) {
      const auto a = static_cast<uint32_t>(1 + world.random.below(8));
      const auto b = static_cast<uint32_t>(1 + (a + world.random.below(7)) % 8);
      if (a == b) continue;
      in[a]->write(chat_frame(b, "x", ++sequence));
      if (i % 3 == 0) in[b]->write(read_frame(a, static_cast<uint32_t>(world.random.below(12))));
      world.settle();
    }
    before = look();
    world.advance(1100 * kNsPerMs);  // positions are durable within a second
    if (life % 2 == 0) {
      ASSERT_TRUE(world.stop());
    } else {
      world.crash();
    }
    world.boot();
    ASSERT_EQ(look(), before);
  }
}

// Against a model that counts one by one: everybody writes, reads parts, and asks, all at once.
TEST_P(Read, CountsFollowAModel) {
  World world(options());
  struct Pair {
    std::vector<uint32_t> authors;          // by id - 1
    std::map<uint32_t, uint32_t> position;  // by user
  };
  std::map<std::pair<uint32_t, uint32_t>, Pair> model;
  std::vector<Client*> in{nullptr};
  for (uint32_t user = 1; user <= 8; ++user) in.push_back(&world.enter(user, kWindows, user * 5));
  uint16_t sequence = 0;
  for (int i = 0; i < 600; ++i) {
    const auto a = static_cast<uint32_t>(1 + world.random.below(8));
    const auto b = static_cast<uint32_t>(1 + (a + world.random.below(7)) % 8);
    if (a == b) continue;
    Pair& pair        = model[std::minmax(a, b)];
    const auto newest = static_cast<uint32_t>(pair.authors.size());
    switch (world.random.below(4)) {
      case 0:
      case 1:
        in[a]->write(chat_frame(b, "x", ++sequence));
        pair.authors.push_back(a);
        break;
      case 2: {
        const auto to = static_cast<uint32_t>(world.random.below(newest + 3));
        in[a]->write(read_frame(b, to));
        const uint32_t want = to == 0 ? newest : std::min(to, newest);
        pair.position[a]    = std::max(pair.position[a], want);
        break;
      }
      default: {
        std::map<uint32_t, uint32_t> expected;
        for (auto& [users, talk] : model) {
          if (users.first != a && users.second != a) continue;
          uint32_t count = 0;
          for (size_t id = talk.position[a]; id < talk.authors.size(); ++id)
            count += talk.authors[id] != a;
          if (count > 0) expected[users.first == a ? users.second : users.first] = count;
        }
        ASSERT_EQ(counts(world, *in[a]), expected) << "user " << a << " at step " << i;
      }
    }
    world.settle();
  }
}

// --- ids -----------------------------------------------------------------------------------------------

TEST_P(Read, LatestIdAndMessagesByTheirIds) {
  World world(options());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  Client& eve   = world.enter(3);
  EXPECT_EQ(latest(world, bob, 1), 0u);
  EXPECT_TRUE(by_ids(world, bob, 1, {1, 2}).empty());
  say(world, alice, 2, 250);
  EXPECT_EQ(latest(world, bob, 1), 250u);
  EXPECT_EQ(latest(world, alice, 2, /*claimed=*/3), 250u);
  EXPECT_EQ(latest(world, eve, 1, /*claimed=*/2), 0u) << "hers with alice";

  const auto some = by_ids(world, bob, 1, {3, 1, 999});
  EXPECT_EQ(ids_of(some), (std::vector<uint32_t>{3, 1}));
  EXPECT_EQ(some[0].msg_data(), "m3");
  EXPECT_EQ(some[0].from_session_id(), 1u);
  EXPECT_GT(some[0].create_time(), 0u);
  EXPECT_TRUE(by_ids(world, bob, 1, {}).empty());
  EXPECT_TRUE(by_ids(world, bob, 1, {0, 251, 4'294'967'295}).empty());
  EXPECT_EQ(ids_of(by_ids(world, bob, 1, {7, 7, 250, 0, 249, 7, 1, 2, 250})),
            (std::vector<uint32_t>{250, 249, 7, 2, 1}));
  EXPECT_EQ(ids_of(by_ids(world, bob, 1, countdown(250, 100))), countdown(250, 100));
  EXPECT_EQ(ids_of(by_ids(world, bob, 1, countdown(250, 200))), countdown(250, 100)) << "capped";
  std::vector<uint32_t> sparse;
  for (uint32_t id = 249; id >= 3; id -= 3) sparse.push_back(id);
  EXPECT_EQ(ids_of(by_ids(world, bob, 1, sparse)), sparse);
  std::ranges::reverse(sparse);
  const auto upwards = by_ids(world, bob, 1, sparse);
  ASSERT_EQ(upwards.size(), sparse.size());
  for (const auto& message : upwards)
    EXPECT_EQ(message.msg_data(), "m" + std::to_string(message.msg_id()));
  // Repeats do not use up the hundred.
  std::vector<uint32_t> repeated(500, 17);
  repeated.push_back(18);
  EXPECT_EQ(ids_of(by_ids(world, bob, 1, repeated)), (std::vector<uint32_t>{18, 17}));
  EXPECT_TRUE(by_ids(world, eve, 1, {1, 2, 3}).empty());
}

TEST_P(Read, OtherPeoplesConversationsLookLikeNone) {
  World world(options());
  Client& alice = world.enter(1);
  world.enter(2);
  Client& eve = world.enter(3);
  say(world, alice, 2, 3);
  std::vector<uint32_t> nobody(std::begin(kNobody), std::end(kNobody));
  nobody.insert(nobody.end(), {3, 2, 1});
  for (const uint32_t peer : nobody) {
    SCOPED_TRACE(peer);
    EXPECT_EQ(latest(world, eve, peer, /*claimed=*/peer == 2 ? 1 : 2), 0u);
    EXPECT_TRUE(by_ids(world, eve, peer, {1, 2, 3}).empty());
    EXPECT_TRUE(world.page(eve, peer).empty());
    eve.write(read_frame(peer, 0, /*claimed=*/1) + read_frame(peer, 2, 1) +
              read_frame(peer, 4'294'967'295, 2));
    world.settle();
    EXPECT_TRUE(counts(world, eve).empty());
  }
  // A group, existing or not: the same, and the answer names it as asked.
  for (const uint32_t group : {0u, 1u, 2u, 4'294'967'295u}) {
    const auto none = asked<IM::Message::IMGetLatestMsgIdRsp>(
        world, eve, latest_frame(group, 0xfe03, 1, kGroup), CommandId::get_latest_msg_id_response);
    EXPECT_EQ(none.session_type(), kGroup);
    EXPECT_EQ(none.session_id(), group);
    EXPECT_EQ(none.latest_msg_id(), 0u);
    const auto empty = asked<IM::Message::IMGetMsgByIdRsp>(
        world, eve, ids_frame(group, {1, 2}, 0xfe03, 1, kGroup), CommandId::get_msg_by_id_response);
    EXPECT_EQ(empty.session_type(), kGroup);
    EXPECT_EQ(empty.session_id(), group);
    EXPECT_EQ(empty.msg_list_size(), 0);
    eve.write(read_frame(group, 1, 1, kGroup));
  }
  world.settle();
  EXPECT_EQ(world.metric(Counter::read_positions_moved), 0u);
  for (uint32_t user = 1; user <= 3; ++user)
    for (uint32_t peer = 1; peer <= 3; ++peer)
      EXPECT_EQ(user == peer ? 0 : position(world, user, peer), 0u);
  EXPECT_EQ(unread(world, eve, /*claimed=*/2).total_cnt(), 0u) << "not bob's";
  EXPECT_TRUE(eve.is_open());
  EXPECT_EQ(world.metric(Counter::frames_unparsable), 0u);
}

TEST_P(Read, AbsurdListsAndBrokenBodies) {
  World world(options());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  say(world, alice, 2, 20);
  std::vector<uint32_t> many;  // as many as a frame holds
  for (uint32_t i = 0; i < 21'000; ++i) many.push_back(i % 100);
  EXPECT_EQ(ids_of(by_ids(world, bob, 1, many)), countdown(20, 20));
  EXPECT_EQ(ids_of(by_ids(world, bob, 1, std::vector<uint32_t>(21'000, 5))),
            (std::vector<uint32_t>{5}));
  EXPECT_TRUE(by_ids(world, bob, 1, std::vector<uint32_t>(21'000, 0)).empty());

  // An unknown kind of conversation does not parse.
  const uint16_t commands[] = {0x0303, 0x0307, 0x030b, 0x030d, 0x0509};
  const auto broken         = [](uint16_t command) {
    return raw_frame(command, 1,
                     command == 0x0307 || command == 0x0509
                                 ? std::string_view("\x08", 1)
                                 : std::string_view("\x08\x01\x10\x03\x18\x03\x20\x03", 8));
  };
  uint32_t unparsable = 0;
  for (const uint16_t command : commands) {
    bob.write(broken(command));
    world.settle();
    EXPECT_EQ(world.metric(Counter::frames_unparsable), ++unparsable) << command;
  }
  EXPECT_TRUE(bob.is_open());
  EXPECT_EQ(latest(world, bob, 1), 20u) << "it goes on";
  for (int i = 0; i < 5; ++i) bob.write(broken(commands[i]));
  world.settle();
  EXPECT_FALSE(bob.is_open()) << "the tenth";

  // A hundred thousand ids are more than a frame.
  std::vector<uint32_t> hundred_thousand(100'000);
  for (uint32_t i = 0; i < 100'000; ++i) hundred_thousand[i] = i;
  Client& flood = world.enter(3);
  flood.write(ids_frame(1, hundred_thousand, 1));
  world.settle();
  EXPECT_FALSE(flood.is_open());
  for (const uint16_t command : commands) {
    Client& stranger = world.connect(0);
    stranger.write(raw_frame(command, 1, "\x08\x01"));
    world.settle();
    EXPECT_FALSE(stranger.is_open()) << "before the login: " << command;
    EXPECT_TRUE(stranger.frames.empty());
  }
}

TEST_P(Read, AHundredSoundsComeInAnswersThatPhonesTake) {
  World world(options());
  Client& alice    = world.enter(1);
  Client& bob      = world.enter(2);
  const auto sound = [](uint32_t id) {
    std::string bytes(30 * kKiB, static_cast<char>(id));
    bytes.replace(0, 4, std::string("\0\0\0\x03", 4));
    return bytes;
  };
  for (uint32_t id = 1; id <= 100; ++id) {
    alice.write(chat_frame(2, id % 10 ? sound(id) : "text", static_cast<uint16_t>(id), {},
                           id % 10 ? 2 : 1));
    world.settle();
  }
  ASSERT_EQ(latest(world, bob, 1), 100u);
  const auto stored = world.history(bob, 1);
  ASSERT_EQ(stored.size(), 100u);
  for (uint32_t i = 0; i < 100; ++i) {
    EXPECT_EQ(stored[i].msg_id(), 100 - i);
    EXPECT_EQ(stored[i].msg_data(), stored[i].msg_id() % 10 ? sound(stored[i].msg_id()) : "text");
  }
  for (const bool sparse : {false, true}) {
    std::vector<uint32_t> missing;
    for (uint32_t id = 100; id > 0; --id)
      if (!sparse || id % 3 != 1) missing.push_back(id);
    int answers = 0;
    while (!missing.empty()) {
      ASSERT_LE(++answers, 10);
      const auto got = by_ids(world, bob, 1, missing);
      ASSERT_GE(got.size(), std::min<size_t>(missing.size(), 12));
      // The newest of what was asked, without a hole that would look like "not there".
      for (size_t i = 0; i < got.size(); ++i) {
        ASSERT_EQ(got[i].msg_id(), missing[i]);
        EXPECT_EQ(got[i].msg_data(), missing[i] % 10 ? sound(missing[i]) : "text");
      }
      missing.erase(missing.begin(), missing.begin() + static_cast<long>(got.size()));
    }
  }
}

TEST_P(Read, TheLargestSoundsAreReachedOneByOne) {
  World world(options());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  for (uint16_t id = 1; id <= 6; ++id) {
    alice.write(chat_frame(2, std::string(256 * kKiB, static_cast<char>('0' + id)), id, {}, 2));
    alice.write(chat_frame(2, "between", static_cast<uint16_t>(100 + id)));
    world.settle();
  }
  // The second: 9 does not fit behind 11 and 10; that 6 would is no reason to send it.
  for (std::vector<uint32_t> missing : {std::vector<uint32_t>{11, 9, 7, 5, 3, 2, 1},
                                        std::vector<uint32_t>{11, 10, 9, 6, 4, 2, 1}})
    while (!missing.empty()) {
      const auto got = by_ids(world, bob, 1, missing);
      ASSERT_GE(got.size(), 1u);
      for (size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i].msg_id(), missing[i]);
      missing.erase(missing.begin(), missing.begin() + static_cast<long>(got.size()));
    }
}

// --- storage -------------------------------------------------------------------------------------------

TEST_P(Read, OldMessagesAreTheSameAfterARestart) {
  World world(options());
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  for (uint16_t id = 1; id <= 700; ++id) {
    Client& author = id % 3 ? alice : bob;
    author.write(
        chat_frame(id % 3 ? 2 : 1, "m" + std::string(id % 61, 'x') + std::to_string(id), id));
    if (id % 5 == 0) world.settle();
    if (id % 50 == 0) world.advance_s(1);
  }
  world.settle();
  const auto before = world.history(bob, 1);
  ASSERT_EQ(before.size(), 700u);
  const std::vector<uint32_t> some = {690, 512, 511, 300, 257, 256, 255, 33, 32, 31, 2, 1};
  const auto listed                = by_ids(world, bob, 1, some);
  const auto check                 = [&] {
    Client& back = world.enter(2);
    EXPECT_EQ(latest(world, back, 1), 700u);
    const auto after = world.history(back, 1);
    ASSERT_EQ(after.size(), before.size());
    for (size_t i = 0; i < before.size(); ++i)
      ASSERT_EQ(after[i].SerializeAsString(), before[i].SerializeAsString());
    const auto again = by_ids(world, back, 1, some);
    ASSERT_EQ(again.size(), some.size());
    for (size_t i = 0; i < some.size(); ++i)
      ASSERT_EQ(again[i].SerializeAsString(), listed[i].SerializeAsString());
  };
  ASSERT_TRUE(world.stop());
  world.boot();
  check();
  world.crash();
  world.boot();
  check();
}

// A damaged message is left out; what lies before and behind it is not lost with it.
TEST_P(Read, ADamagedMessageHidesNoOther) {
  World world(options());
  Client& alice = world.enter(1);
  world.enter(2);
  for (uint16_t id = 1; id <= 40; ++id)
    alice.write(chat_frame(2, "message number " + std::to_string(1000 + id), id));
  world.settle();
  ASSERT_TRUE(world.stop());
  std::set<uint32_t> damaged;
  const auto damage = [&](uint32_t id) {
    const std::string text = "message number " + std::to_string(1000 + id);
    const auto names       = world.log_disk.list("log");
    for (const std::string& name : *names) {
      const auto bytes = world.log_disk.contents("log/" + name);
      const auto at    = as_text(*bytes).find(text);
      if (at == std::string_view::npos) continue;
      world.log_disk.flip_bit("log/" + name, at * 8);
      EXPECT_TRUE(damaged.insert(id).second);
      return;
    }
    ADD_FAILURE() << "not in the log: " << id;
  };
  for (const uint32_t id : {40u, 30u, 29u, 10u, 1u}) damage(id);
  world.boot();
  Client& bob = world.enter(2);
  EXPECT_EQ(latest(world, bob, 1), 40u) << "ids go on";
  std::vector<uint32_t> left;
  for (uint32_t id = 40; id > 0; --id)
    if (!damaged.contains(id)) left.push_back(id);
  EXPECT_EQ(ids_of(world.page(bob, 1)), left);
  EXPECT_EQ(ids_of(world.page(bob, 1, 30, 5)), (std::vector<uint32_t>{28, 27, 26}));
  EXPECT_TRUE(world.page(bob, 1, 30, 2).empty());
  EXPECT_EQ(ids_of(by_ids(world, bob, 1, countdown(40, 40))), left);
  EXPECT_EQ(ids_of(by_ids(world, bob, 1, {40, 38, 30, 29, 28, 1})),
            (std::vector<uint32_t>{38, 28}));
  EXPECT_TRUE(counts(world, bob).empty()) << "its newest cannot be shown";
  Client& again = world.enter(1);
  again.write(chat_frame(2, "fresh", 500));
  world.settle();
  EXPECT_EQ(counts(world, bob), (std::map<uint32_t, uint32_t>{{1, 41}}));
  bob.write(read_frame(1, 38));
  world.settle();
  EXPECT_EQ(counts(world, bob), (std::map<uint32_t, uint32_t>{{1, 3}}));
}

// More at once than the store reads at once: everybody gets his answer, in his order.
TEST_P(Read, ACrowdAsksAtOnce) {
  World world(options(70));
  std::vector<Client*> in{nullptr};
  for (uint32_t user = 1; user <= 70; ++user) in.push_back(&world.enter(user));
  for (uint32_t user = 2; user <= 70; ++user) say(world, *in[user], 1, 70);
  std::vector<uint32_t> sparse;
  for (uint32_t id = 69; id >= 1 && id <= 69; id -= 2) sparse.push_back(id);
  for (uint32_t user = 2; user <= 70; ++user)
    in[user]->write(ids_frame(1, sparse, 1) + unread_frame(2) + read_frame(1, 3) +
                    page_frame(1, 0, 100, 3) + latest_frame(1, 4) + ids_frame(1, sparse, 5));
  for (uint16_t i = 0; i < 20; ++i) in[1]->write(unread_frame(i));
  world.settle();
  for (uint32_t user = 2; user <= 70; ++user) {
    std::vector<uint16_t> order;
    for (const Frame& f : in[user]->frames)
      if (f.id() != CommandId::login_response && f.id() != CommandId::msg_data_ack)
        order.push_back(f.header.sequence);
    EXPECT_EQ(order, (std::vector<uint16_t>{1, 2, 3, 4, 5}));
    const auto lists = in[user]->all(CommandId::get_msg_by_id_response);
    ASSERT_EQ(lists.size(), 2u);
    for (const Frame* list : lists)
      EXPECT_EQ(list->as<IM::Message::IMGetMsgByIdRsp>().msg_list_size(), 35);
  }
  const auto lists = in[1]->all(CommandId::unread_msg_cnt_response);
  ASSERT_EQ(lists.size(), 20u);
  for (const Frame* list : lists)
    EXPECT_EQ(list->as<IM::Message::IMUnreadMsgCntRsp>().total_cnt(), 69u * 70u);
}

// Connections end in the middle of every kind of question.
TEST_P(Read, ConnectionsEndWhileTheirAnswersAreMade) {
  World world(options(16));
  Client& alice = world.enter(1);
  for (uint32_t user = 2; user <= 16; ++user) say(world, alice, user, 40);
  const std::string questions[] = {ids_frame(1, {1, 5, 9, 13, 40}, 1), unread_frame(2),
                                   read_frame(1, 7), latest_frame(1, 3), page_frame(1, 0, 40, 4)};
  for (int round = 0; round < 400; ++round) {
    const auto user = static_cast<uint32_t>(2 + world.random.below(15));
    Client& client  = world.connect(static_cast<uint32_t>(world.random.below(4)));
    client.write(world.login_of(user) + questions[world.random.below(5)] +
                 questions[world.random.below(5)]);
    for (uint64_t n = world.random.below(12); n > 0; --n) world.step();
    if (world.random.below(2) == 0) client.socket.reset();
  }
  world.settle();
  for (uint32_t user = 2; user <= 16; ++user) {
    Client& client = world.enter(user);
    const auto all = counts(world, client);
    ASSERT_TRUE(all.contains(1));
    EXPECT_TRUE(all.at(1) == 40 || all.at(1) == 33);
  }
}

TEST_P(Read, RequestsArePacedByWhatTheyAskForAndReadingIsFree) {
  Options o = {.shards = GetParam(), .users = 8};
  World world(o);
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  say(world, alice, 2, 20);
  world.advance_s(20);
  for (uint16_t i = 0; i < 150; ++i) bob.write(ids_frame(1, countdown(100, 100), i));
  world.settle();
  const size_t at_once = bob.count(CommandId::get_msg_by_id_response);
  EXPECT_GE(at_once, 95u);
  EXPECT_LE(at_once, 110u) << "each costs two of the 200";
  for (int i = 0; i < 1000; ++i) bob.write(read_frame(1, 1 + static_cast<uint32_t>(i) % 20));
  world.advance_s(4);
  EXPECT_EQ(bob.count(CommandId::get_msg_by_id_response), 150u);
  EXPECT_EQ(position(world, 2, 1), 20u);
}

// --- offline files -------------------------------------------------------------------------------------

TEST_P(Read, NoFilesAreWaiting) {
  World world(options());
  Client& alice = world.enter(1);
  IM::File::IMFileHasOfflineReq request;
  request.set_user_id(2);
  const auto answer = asked<IM::File::IMFileHasOfflineRsp>(
      world, alice, frame(CommandId::file_has_offline_request, 0xfe03, request),
      CommandId::file_has_offline_response);
  EXPECT_EQ(answer.offline_file_list_size(), 0);
  EXPECT_EQ(answer.ip_addr_list_size(), 0);
}

}  // namespace
}  // namespace ringtalk::sim
