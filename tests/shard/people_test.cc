// People and their lists through the whole server at 1, 2 and 4 shards: who is there, who is online,
// with whom one talks; pass-through commands and the extension's hello.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "proto/buddy.pb.h"
#include "proto/ext_sys.pb.h"
#include "proto/group.pb.h"
#include "proto/switch_service.pb.h"
#include "proto/utf8.h"
#include "tests/shard/harness.h"

namespace ringtalk::sim {
namespace {

constexpr auto kSingle       = IM::BaseDefine::SESSION_TYPE_SINGLE;
constexpr auto kGroup        = IM::BaseDefine::SESSION_TYPE_GROUP;
constexpr uint32_t kOnline   = 1;
constexpr uint32_t kOffline  = 2;
constexpr uint32_t kNobody[] = {0, 99, 134'217'728, 4'294'967'295};
constexpr uint16_t kSequence = 0xfe02;

class People : public testing::TestWithParam<uint32_t> {
 protected:
  Options options(uint32_t users = 8) {
    Options o                    = {.shards = GetParam(), .users = users};
    o.limits.sends_per_second    = 0;
    o.limits.requests_per_second = 0;
    return o;
  }

  template <class M>
  static M asked(World& world, Client& client, CommandId request,
                 const google::protobuf::MessageLite& body, CommandId response) {
    const size_t before = client.count(response);
    client.write(frame(request, kSequence, body));
    world.settle();
    const auto answers = client.all(response);
    EXPECT_EQ(answers.size(), before + 1);
    if (answers.size() <= before) return {};
    EXPECT_EQ(answers.back()->header.sequence, kSequence);
    const M message = answers.back()->as<M>();
    EXPECT_EQ(message.user_id(), client.user) << "the connection's user, whatever the body claims";
    return message;
  }

  // --- 0x0201, 0x0206
  static std::vector<IM::BaseDefine::ContactSessionInfo> sessions(World& world, Client& client,
                                                                  uint32_t since   = 0,
                                                                  uint32_t claimed = 0) {
    IM::Buddy::IMRecentContactSessionReq request;
    request.set_user_id(claimed);
    request.set_latest_update_time(since);
    const auto response = asked<IM::Buddy::IMRecentContactSessionRsp>(
        world, client, CommandId::recent_contact_session_request, request,
        CommandId::recent_contact_session_response);
    uint32_t time = ~0u;
    for (const auto& info : response.contact_session_list()) {
      EXPECT_LE(info.updated_time(), time) << "newest first";
      time = info.updated_time();
      EXPECT_GT(time, since);
      EXPECT_EQ(info.session_status(), IM::BaseDefine::SESSION_STATUS_OK);
    }
    return {response.contact_session_list().begin(), response.contact_session_list().end()};
  }
  static std::set<uint32_t> peers(World& world, Client& client, uint32_t since = 0) {
    std::set<uint32_t> ids;
    for (const auto& info : sessions(world, client, since)) ids.insert(info.session_id());
    return ids;
  }
  static uint32_t remove(World& world, Client& client, uint32_t peer,
                         IM::BaseDefine::SessionType type = kSingle, uint32_t claimed = 0) {
    IM::Buddy::IMRemoveSessionReq request;
    request.set_user_id(claimed);
    request.set_session_type(type);
    request.set_session_id(peer);
    const auto response =
        asked<IM::Buddy::IMRemoveSessionRsp>(world, client, CommandId::remove_session_request,
                                             request, CommandId::remove_session_response);
    EXPECT_EQ(response.session_id(), peer);
    EXPECT_EQ(response.session_type(), type);
    return response.result_code();
  }
  static uint32_t unread(World& world, Client& client) {
    IM::Message::IMUnreadMsgCntReq request;
    request.set_user_id(0);
    return asked<IM::Message::IMUnreadMsgCntRsp>(world, client, CommandId::unread_msg_cnt_request,
                                                 request, CommandId::unread_msg_cnt_response)
        .total_cnt();
  }
  static void say(World& world, Client& from, uint32_t to, const std::string& text) {
    static uint16_t sequence = 0;
    from.write(chat_frame(to, text, ++sequence));
    world.settle();
  }

  // --- users
  struct Page {
    uint32_t stamp;
    std::vector<IM::BaseDefine::UserInfo> users;
  };
  static std::vector<Page> users(World& world, Client& client, uint32_t stamp) {
    const size_t before = client.count(CommandId::all_user_response);
    IM::Buddy::IMAllUserReq request;
    request.set_user_id(3);
    request.set_latest_update_time(stamp);
    client.write(frame(CommandId::all_user_request, kSequence, request));
    world.settle();
    const auto answers = client.all(CommandId::all_user_response);
    std::vector<Page> pages;
    for (size_t i = before; i < answers.size(); ++i) {
      EXPECT_EQ(answers[i]->header.sequence, kSequence);
      EXPECT_LE(answers[i]->body.size() + proto::kHeaderBytes, 400 * kKiB);
      const auto m = answers[i]->as<IM::Buddy::IMAllUserRsp>();
      EXPECT_EQ(m.user_id(), client.user);
      pages.push_back({m.latest_update_time(), {m.user_list().begin(), m.user_list().end()}});
    }
    EXPECT_FALSE(pages.empty());
    return pages;
  }
  static std::vector<uint32_t> ids_of(const std::vector<Page>& pages) {
    std::vector<uint32_t> ids;
    for (const Page& page : pages)
      for (const auto& user : page.users) ids.push_back(user.user_id());
    return ids;
  }
  template <class T, class Ask>
  static Result<T> stored(World& world, Ask&& ask) {
    std::optional<Result<T>> result;
    EXPECT_TRUE(ask(*world.seat(0).store,
                    store::Callback<T>([&result](Result<T> got) { result = std::move(got); })));
    world.settle();
    EXPECT_TRUE(result.has_value());
    return std::move(*result);
  }
  static void patch(World& world, uint32_t user, store::UserPatch wanted) {
    EXPECT_TRUE(stored<store::User>(world, [&](store::Store& s, auto done) {
                  return s.update_user(UserId(user), std::move(wanted), std::move(done));
                }).has_value());
  }
  static void add(World& world, uint32_t count, const std::string& prefix) {
    std::vector<store::NewUser> list;
    for (uint32_t i = 0; i < count; ++i)
      list.push_back({.name = prefix + std::to_string(i), .nick = "Nick of " + std::to_string(i)});
    EXPECT_TRUE(stored<std::vector<store::User>>(world, [&](store::Store& s, auto done) {
                  return s.add_users(std::move(list), std::move(done));
                }).has_value());
  }

  // --- presence
  static std::vector<std::pair<uint32_t, uint32_t>> heard(const Client& client) {
    std::vector<std::pair<uint32_t, uint32_t>> found;
    for (const Frame* f : client.all(CommandId::user_stat_notify)) {
      EXPECT_EQ(f->header.sequence, 0);
      const auto m = f->as<IM::Buddy::IMUserStatNotify>();
      found.push_back({m.user_stat().user_id(), m.user_stat().status()});
    }
    return found;
  }
  // The states of `user` that the client has heard, in order.
  static std::vector<uint32_t> states(const Client& client, uint32_t user) {
    std::vector<uint32_t> found;
    for (const auto& [id, state] : heard(client))
      if (id == user) found.push_back(state);
    return found;
  }
  static std::vector<uint32_t> phone_heard(const Client& client) {
    std::vector<uint32_t> found;
    for (const Frame* f : client.all(CommandId::pc_login_status_notify)) {
      EXPECT_EQ(f->header.sequence, 0);
      const auto m = f->as<IM::Buddy::IMPCLoginStatusNotify>();
      EXPECT_EQ(m.user_id(), client.user);
      found.push_back(m.login_stat());
    }
    return found;
  }
  static std::vector<uint32_t> query(World& world, Client& client,
                                     const std::vector<uint32_t>& ids) {
    IM::Buddy::IMUsersStatReq request;
    request.set_user_id(2);
    for (const uint32_t id : ids) request.add_user_id_list(id);
    const auto response = asked<IM::Buddy::IMUsersStatRsp>(
        world, client, CommandId::users_stat_request, request, CommandId::users_stat_response);
    std::vector<uint32_t> found;
    EXPECT_EQ(response.user_stat_list_size(), static_cast<int>(ids.size()));
    for (int i = 0; i < response.user_stat_list_size(); ++i) {
      EXPECT_EQ(response.user_stat_list(i).user_id(), ids[static_cast<size_t>(i)]) << "as asked";
      found.push_back(response.user_stat_list(i).status());
    }
    return found;
  }
  static void flush(World& world) { world.advance(700 * kNsPerMs); }

  static IM::Ext::Sys::ExtHelloRsp hello(World& world, Client& client, uint32_t features = 63,
                                         uint32_t version = 1) {
    IM::Ext::Sys::ExtHelloReq request;
    request.set_user_id(5);
    request.set_ext_version(version);
    request.set_features(features);
    return asked<IM::Ext::Sys::ExtHelloRsp>(world, client, CommandId::ext_hello_request, request,
                                            CommandId::ext_hello_response);
  }
  static std::vector<std::string> errors(const Client& client) {
    std::vector<std::string> found;
    for (const Frame* f : client.all(CommandId::ext_error)) {
      const auto m = f->as<IM::Ext::Sys::ExtError>();
      EXPECT_EQ(m.user_id(), client.user);
      EXPECT_EQ(m.seq(), f->header.sequence);
      found.push_back(std::to_string(m.command()) + ":" + std::to_string(m.seq()) + ":" +
                      std::to_string(m.result_code()));
    }
    return found;
  }
  static std::string command_frame(uint32_t to, const std::string& text, uint16_t sequence,
                                   uint32_t claimed = 0) {
    IM::SwitchService::IMP2PCmdMsg message;
    message.set_from_user_id(claimed);
    message.set_to_user_id(to);
    message.set_cmd_msg_data(text);
    return frame(CommandId::p2p_cmd_msg, sequence, message);
  }
  static std::vector<std::string> commands(const Client& client) {
    std::vector<std::string> found;
    for (const Frame* f : client.all(CommandId::p2p_cmd_msg)) {
      EXPECT_EQ(f->header.sequence, 0);
      const auto m = f->as<IM::SwitchService::IMP2PCmdMsg>();
      found.push_back(std::to_string(m.from_user_id()) + ">" + std::to_string(m.to_user_id()) +
                      ":" + m.cmd_msg_data());
    }
    return found;
  }
};
INSTANTIATE_TEST_SUITE_P(Shards, People, testing::Values(1, 2, 4));

// --- with whom one talks -----------------------------------------------------------------------------

TEST_P(People, TheListIsNewestFirstWithTheNewestMessage) {
  World world(options());
  Client& alice = world.enter(1);
  EXPECT_TRUE(sessions(world, alice).empty());
  for (uint32_t peer = 2; peer <= 6; ++peer) {
    say(world, alice, peer, "to " + std::to_string(peer));
    world.advance_s(1);
  }
  Client& three = world.enter(3);
  say(world, three, 1, "an answer");
  const auto list = sessions(world, alice);
  ASSERT_EQ(list.size(), 5u);
  EXPECT_EQ(list[0].session_id(), 3u);
  EXPECT_EQ(list[0].latest_msg_id(), 2u);
  EXPECT_EQ(list[0].latest_msg_data(), "an answer");
  EXPECT_EQ(list[0].latest_msg_from_user_id(), 3u) << "the true author";
  EXPECT_EQ(list[0].latest_msg_type(), IM::BaseDefine::MSG_TYPE_SINGLE_TEXT);
  EXPECT_EQ(list[0].session_type(), kSingle);
  EXPECT_EQ(list[1].session_id(), 6u);
  EXPECT_EQ(list[1].latest_msg_from_user_id(), 1u);
  EXPECT_EQ(list[4].session_id(), 2u);
  EXPECT_EQ(list[1].updated_time(), list[4].updated_time() + 4);
  // Only what is newer than the stamp.
  EXPECT_EQ(peers(world, alice, list[2].updated_time()), (std::set<uint32_t>{3, 6}));
  EXPECT_TRUE(peers(world, alice, list[0].updated_time()).empty());
  EXPECT_TRUE(peers(world, alice, ~0u).empty());
  // Somebody else's list, whoever asks for it.
  EXPECT_EQ(peers(world, three), std::set<uint32_t>{1});
  EXPECT_EQ(sessions(world, alice, 0, 3).size(), 5u);
  Client& nobody = world.enter(8);
  EXPECT_TRUE(sessions(world, nobody, 0, 1).empty());
}

TEST_P(People, TheListHoldsTheNewestHundredAndSoundsByTheirPlaceholder) {
  World world(options(130));
  Client& alice = world.enter(1);
  for (uint32_t peer = 2; peer <= 121; ++peer) {
    alice.write(chat_frame(peer, "x", static_cast<uint16_t>(peer)));
    if (peer % 10 == 0) world.advance_s(1);
  }
  world.settle();
  const auto list = sessions(world, alice);
  ASSERT_EQ(list.size(), 100u);
  std::set<uint32_t> ids;
  for (const auto& info : list) ids.insert(info.session_id());
  EXPECT_EQ(ids.size(), 100u);
  for (uint32_t peer = 31; peer <= 121; ++peer) EXPECT_TRUE(ids.contains(peer)) << peer;
  alice.write(chat_frame(2, "0123sound", 999, {}, 2));
  world.settle();
  const auto newest = sessions(world, alice).front();
  EXPECT_EQ(newest.latest_msg_type(), IM::BaseDefine::MSG_TYPE_SINGLE_AUDIO);
  EXPECT_EQ(newest.latest_msg_data(), "QhGXlpFjvMFUNrtl1aaPzA==");
}

TEST_P(People, LongTextsAreCutByTheSizeOfTheAnswer) {
  World world(options(130));
  Client& alice = world.enter(1);
  std::string longest;
  for (int i = 0; i < 4096; ++i) longest += "\xf0\x9f\x92\xac";
  for (uint32_t peer = 2; peer <= 60; ++peer)
    alice.write(chat_frame(peer, longest, static_cast<uint16_t>(peer)));
  world.settle();
  const auto list = sessions(world, alice);
  EXPECT_EQ(list.size(), 23u) << "380 KiB of 16 KiB each";
}

TEST_P(People, ARemovedSessionIsHiddenForItsOwnerUntilTheNextMessage) {
  World world(options());
  for (uint32_t peer = 2; peer <= 5; ++peer) {
    Client& pc     = world.enter(1, kWindows);
    Client& phone  = world.enter(1, kAndroid);
    Client& bob    = world.enter(peer);
    Client& others = world.enter(7);
    EXPECT_EQ(remove(world, pc, peer), 1u) << "nobody wrote yet";
    say(world, bob, 1, "one");
    say(world, bob, 1, "two");
    say(world, others, 1, "three");
    const uint32_t before = unread(world, pc);
    EXPECT_EQ(remove(world, pc, peer, kSingle, peer), 0u);
    EXPECT_EQ(unread(world, pc), before - 2) << "and all of it is read";
    ASSERT_EQ(phone.count(CommandId::remove_session_notify), 1u);
    const auto notify = phone.all(CommandId::remove_session_notify)[0];
    EXPECT_EQ(notify->header.sequence, 0);
    EXPECT_EQ(notify->as<IM::Buddy::IMRemoveSessionNotify>().user_id(), 1u);
    EXPECT_EQ(notify->as<IM::Buddy::IMRemoveSessionNotify>().session_id(), peer);
    EXPECT_EQ(notify->as<IM::Buddy::IMRemoveSessionNotify>().session_type(), kSingle);
    EXPECT_EQ(pc.count(CommandId::remove_session_notify), 0u);
    EXPECT_FALSE(peers(world, pc).contains(peer));
    EXPECT_TRUE(peers(world, bob).contains(1)) << "the peer keeps his";
    EXPECT_EQ(remove(world, phone, peer), 1u) << "it is gone already";
    EXPECT_EQ(pc.count(CommandId::remove_session_notify), 0u);
    EXPECT_EQ(bob.count(CommandId::remove_session_notify), 0u);

    // Hidden also for the next process; the other side's message brings it back, then one's own.
    say(world, bob, 1, "again");
    EXPECT_TRUE(peers(world, pc).contains(peer));
    EXPECT_EQ(unread(world, pc), before - 1);
    EXPECT_EQ(remove(world, phone, peer), 0u);
    EXPECT_EQ(pc.count(CommandId::remove_session_notify), 1u);
    say(world, pc, peer, "it is me");
    EXPECT_TRUE(peers(world, phone).contains(peer));
    EXPECT_EQ(world.history(bob, 1).size(), 4u) << "nothing of it was lost";
    for (const uint32_t strange : kNobody) EXPECT_EQ(remove(world, pc, strange), 1u);
    EXPECT_EQ(remove(world, pc, 1), 1u);
    EXPECT_EQ(remove(world, pc, peer, kGroup), 1u);
    for (Client* client : {&pc, &phone, &bob, &others}) client->socket.finish();
    world.settle();
  }
}

TEST_P(People, AHiddenSessionStaysHiddenAcrossAPowerCut) {
  World world(options());
  for (uint32_t peer = 2; peer <= 5; ++peer) {
    Client& bob = world.enter(peer);
    say(world, bob, 1, "one");
    say(world, bob, 1, "two");
  }
  Client& alice = world.enter(1);
  EXPECT_EQ(remove(world, alice, 2), 0u);
  EXPECT_EQ(remove(world, alice, 5), 0u);
  world.crash();
  world.boot();
  Client& again = world.enter(1);
  EXPECT_EQ(peers(world, again), (std::set<uint32_t>{3, 4}));
  EXPECT_EQ(unread(world, again), 4u) << "what was taken off the list is read";
  EXPECT_EQ(remove(world, again, 5), 1u);
  say(world, world.enter(5), 1, "three");
  EXPECT_EQ(peers(world, again), (std::set<uint32_t>{3, 4, 5}));
}

TEST_P(People, StorageThatIsAwayGivesNoEmptyLists) {
  World world(options());
  Client& alice = world.enter(1);
  say(world, alice, 2, "x");
  world.run_store_workers = false;
  IM::Buddy::IMRecentContactSessionReq list;
  list.set_user_id(1);
  list.set_latest_update_time(0);
  alice.write(frame(CommandId::recent_contact_session_request, 5, list) + heartbeat_frame(6));
  world.advance_s(3);
  EXPECT_EQ(alice.count(CommandId::recent_contact_session_response), 0u);
  EXPECT_EQ(alice.count(CommandId::heartbeat), 0u) << "in the order asked";
  world.run_store_workers = true;
  world.settle();
  EXPECT_EQ(alice.count(CommandId::recent_contact_session_response), 1u);
  EXPECT_EQ(alice.count(CommandId::heartbeat), 1u);
}

// --- users ---------------------------------------------------------------------------------------------

TEST_P(People, AllUsersThenOnlyWhatChanged) {
  World world(options());
  for (const uint8_t kind : {kWindows, kMac, kPhone, kAndroid}) {
    Client& client = world.enter(1, kind);
    auto pages     = users(world, client, 0);
    ASSERT_EQ(pages.size(), 1u);
    EXPECT_EQ(pages[0].users.size(), 8u);
    for (const auto& user : pages[0].users) {
      EXPECT_EQ(user.user_real_name(), World::name(user.user_id()));
      EXPECT_EQ(user.user_nick_name(), World::name(user.user_id()));
    }
    uint32_t stamp = pages[0].stamp;
    pages          = users(world, client, stamp);
    EXPECT_TRUE(pages[0].users.empty());
    EXPECT_EQ(pages[0].stamp, stamp);
    pages = users(world, client, ~0u);
    EXPECT_TRUE(pages[0].users.empty());
    EXPECT_EQ(pages[0].stamp, ~0u);

    patch(world, 3, {.signature = "<b>'here'</b>"});
    pages = users(world, client, stamp);
    ASSERT_EQ(ids_of(pages), std::vector<uint32_t>{3});
    EXPECT_EQ(pages[0].users[0].sign_info(), "<b>'here'</b>");
    EXPECT_GT(pages[0].stamp, stamp);
    stamp = pages[0].stamp;
    EXPECT_TRUE(users(world, client, stamp)[0].users.empty());

    patch(world, 4, {.status = store::kUserLeft});
    pages = users(world, client, stamp);
    ASSERT_EQ(ids_of(pages), std::vector<uint32_t>{4});
    EXPECT_EQ(pages[0].users[0].status(), 3u) << "so that clients hide him";
    EXPECT_EQ(ids_of(users(world, client, 0)), (std::vector<uint32_t>{1, 2, 5, 6, 7, 8, 3}))
        << "who left is no news to a new client; lowest stamps first";
    patch(world, 4, {.status = store::kUserActive});
    patch(world, 3, {.signature = ""});
  }
}

// Who asks once gets everything; who looks at one answer only goes on by its stamp.
TEST_P(People, ALargeListComesInPagesToEachKindOfClient) {
  World world(options());
  for (int i = 0; i < 5; ++i) add(world, 4000, "bulk" + std::to_string(i) + ".");
  patch(world, 500, {.status = store::kUserLeft});
  constexpr size_t kAll = 20'000 + 8 - 1;
  for (const uint8_t kind : {kWindows, kAndroid}) {
    Client& client            = world.enter(1, kind);
    const auto pages          = users(world, client, 0);
    std::vector<uint32_t> ids = ids_of(pages);
    EXPECT_GT(pages.size(), 2u);
    EXPECT_EQ(ids.size(), kAll);
    std::ranges::sort(ids);
    EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end()) << "once each";
    for (size_t i = 1; i < pages.size(); ++i) EXPECT_GT(pages[i].stamp, pages[i - 1].stamp);
    EXPECT_TRUE(ids_of(users(world, client, pages.back().stamp)).empty());
  }
  for (const uint8_t kind : {kPhone, kMac}) {
    Client& client = world.enter(1, kind);
    std::vector<uint32_t> ids;
    uint32_t stamp = 0, turns = 0;
    for (;; ++turns) {
      const auto pages = users(world, client, stamp);
      ASSERT_EQ(pages.size(), 1u) << "a second answer would be lost";
      if (pages[0].users.empty()) break;
      EXPECT_GT(pages[0].stamp, stamp);
      stamp           = pages[0].stamp;
      const auto page = ids_of(pages);
      ids.insert(ids.end(), page.begin(), page.end());
    }
    EXPECT_GT(turns, 2u);
    std::erase(ids, 500u);  // asked with a stamp, so he may be among them
    EXPECT_EQ(ids.size(), kAll);
    EXPECT_EQ(std::set<uint32_t>(ids.begin(), ids.end()).size(), kAll);
  }
}

TEST_P(People, AClientThatDoesNotReadGetsNoFurtherPages) {
  World world(options());
  for (int i = 0; i < 5; ++i) add(world, 4000, "bulk" + std::to_string(i) + ".");
  Client& slow   = world.enter(1, kWindows, 0, 4096);
  Client& others = world.enter(2);
  slow.reads     = false;
  IM::Buddy::IMAllUserReq request;
  request.set_user_id(0);
  request.set_latest_update_time(0);
  slow.write(frame(CommandId::all_user_request, 9, request) + heartbeat_frame(10));
  world.settle();
  world.advance_s(3);
  uint64_t queued = 0;
  for (uint32_t i = 0; i < world.shards(); ++i)
    world.seat(i).shard->context().sessions.each([&](shard::Session& session) {
      queued = std::max<uint64_t>(queued, session.queued_bytes());
    });
  EXPECT_GT(queued, 0u);
  EXPECT_LE(queued, 400 * kKiB) << "one page waits, not the list";
  EXPECT_EQ(users(world, others, 0).size() > 1, true) << "others are served";
  slow.reads = true;
  world.settle();
  EXPECT_GT(slow.count(CommandId::all_user_response), 2u);
  EXPECT_EQ(slow.frames.back().id(), CommandId::heartbeat) << "behind the last page";
}

// However many ask for everything at once, the database is read once per shard and 1,000 rows.
TEST_P(People, ListsAreReadOnceForAllWhoAsk) {
  World world(options(100));
  add(world, 1400, "bulk.");
  std::deque<Client*> crowd;
  for (uint32_t user = 1; user <= 40; ++user) crowd.push_back(&world.enter(user));
  const auto everybody = [&](uint32_t stamp) {
    world.run_store_workers = false;
    IM::Buddy::IMAllUserReq request;
    request.set_user_id(1);
    request.set_latest_update_time(stamp);
    std::vector<size_t> before;
    for (Client* client : crowd) {
      before.push_back(client->count(CommandId::all_user_response));
      client->write(frame(CommandId::all_user_request, kSequence, request));
    }
    world.settle();
    const uint64_t reads    = world.metric(Counter::contact_reads);
    world.run_store_workers = true;
    world.settle();
    for (size_t i = 0; i < crowd.size(); ++i) {
      const auto answers = crowd[i]->all(CommandId::all_user_response);
      EXPECT_EQ(answers.size(), before[i] + 1);
      const auto answer = answers.back()->as<IM::Buddy::IMAllUserRsp>();
      EXPECT_EQ(answer.user_id(), crowd[i]->user) << "his own, in a list that is shared";
      EXPECT_EQ(answer.user_list_size(), stamp == 0 ? 1500 : 0);
    }
    return world.metric(Counter::contact_reads) - reads + world.shards();
  };
  EXPECT_LE(everybody(0), 4 * world.shards()) << "2,000 rows at most, each shard for itself";
  EXPECT_EQ(everybody(0), world.shards()) << "is anything new?";
  EXPECT_EQ(everybody(~0u), world.shards());
  EXPECT_EQ(world.metric(Counter::contact_lists), 3 * crowd.size());
}

// Who came while the store's answer was on its way may have come after a change that the answer lacks.
TEST_P(People, AListIsAsNewAsItsRequest) {
  World world(options());
  Client& early           = world.enter(1);
  Client& late            = world.enter(2);
  const auto nick_of_3_to = [&](Client& client) {
    const auto answer =
        client.all(CommandId::all_user_response).back()->as<IM::Buddy::IMAllUserRsp>();
    for (const auto& info : answer.user_list())
      if (info.user_id() == 3) return info.user_nick_name();
    return std::string("nobody");
  };
  IM::Buddy::IMAllUserReq request;
  request.set_user_id(0);
  request.set_latest_update_time(0);
  const std::string wish  = frame(CommandId::all_user_request, kSequence, request);
  world.run_store_workers = false;
  early.write(wish);
  world.settle();
  world.seat(world.home(1)).frozen = true;
  world.run_store_workers          = true;
  world.settle();  // asked and answered, not taken
  bool changed = false;
  ASSERT_TRUE(world.seat(0).store->update_user(UserId(3), {.nick = "changed"},
                                               [&](Result<store::User>) { changed = true; }));
  world.settle();
  late.write(wish);
  world.seat(world.home(1)).frozen = false;
  world.settle();
  EXPECT_TRUE(changed);
  EXPECT_EQ(nick_of_3_to(late), "changed");
  EXPECT_NE(nick_of_3_to(early), "nobody");
}

TEST_P(People, ProfilesByIdInTheOrderAsked) {
  World world(options());
  patch(world, 5, {.status = store::kUserLeft});
  patch(world, 6, {.signature = std::string("bad \xff utf8")});
  Client& alice  = world.enter(1);
  const auto ask = [&](const std::vector<uint32_t>& ids) {
    IM::Buddy::IMUsersInfoReq request;
    request.set_user_id(4);
    for (const uint32_t id : ids) request.add_user_id_list(id);
    const auto response = asked<IM::Buddy::IMUsersInfoRsp>(
        world, alice, CommandId::users_info_request, request, CommandId::users_info_response);
    std::vector<uint32_t> found;
    for (const auto& info : response.user_info_list()) {
      found.push_back(info.user_id());
      EXPECT_EQ(info.user_real_name(), World::name(info.user_id()));
      EXPECT_EQ(info.status(), info.user_id() == 5 ? 3u : 0u);
      EXPECT_TRUE(proto::valid_utf8(as_bytes(info.sign_info()))) << "strict clients throw on it";
    }
    return found;
  };
  EXPECT_EQ(ask({3, 99, 1, 0, 5, ~0u, 6}), (std::vector<uint32_t>{3, 1, 5, 6}));
  EXPECT_EQ(ask({2, 2, 2, 1, 2}), (std::vector<uint32_t>{2, 1}));
  EXPECT_TRUE(ask({}).empty());
  std::vector<uint32_t> many;
  for (uint32_t i = 0; i < 999; ++i) many.push_back(10'000 + i);
  many.push_back(7);
  many.push_back(8);
  EXPECT_EQ(ask(many), std::vector<uint32_t>{7}) << "the first thousand count";
}

TEST_P(People, ProfilesFitWhateverRowsHold) {
  World world(options(1200));
  const std::string big(2000, 'x');
  for (uint32_t id = 1; id <= 400; ++id)
    patch(
        world, id,
        {.nick = big, .domain = big, .phone = big, .email = big, .avatar = big, .signature = big});
  Client& alice = world.enter(1000, kWindows);
  IM::Buddy::IMUsersInfoReq request;
  request.set_user_id(4);
  for (uint32_t id = 1; id <= 1000; ++id) request.add_user_id_list(id);
  const auto response = asked<IM::Buddy::IMUsersInfoRsp>(
      world, alice, CommandId::users_info_request, request, CommandId::users_info_response);
  EXPECT_GT(response.user_info_list_size(), 300);
  EXPECT_LT(response.user_info_list_size(), 1000);
  EXPECT_LE(response.ByteSizeLong(), 400 * kKiB);
  const auto pages = users(world, alice, 0);
  EXPECT_GT(pages.size(), 1u);
  EXPECT_EQ(ids_of(pages).size(), 1200u);
}

TEST_P(People, DepartmentsByStamp) {
  World world(options());
  Client& alice  = world.enter(1);
  const auto ask = [&](uint32_t stamp) {
    IM::Buddy::IMDepartmentReq request;
    request.set_user_id(4);
    request.set_latest_update_time(stamp);
    return asked<IM::Buddy::IMDepartmentRsp>(world, alice, CommandId::department_request, request,
                                             CommandId::department_response);
  };
  EXPECT_EQ(ask(0).dept_list_size(), 0);
  for (const char* name : {"top", "mid"})
    EXPECT_TRUE(stored<store::Department>(world, [&](store::Store& s, auto done) {
                  return s.add_department({.name = name, .priority = 3}, std::move(done));
                }).has_value());
  const auto both = ask(0);
  ASSERT_EQ(both.dept_list_size(), 2);
  EXPECT_EQ(both.dept_list(0).dept_name(), "top");
  EXPECT_EQ(both.dept_list(0).priority(), 3u);
  EXPECT_EQ(both.dept_list(1).dept_status(), IM::BaseDefine::DEPT_STATUS_OK);
  EXPECT_EQ(ask(both.latest_update_time()).dept_list_size(), 0);
  EXPECT_TRUE(stored<void>(world, [&](store::Store& s, auto done) {
                return s.remove_department(2, std::move(done));
              }).has_value());
  const auto news = ask(both.latest_update_time());
  ASSERT_EQ(news.dept_list_size(), 1);
  EXPECT_EQ(news.dept_list(0).dept_id(), 2u);
  EXPECT_EQ(news.dept_list(0).dept_status(), IM::BaseDefine::DEPT_STATUS_DELETE);
  EXPECT_EQ(ask(0).dept_list_size(), 2) << "removed ones too";
  IM::Group::IMNormalGroupListReq groups;
  groups.set_user_id(2);
  EXPECT_EQ(
      asked<IM::Group::IMNormalGroupListRsp>(world, alice, CommandId::normal_group_list_request,
                                             groups, CommandId::normal_group_list_response)
          .group_version_list_size(),
      0);
}

// --- presence ----------------------------------------------------------------------------------------------

TEST_P(People, PcsHearOfPcs) {
  World world(options());
  Client& pc    = world.enter(2, kWindows);
  Client& phone = world.enter(2, kPhone);
  flush(world);
  for (uint32_t user = 3; user <= 6; ++user) {
    Client& alice = world.enter(user, kMac, user);
    flush(world);
    EXPECT_EQ(states(pc, user), std::vector<uint32_t>{kOnline});
    EXPECT_EQ(states(alice, user), std::vector<uint32_t>{kOnline}) << "he himself hears it too";
    EXPECT_EQ(query(world, pc, {user, 2, 8, 99, ~0u, user}),
              (std::vector<uint32_t>{kOnline, kOnline, kOffline, kOffline, kOffline, kOnline}));
    EXPECT_EQ(query(world, phone, {user}), std::vector<uint32_t>{kOnline});
    Client& mobile = world.enter(user, kAndroid);
    alice.socket.finish();
    flush(world);
    EXPECT_EQ(states(pc, user), (std::vector<uint32_t>{kOnline, kOffline}));
    EXPECT_EQ(query(world, pc, {user}), std::vector<uint32_t>{kOffline}) << "a phone is no PC";
    mobile.socket.finish();
    flush(world);
    EXPECT_EQ(states(pc, user).size(), 2u) << "phones make none";
  }
  EXPECT_TRUE(heard(phone).empty());
  EXPECT_TRUE(query(world, pc, {}).empty());
}

TEST_P(People, AReplacedPcWasNeverAway) {
  World world(options());
  Client& watcher = world.enter(2);
  Client& phone   = world.enter(3, kPhone);
  Client& first   = world.enter(3, kWindows);
  flush(world);
  for (int i = 0; i < 3; ++i) world.enter(3, i % 2 ? kWindows : kMac, static_cast<uint32_t>(i));
  flush(world);
  world.advance_s(6);
  EXPECT_FALSE(first.is_open());
  for (const uint32_t state : states(watcher, 3)) EXPECT_EQ(state, kOnline);
  for (const uint32_t state : phone_heard(phone)) EXPECT_EQ(state, kOnline);
  EXPECT_EQ(query(world, watcher, {3}), std::vector<uint32_t>{kOnline});
}

TEST_P(People, OwnPhonesHearOfThePc) {
  World world(options());
  for (uint32_t user = 1; user <= 4; ++user) {
    Client& phone    = world.enter(user, kPhone);
    Client& stranger = world.enter(8, kAndroid);
    world.settle();
    EXPECT_TRUE(phone_heard(phone).empty());
    Client& pc = world.enter(user, kWindows);
    world.settle();
    EXPECT_EQ(phone_heard(phone), std::vector<uint32_t>{kOnline}) << "at once";
    EXPECT_TRUE(phone_heard(pc).empty());
    Client& second = world.enter(user, kAndroid);  // replaces the first
    EXPECT_EQ(phone_heard(second), std::vector<uint32_t>{kOnline});
    EXPECT_EQ(second.frames[0].id(), CommandId::login_response) << "before any push";
    IM::Login::IMKickPCClientReq kick;
    kick.set_user_id(user);
    second.write(frame(CommandId::kick_pc_client_request, 3, kick));
    world.settle();
    EXPECT_EQ(phone_heard(second), (std::vector<uint32_t>{kOnline, kOffline}));
    EXPECT_TRUE(phone_heard(stranger).empty());
    flush(world);
    EXPECT_EQ(query(world, second, {user}), std::vector<uint32_t>{kOffline});
    second.socket.finish();
    world.settle();
  }
}

TEST_P(People, ALostPcGoesOfflineAtTheIdleLimit) {
  World world(options());
  Client& watcher = world.enter(2);
  Client& lost    = world.enter(3);
  flush(world);
  for (int s = 0; s < 12; ++s) {
    watcher.write(heartbeat_frame());
    world.advance(9 * kNsPerS, kNsPerS);
  }
  EXPECT_EQ(states(watcher, 3), std::vector<uint32_t>{kOnline});
  watcher.write(heartbeat_frame());
  world.advance(10 * kNsPerS, kNsPerS);
  world.advance(4 * kNsPerS, kNsPerS);
  EXPECT_FALSE(lost.is_open());
  EXPECT_EQ(states(watcher, 3), (std::vector<uint32_t>{kOnline, kOffline}));
}

// However often somebody comes and goes: once per interval, and the last state counts.
TEST_P(People, FlappingIsToldOncePerInterval) {
  World world(options());
  Client& watcher = world.enter(2);
  flush(world);
  for (int i = 0; i < 20; ++i) {
    Client& client = world.enter(3, kWindows, static_cast<uint32_t>(i));
    world.advance(10 * kNsPerMs, kNsPerMs);
    client.socket.finish();
    world.advance(10 * kNsPerMs, kNsPerMs);
  }
  flush(world);
  const auto told = states(watcher, 3);
  EXPECT_GE(told.size(), 1u);
  EXPECT_LE(told.size(), 4u) << "twenty logins within 400 ms";
  EXPECT_EQ(told.back(), kOffline);
  world.enter(3, kWindows);
  flush(world);
  EXPECT_EQ(states(watcher, 3).back(), kOnline);
}

TEST_P(People, ManyLoginsReachEveryPcInFewPayloads) {
  Options o = options(300);
  World world(o);
  std::vector<Client*> all;
  for (uint32_t user = 1; user <= 200; ++user) {
    all.push_back(&world.connect(user));
    all.back()->write(world.login_of(user));
    all.back()->user = user;
  }
  world.settle();
  flush(world);
  for (Client* client : all) {
    std::map<uint32_t, uint32_t> last;
    for (const auto& [user, state] : heard(*client)) last[user] = state;
    ASSERT_EQ(last.size(), 200u) << client->user;
    for (const auto& [user, state] : last) EXPECT_EQ(state, kOnline);
  }
  EXPECT_LE(world.metric(Counter::presence_pushes), 200u * 6) << "not one per login";
  for (size_t i = 0; i < 100; ++i) all[i]->socket.finish();
  world.settle();
  flush(world);
  std::vector<uint32_t> ids, expected;
  for (uint32_t user = 1; user <= 300; ++user) {
    ids.push_back(user);
    expected.push_back(user > 100 && user <= 200 ? kOnline : kOffline);
  }
  EXPECT_EQ(query(world, *all[150], ids), expected);
  for (uint32_t user = 1; user <= 100; ++user)
    EXPECT_EQ(states(*all[199], user).back(), kOffline) << user;
}

TEST_P(People, ALargeStatusQueryFits) {
  World world(options());
  Client& alice = world.enter(1);
  std::string body("\x08\x01\x12", 3);  // user_id 1, then ids packed: one byte each
  constexpr uint32_t kCount = 65'000;
  body += std::string({static_cast<char>(0x80 | (kCount & 0x7f)),
                       static_cast<char>(0x80 | (kCount >> 7 & 0x7f)),
                       static_cast<char>(kCount >> 14)});
  body += std::string(kCount, '\x01');
  alice.write(raw_frame(0x020a, 3, body) + heartbeat_frame(4));
  world.settle();
  ASSERT_EQ(alice.count(CommandId::users_stat_response), 1u);
  const Frame* answer = alice.all(CommandId::users_stat_response)[0];
  EXPECT_LE(answer->body.size() + proto::kHeaderBytes, 400 * kKiB);
  const auto response = answer->as<IM::Buddy::IMUsersStatRsp>();
  ASSERT_EQ(response.user_stat_list_size(), static_cast<int>(kCount));
  EXPECT_EQ(response.user_stat_list(kCount - 1).status(), kOnline);
}

// --- pass-through ----------------------------------------------------------------------------------------

TEST_P(People, CommandsPassThroughUnchangedAndUnstored) {
  World world(options());
  const std::string odd = std::string("no JSON \xf0\x9f\x92\xac \r\n") + '\0' + "behind";
  for (uint32_t peer = 2; peer <= 5; ++peer) {
    Client& pc       = world.enter(1, kWindows);
    Client& own      = world.enter(1, kPhone);
    Client& bob      = world.enter(peer, kMac);
    Client& phone    = world.enter(peer, kAndroid);
    Client& stranger = world.enter(7);
    for (const std::string& text : {odd, std::string(4096, 'x'), std::string()}) {
      pc.write(command_frame(peer, text, 9, 7));
      world.settle();
      const std::string expected = "1>" + std::to_string(peer) + ":" + text;
      for (Client* device : {&own, &bob, &phone}) {
        ASSERT_FALSE(commands(*device).empty());
        EXPECT_EQ(commands(*device).back(), expected) << "from the session, not from the body";
      }
    }
    for (const uint32_t strange : kNobody) pc.write(command_frame(strange, "x", 1));
    pc.write(command_frame(peer, std::string(4097, 'x'), 2) + command_frame(peer, "\xff\xfe", 3) +
             raw_frame(0x0601, 4, "garbage") + heartbeat_frame(5));
    world.settle();
    EXPECT_EQ(pc.count(CommandId::heartbeat), 1u);
    for (Client* device : {&own, &bob, &phone}) EXPECT_EQ(commands(*device).size(), 3u);
    EXPECT_TRUE(commands(pc).empty());
    EXPECT_TRUE(commands(stranger).empty());
    EXPECT_EQ(pc.frames.back().id(), CommandId::heartbeat) << "nothing is answered";
    pc.write(command_frame(1, "to myself", 6));
    world.settle();
    EXPECT_EQ(commands(own).back(), "1>1:to myself");
    EXPECT_TRUE(commands(pc).empty());
    EXPECT_TRUE(sessions(world, bob).empty());
    EXPECT_EQ(unread(world, bob), 0u);
    for (Client* client : {&pc, &own, &bob, &phone, &stranger}) client->socket.finish();
    world.settle();
    pc.frames.clear();
  }
}

TEST_P(People, CommandsAndMessagesShareOnePace) {
  Options o                 = options();
  o.limits.sends_per_second = 20;
  World world(o);
  Client& alice = world.enter(1);
  Client& bob   = world.enter(2);
  for (uint16_t i = 1; i <= 60; ++i)
    alice.write(i % 2 ? command_frame(2, std::to_string(i), i)
                      : chat_frame(2, std::to_string(i), i));
  world.settle();
  const auto passed = [&] { return commands(bob).size() + bob.deliveries().size(); };
  EXPECT_LE(passed(), 21u);
  world.advance_s(1);
  EXPECT_LE(passed(), 42u);
  EXPECT_GE(passed(), 36u);
  world.advance_s(2);
  EXPECT_EQ(commands(bob).size(), 30u) << "nothing is dropped";
  EXPECT_EQ(bob.deliveries().size(), 30u);
  EXPECT_EQ(alice.acks().size(), 30u);
}

// --- hello and refusals -----------------------------------------------------------------------------------

TEST_P(People, HelloIsAnswered) {
  World world(options());
  Client& alice = world.enter(1);
  auto answer   = hello(world, alice);
  EXPECT_EQ(answer.result_code(), 0u);
  EXPECT_EQ(answer.ext_version(), 1u);
  EXPECT_EQ(answer.features() & ~63u, 0u);
  EXPECT_LE(answer.max_pdu(), 400 * kKiB);
  EXPECT_EQ(hello(world, alice, 0).features(), 0u);
  EXPECT_EQ(hello(world, alice, 0xffffffc0).features(), 0u);
  EXPECT_EQ(hello(world, alice, 63, 9).ext_version(), 1u) << "a newer client";
  EXPECT_NE(hello(world, alice, 63, 0).result_code(), 0u);
}

TEST_P(People, RefusalsAreToldToWhoSaidHello) {
  World world(options());
  patch(world, 6, {.status = store::kUserLeft});
  for (uint32_t i = 0; i < world.shards(); ++i)
    world.seat(i).shard->context().directory.set(UserId(6), store::kUserLeft);
  Client& stock = world.enter(1, kPhone);
  Client& ext   = world.enter(1, kWindows);
  Client& bob   = world.enter(2);
  hello(world, ext);
  hello(world, ext, 63, 0);  // refused, but the first one counts
  struct Case {
    uint32_t to;
    std::string text;
    uint32_t type;
    uint32_t result;
  };
  const std::vector<Case> cases = {
      {2, "", 1, 1},
      {2, std::string(4, 'x'), 2, 1},
      {1, "self", 1, 1},
      {2, "\xff", 1, 1},
      {2, std::string(4097, 't'), 1, 8},
      {2, std::string(16'385, 't'), 1, 8},
      {99, "x", 1, 3},
      {0, "x", 1, 3},
      {~0u, "x", 1, 3},
      {6, "who left", 1, 3},
      {2, "group", 17, 3},
  };
  uint16_t sequence = 100;
  std::vector<std::string> expected;
  for (const Case& c : cases) {
    ++sequence;
    for (Client* client : {&stock, &ext})
      client->write(chat_frame(c.to, c.text, sequence, {}, c.type));
    expected.push_back("769:" + std::to_string(sequence) + ":" + std::to_string(c.result));
  }
  ext.write(command_frame(99, "x", 200) + command_frame(2, std::string(4097, 'x'), 201) +
            command_frame(2, "\xff", 202));
  expected.insert(expected.end(), {"1537:200:3", "1537:201:8", "1537:202:1"});
  ext.write(chat_frame(2, "keyed", 300, "key"));
  world.settle();
  ext.write(chat_frame(2, "otherwise", 301, "key"));
  expected.push_back("769:301:7");
  ext.write(raw_frame(0x0999, 302, "x") + raw_frame(0x0304, 303, "") +
            raw_frame(0x0301, 304, "\xff\xff"));  // ignored, not refused
  world.settle();
  EXPECT_EQ(errors(ext), expected);
  EXPECT_TRUE(errors(stock).empty());
  EXPECT_EQ(ext.acks(), (std::map<uint16_t, uint32_t>{{300, 1}}));
  EXPECT_TRUE(stock.acks().empty());
  EXPECT_EQ(bob.deliveries().size(), 1u);
  Client& again = world.enter(1, kWindows);  // a new connection has not said hello
  again.write(chat_frame(99, "x", 400));
  world.settle();
  EXPECT_TRUE(errors(again).empty());
}

TEST_P(People, AFullDiskIsToldToWhoSaidHello) {
  Options o                 = options();
  o.limits.send_decision_ms = 400;
  World world(o);
  Client& ext = world.enter(1);
  hello(world, ext);
  world.run_store_workers = false;  // the conversation's row does not come
  ext.write(chat_frame(2, "x", 10) + chat_frame(2, "x", 11));
  world.advance_s(1);
  EXPECT_EQ(errors(ext), (std::vector<std::string>{"769:10:2", "769:11:2"})) << "and who joined";
  world.run_store_workers = true;
  world.settle();
}

// --- devices ---------------------------------------------------------------------------------------------

TEST_P(People, ASessionIsKickedByItsClassOnlyAndClosedSoon) {
  World world(options());
  Client& ios = world.enter(1, kPhone);
  Client& pc  = world.enter(1, kWindows);
  Client& bob = world.enter(2);
  world.enter(1, kAndroid);
  EXPECT_EQ(ios.count(CommandId::kick_user), 1u);
  EXPECT_EQ(pc.count(CommandId::kick_user), 0u);
  // F8: whatever it sends now is dropped, also the new commands.
  IM::Buddy::IMRemoveSessionReq remove_request;
  remove_request.set_user_id(1);
  remove_request.set_session_type(kSingle);
  remove_request.set_session_id(2);
  ios.write(command_frame(2, "x", 1) + chat_frame(2, "x", 2) +
            frame(CommandId::remove_session_request, 3, remove_request));
  world.settle();
  EXPECT_TRUE(commands(bob).empty());
  EXPECT_TRUE(bob.deliveries().empty());
  EXPECT_EQ(ios.count(CommandId::remove_session_response), 0u);
  world.advance(5800 * kNsPerMs);
  EXPECT_FALSE(ios.is_open());
  EXPECT_TRUE(pc.is_open());
}

TEST_P(People, IdleLimitsAreExact) {
  World world(options());
  Client& pc     = world.enter(1, kWindows);
  Client& mobile = world.enter(1, kPhone);
  Client& alive  = world.enter(2, kMac);
  world.advance(100 * kNsPerS, kNsPerS);
  alive.write(heartbeat_frame());
  world.advance(19'900 * kNsPerMs, 100 * kNsPerMs);
  EXPECT_TRUE(pc.is_open());
  world.advance(2 * kNsPerS, 100 * kNsPerMs);
  EXPECT_FALSE(pc.is_open());
  world.advance(78 * kNsPerS, kNsPerS);
  alive.write(heartbeat_frame());
  world.advance(99'800 * kNsPerMs, 100 * kNsPerMs);
  EXPECT_TRUE(mobile.is_open());
  world.advance(2 * kNsPerS, 100 * kNsPerMs);
  EXPECT_FALSE(mobile.is_open());
  EXPECT_TRUE(alive.is_open());
}

TEST_P(People, StrangersGetNothing) {
  World world(options());
  for (const uint16_t command :
       {0x0201, 0x0204, 0x0206, 0x0208, 0x020a, 0x0210, 0x0401, 0x0601, 0x2001}) {
    Client& stranger = world.connect(command);
    stranger.write(raw_frame(command, 1, std::string("\x08\x01\x10\x01\x18\x01", 6)));
    world.settle();
    EXPECT_FALSE(stranger.is_open()) << command;
    EXPECT_TRUE(stranger.frames.empty());
  }
}

TEST_P(People, GarbageIsIgnoredAndTheTenthCloses) {
  World world(options());
  for (const uint16_t command :
       {0x0201, 0x0204, 0x0206, 0x0208, 0x020a, 0x0210, 0x0401, 0x0601, 0x2001}) {
    Client& client = world.enter(1);
    for (int i = 0; i < 9; ++i) client.write(raw_frame(command, 1, "\xff\xff\xff"));
    client.write(heartbeat_frame(2));
    world.settle();
    EXPECT_EQ(client.count(CommandId::heartbeat), 1u) << command;
    client.write(raw_frame(command, 1, ""));  // required fields are missing
    world.settle();
    EXPECT_FALSE(client.is_open()) << command;
  }
}

}  // namespace
}  // namespace ringtalk::sim
