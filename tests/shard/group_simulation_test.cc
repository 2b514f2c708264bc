// Groups under random logins, sends, changes, faults, sleeping shards and readers that do not read, against
// a model of what clients may rely on. A seed replays a run: RINGTALK_SEED=<seed> begins there.
//
// Walks are cut into slices of a few connections: much comes between two of them. What is most likely to go
// wrong is done on purpose: one user's logins and changes at once, and messages meanwhile.
//
//   surely in    from the answer to the change that brought him in to the asking for one that takes him out
//   surely out   the other way round; between them nothing is claimed
//
// Claims  A connection hears the messages of a group with rising ids, never one twice, never its own.
//         A message begun and acknowledged while a user was surely in, and his connection logged in, is
//         with it when all is quiet, or it was closed; one begun and acknowledged while he was surely out
//         never is. None is acknowledged to who was surely out all the while, and what is acknowledged to
//         who was taken out meanwhile comes before all that was begun after his removal.
//         Members in memory, in the store and in the model agree; a restart changes nothing, a member's
//         history begins with his first message and has no gap, whatever his connections missed, and unread
//         counts follow from the members' first messages and what they wrote.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "proto/group.pb.h"
#include "shard/groups.h"
#include "shard/membership.h"
#include "tests/shard/harness.h"

namespace ringtalk::sim {
namespace {

constexpr uint64_t kSeeds    = 200;
constexpr uint64_t kForever  = ~uint64_t{0};
constexpr uint32_t kGroupMsg = IM::BaseDefine::MSG_TYPE_GROUP_TEXT;
constexpr auto kGroup        = IM::BaseDefine::SESSION_TYPE_GROUP;
constexpr uint32_t kOwner    = 1;  // made every group and is in all of them, always

struct Message {
  uint32_t group = 0, author = 0;
  size_t by         = 0;  // connection
  uint64_t begun    = 0;
  uint64_t acked    = kForever;
  uint64_t begun_ns = 0;
  uint32_t id       = 0;  // 0: not known
};

struct Connection {
  enum class State : uint8_t { entering, open, over };
  Client* client;
  uint32_t user;
  bool phone;
  State state     = State::entering;
  uint64_t opened = kForever;
  size_t seen     = 0;  // frames
  uint16_t next   = 1;  // sequence
  std::map<uint16_t, size_t> sends{}, changes{};
  std::map<uint32_t, uint32_t> newest{};  // heard, by group
  std::set<size_t> heard{};               // messages
};

enum class Is : uint8_t { unknown, in, out };

struct Span {
  Is is;
  uint64_t from, to;
};

struct Membership {
  Is is        = Is::unknown;
  bool pending = false;  // a change of it was asked for
  uint32_t low = 0;      // ids up to here are from before he was added
  std::vector<Span> spans{};

  void begin(Is now, uint64_t at) {
    is = now;
    if (now != Is::unknown) spans.push_back({now, at, kForever});
  }
  void end(uint64_t at) {
    if (is != Is::unknown) spans.back().to = std::min(spans.back().to, at);
  }
  bool surely(Is what, uint64_t from, uint64_t to) const {
    return std::ranges::any_of(spans, [&](const Span& span) {
      return span.is == what && span.from <= from && to <= span.to;
    });
  }
};

struct Change {
  uint32_t group;
  bool add;
  std::vector<uint32_t> users;
  std::vector<Is> before;
  uint32_t low = 0;  // newest id that was acknowledged by then
  bool told    = false;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : random_(seed * 7919), world_(options(seed, random_)) {}

  uint64_t closed_slow() const { return closed_slow_; }

  void run() {
    make_groups();
    for (uint32_t round = 0; round < 3 && !testing::Test::HasFailure(); ++round) {
      for (uint32_t i = 0; i < 90; ++i) act();
      settle();
      check();
    }
    if (testing::Test::HasFailure()) return;
    closed_slow_ = world_.metric(Counter::close_slow_reader);
    world_.advance_s(2);
    if (below(2)) {
      world_.crash();
    } else {
      ASSERT_TRUE(world_.stop());
    }
    observe();
    world_.boot();
    check_after_restart();
  }

 private:
  uint64_t below(uint64_t bound) { return random_.below(bound); }
  bool chance(uint64_t in) { return below(in) == 0; }

  static Options options(uint64_t seed, engine::Random& random) {
    Options o;
    o.shards                     = 1 + static_cast<uint32_t>(seed % 4);
    o.users                      = 8 + static_cast<uint32_t>(random.below(5));
    o.seed                       = seed;
    o.limits.sends_per_second    = 0;
    o.limits.requests_per_second = 0;
    if (random.below(4))
      o.limits.group_pushes_per_turn = 1 + static_cast<uint32_t>(random.below(5));
    if (random.below(2)) o.limits.push_queue_bytes = 2 * kKiB;
    if (random.below(2))
      o.faults = {.short_count         = 100,
                  .lose_more           = 50,
                  .cancelled           = 20,
                  .reset               = 2,
                  .pass_enfile         = 50,
                  .no_buffers          = 30,
                  .delay               = 100,
                  .reorder             = true,
                  .file_latency_ns_max = 3 * kNsPerMs};
    return o;
  }

  // --- the world's side
  void make_groups() {
    const uint64_t count = 3 + below(3);
    for (uint64_t i = 0; i < count; ++i) {
      store::NewGroup group{.name = "g", .creator = UserId(kOwner), .members = {}};
      for (uint32_t user = 1; user <= world_.options.users; ++user)
        if (user == kOwner || below(2)) group.members.push_back(UserId(user));
      uint32_t id        = 0;
      const auto members = group.members;
      ASSERT_TRUE(world_.seat(0).store->add_group(
          std::move(group), [&](Result<store::Group> made) { id = raw(made->id); }));
      world_.settle();
      ASSERT_GT(id, 0u);
      groups_.push_back(id);
      for (uint32_t user = 1; user <= world_.options.users; ++user)
        members_[{id, user}].begin(
            std::ranges::find(members, UserId(user)) != members.end() ? Is::in : Is::out, now_);
      world_.seat(0).shard->groups().ask({.group = GroupId(id), .op = shard::GroupOp::open},
                                         [](Error, const engine::PayloadRef&) {});
    }
    world_.settle();
  }

  void act() {
    const uint64_t dice = below(100);
    if (dice < 12) {
      login(any_user());
    } else if (dice < 15) {
      leave();
    } else if (dice < 50) {
      send(any_group());
    } else if (dice < 65) {
      change(any_group(), {});
    } else if (dice < 72) {
      race();
    } else if (dice < 78) {
      stop_reading();
    } else if (dice < 82 && world_.shards() > 1) {
      auto& seat  = world_.seat(static_cast<uint32_t>(below(world_.shards())));
      seat.frozen = true;
    } else if (dice < 86) {
      world_.run_store_workers = false;
    } else if (dice < 91) {
      wake();
    } else {
      world_.clock.advance(below(20) * kNsPerMs);
    }
    steps(below(4));
    if (chance(8)) wake();
  }

  uint32_t any_user() { return static_cast<uint32_t>(1 + below(world_.options.users)); }
  uint32_t any_group() { return groups_[below(groups_.size())]; }

  void steps(uint64_t count) {
    for (; count > 0; --count) {
      world_.step();
      observe();
    }
  }

  // One user comes into a group, goes, and logs in, all at once, while others write there.
  void race() {
    const auto user      = static_cast<uint32_t>(2 + below(world_.options.users - 1));
    const uint32_t group = any_group();
    for (uint64_t count = 3 + below(6); count > 0; --count) {
      const uint64_t dice = below(8);
      if (dice < 2) {
        login(user);
      } else if (dice < 5) {
        change(group, user);
      } else {
        send(group);
      }
      if (chance(4)) {
        bool& frozen = world_.seat(world_.home(user)).frozen;
        frozen       = !frozen;
      }
      if (chance(6)) world_.run_store_workers = !world_.run_store_workers;
      steps(below(4));
    }
  }

  void stop_reading() {
    const auto open = open_ones();
    if (!open.empty()) connections_[open[below(open.size())]].client->reads = false;
  }

  void wake() {
    world_.run_store_workers = true;
    for (uint32_t shard = 0; shard < world_.shards(); ++shard)
      if (below(4)) world_.seat(shard).frozen = false;
    for (Connection& one : connections_)
      if (chance(4)) one.client->reads = true;
  }

  void settle() {
    world_.run_store_workers = true;
    for (uint32_t shard = 0; shard < world_.shards(); ++shard) world_.seat(shard).frozen = false;
    for (Connection& one : connections_) one.client->reads = true;
    quiet_ns_ = world_.clock.now_ns();
    world_.settle();
    world_.advance(400 * kNsPerMs, 100 * kNsPerMs);
    observe();
  }

  // Those in the state, newest last.
  std::vector<size_t> open_ones() const {
    std::vector<size_t> found;
    for (size_t i = 0; i < connections_.size(); ++i)
      if (connections_[i].state == Connection::State::open && connections_[i].client->is_open())
        found.push_back(i);
    return found;
  }

  void login(uint32_t user) {
    const bool phone = below(3) == 0;
    for (Connection& other : connections_)  // the newer one throws it out
      if (other.user == user && other.phone == phone) other.state = Connection::State::over;
    // What is not read waits with us, not in the kernel.
    const uint32_t window = chance(2) ? 512 : 65536;
    Client& client        = world_.connect(static_cast<uint32_t>(below(world_.shards())), window);
    client.user           = user;
    client.write(world_.login_of(user, phone ? kPhone : kWindows));
    connections_.push_back({.client = &client, .user = user, .phone = phone});
  }

  void leave() {
    const auto open = open_ones();
    if (open.empty()) return;
    Connection& one = connections_[open[below(open.size())]];
    one.state       = Connection::State::over;
    chance(2) ? one.client->socket.close() : one.client->write(raw_frame(0x0105, 9, ""));
  }

  void send(uint32_t group) {
    const auto open = open_ones();
    if (open.empty()) return;
    const size_t by = open[below(open.size())];
    Connection& one = connections_[by];
    // Mostly those who may.
    if (members_[{group, one.user}].is == Is::out && below(8)) return;
    for (uint64_t count = 1 + below(3); count > 0; --count) {
      const std::string text = "#" + std::to_string(messages_.size()) +
                               std::string(chance(5) ? below(3000) : below(20), '.');
      one.sends[one.next] = messages_.size();
      messages_.push_back({.group    = group,
                           .author   = one.user,
                           .by       = by,
                           .begun    = ++now_,
                           .begun_ns = world_.clock.now_ns()});
      one.client->write(chat_frame(group, text, one.next++, {}, kGroupMsg));
    }
  }

  // `who`: of this one; else of one to three.
  void change(uint32_t group, std::optional<uint32_t> who) {
    Change wanted{.group = group, .add = below(5) < 3, .users = {}, .before = {}, .low = 0};
    if (who) wanted.add = members_[{group, *who}].is == Is::out;
    for (uint64_t count = who ? 1 : 1 + below(3); count > 0; --count) {
      const auto user = who.value_or(static_cast<uint32_t>(2 + below(world_.options.users - 1)));
      if (!members_[{group, user}].pending &&
          std::ranges::find(wanted.users, user) == wanted.users.end())
        wanted.users.push_back(user);
    }
    if (wanted.users.empty()) return;
    const auto open     = open_ones();
    Connection* asker   = nullptr;
    const uint64_t kind = below(3);
    if (kind > 0 && !open.empty()) asker = &connections_[open[below(open.size())]];
    if (asker && kind == 1 && !who) {  // he goes
      if (asker->user == kOwner || members_[{group, asker->user}].pending) return;
      wanted.add   = false;
      wanted.users = {asker->user};
    }
    for (const uint32_t user : wanted.users) {
      Membership& one = members_[{group, user}];
      wanted.before.push_back(one.is);
      one.pending = true;
      if (one.is == (wanted.add ? Is::in : Is::out)) continue;  // nothing changes
      one.end(++now_);
    }
    wanted.low         = newest_[group];
    const size_t index = changes_.size();
    if (asker) {
      IM::Group::IMGroupChangeMemberReq request;
      request.set_user_id(0);
      request.set_change_type(wanted.add ? IM::BaseDefine::GROUP_MODIFY_TYPE_ADD
                                         : IM::BaseDefine::GROUP_MODIFY_TYPE_DEL);
      request.set_group_id(group);
      for (const uint32_t user : wanted.users) request.add_member_id_list(user);
      asker->changes[asker->next] = index;
      asker->client->write(frame(CommandId::group_change_member_request, asker->next++, request));
    } else {
      world_.seat(static_cast<uint32_t>(below(world_.shards())))
          .shard->groups()
          .ask({.group = GroupId(group),
                .value = 1000,
                .op    = wanted.add ? shard::GroupOp::add : shard::GroupOp::remove,
                .body  = engine::Payload::copy(std::as_bytes(std::span(wanted.users)))},
               [this, index](Error error, const engine::PayloadRef&) {
                 told_.push_back({index, error.code == Errc::ok});
               });
    }
    changes_.push_back(std::move(wanted));
    take_told();  // perhaps at once
  }

  // --- what is heard
  void take_told() {
    for (const auto& [index, done] : std::exchange(told_, {})) changed(index, done);
  }

  void changed(size_t index, bool done) {
    Change& change = changes_[index];
    EXPECT_FALSE(std::exchange(change.told, true)) << "answered twice";
    for (size_t i = 0; i < change.users.size(); ++i) {
      Membership& one = members_[{change.group, change.users[i]}];
      const Is after  = change.add ? Is::in : Is::out;
      one.pending     = false;
      if (change.before[i] == after) continue;
      one.begin(done ? after : change.before[i], ++now_);
      if (done && change.add && change.before[i] == Is::out) one.low = change.low;
    }
  }

  void observe() {
    take_told();
    for (size_t i = 0; i < connections_.size(); ++i) {
      Connection& one = connections_[i];
      for (; one.seen < one.client->frames.size(); ++one.seen)
        heard(i, one.client->frames[one.seen]);
      if (!one.client->is_open()) one.state = Connection::State::over;
    }
  }

  void heard(size_t index, const Frame& frame) {
    Connection& one = connections_[index];
    switch (frame.id()) {
      case CommandId::login_response:
        if (one.state != Connection::State::entering) break;
        if (frame.as<IM::Login::IMLoginRes>().result_code() == 0) {
          one.state  = Connection::State::open;
          one.opened = ++now_;
        }
        break;
      case CommandId::kick_user: one.state = Connection::State::over; break;
      case CommandId::msg_data_ack: {
        const auto ack   = proto::parse_message_ack(as_bytes(frame.body));
        Message& message = messages_[one.sends.at(frame.header.sequence)];
        EXPECT_EQ(message.acked, kForever) << "acknowledged twice";
        EXPECT_EQ(ack->session_id, message.group);
        message.acked          = ++now_;
        newest_[message.group] = std::max(newest_[message.group], ack->msg_id);
        has_id(one.sends.at(frame.header.sequence), ack->msg_id);
        break;
      }
      case CommandId::msg_data: {
        const auto m     = frame.as<IM::Message::IMMsgData>();
        const size_t at  = std::strtoull(m.msg_data().c_str() + 1, nullptr, 10);
        Message& message = messages_.at(at);
        EXPECT_EQ(m.to_session_id(), message.group);
        EXPECT_EQ(m.from_user_id(), message.author);
        EXPECT_NE(message.by, index) << "its own message";
        has_id(at, m.msg_id());
        uint32_t& newest = one.newest[message.group];
        EXPECT_GT(m.msg_id(), newest) << "twice, or out of order, to user " << one.user;
        newest = m.msg_id();
        one.heard.insert(at);
        break;
      }
      case CommandId::group_change_member_response:
        changed(one.changes.at(frame.header.sequence),
                frame.as<IM::Group::IMGroupChangeMemberRsp>().result_code() == 0);
        break;
      default: break;
    }
  }

  void has_id(size_t message, uint32_t id) {
    Message& one = messages_[message];
    if (one.id == 0) one.id = id;
    EXPECT_EQ(one.id, id) << "two ids for one message";
    EXPECT_EQ(ids_[one.group].try_emplace(id, message).first->second, message)
        << "an id for two messages";
  }

  // --- what must be true when all is quiet
  std::map<uint32_t, uint32_t> rows_of(uint32_t group) {  // first by user
    std::map<uint32_t, uint32_t> found;
    EXPECT_TRUE(world_.seat(0).store->list_members(GroupId(group), UserId{}, 1000,
                                                   [&](Result<std::vector<store::Member>> rows) {
                                                     for (const store::Member& row : *rows)
                                                       found[raw(row.user)] = row.first;
                                                   }));
    world_.settle();
    return found;
  }

  void check() {
    // A change whose asker went away may have been made or not: the store knows.
    for (Change& change : changes_) {
      if (std::exchange(change.told, true)) continue;
      for (const uint32_t user : change.users) {
        Membership& one = members_[{change.group, user}];
        one.end(now_);
        one.pending = false;
        one.is      = Is::unknown;
      }
    }
    for (const Connection& one : connections_) {
      if (one.state != Connection::State::open) continue;
      EXPECT_EQ(one.client->count(CommandId::group_change_member_response), one.changes.size())
          << "a change without answer";
    }
    for (const uint32_t group : groups_) check_members(group, rows_of(group));
    for (size_t i = 0; i < connections_.size(); ++i) check_heard(i);
    for (const Message& message : messages_) {
      const Membership& author = members_[{message.group, message.author}];
      if (message.acked != kForever) {
        EXPECT_FALSE(author.surely(Is::out, message.begun, message.acked))
            << "a stranger's message " << message.id << " to group " << message.group;
        check_not_behind_his_removal(message);
      }
      const bool open = connections_[message.by].state == Connection::State::open;
      if (!open || message.acked != kForever || quiet_ns_ - message.begun_ns > 3 * kNsPerS)
        continue;
      EXPECT_FALSE(author.surely(Is::in, message.begun, now_))
          << "a send without answer: message " << &message - messages_.data() << " of user "
          << message.author << " to group " << message.group;
      EXPECT_EQ(message.id, 0u) << "delivered, not acknowledged";
    }
  }

  // What he began before he was surely out may still be stored, but not behind what was begun after that.
  void check_not_behind_his_removal(const Message& message) {
    for (const Span& span : members_[{message.group, message.author}].spans) {
      if (span.is != Is::out || message.acked < span.from || message.acked > span.to) continue;
      for (const Message& other : messages_)
        if (other.group == message.group && other.begun > span.from && other.id != 0) {
          EXPECT_LT(message.id, other.id)
              << "user " << message.author << " wrote behind his removal";
        }
    }
  }

  void check_members(uint32_t group, const std::map<uint32_t, uint32_t>& rows) {
    for (uint32_t user = 1; user <= world_.options.users; ++user) {
      SCOPED_TRACE("user " + std::to_string(user) + " of group " + std::to_string(group));
      Membership& one = members_[{group, user}];
      const auto row  = rows.find(user);
      const Is stored = row != rows.end() ? Is::in : Is::out;
      if (one.is == Is::unknown) {
        one.begin(stored, ++now_);
      } else {
        EXPECT_EQ(static_cast<int>(one.is), static_cast<int>(stored));
      }
      if (row != rows.end()) {
        EXPECT_GT(row->second, one.low);
      }
      const bool online = std::ranges::any_of(connections_, [&](const Connection& c) {
        return c.user == user && c.state == Connection::State::open;
      });
      if (!online) continue;
      auto& memory            = *world_.seat(world_.home(user)).shard->context().memberships;
      const shard::Held* held = memory.find(UserId(user), GroupId(group));
      EXPECT_EQ(held != nullptr, row != rows.end()) << "memory and store";
      if (held && row != rows.end()) {
        EXPECT_EQ(held->first, row->second);
      }
    }
  }

  void check_heard(size_t index) {
    const Connection& one = connections_[index];
    for (size_t at = 0; at < messages_.size(); ++at) {
      const Message& message = messages_[at];
      const Membership& in   = members_[{message.group, one.user}];
      if (one.heard.contains(at)) {
        EXPECT_FALSE(in.surely(Is::out, message.begun, message.acked))
            << "user " << one.user << " heard message " << message.id << " of group "
            << message.group;
      } else if (one.state == Connection::State::open && message.by != index &&
                 message.acked != kForever && one.opened < message.begun) {
        EXPECT_FALSE(in.surely(Is::in, message.begun, message.acked))
            << "user " << one.user << " missed message " << message.id << " of group "
            << message.group;
      }
    }
  }

  void check_after_restart() {
    std::map<uint32_t, std::map<uint32_t, uint32_t>> rows;
    std::map<uint32_t, std::map<uint32_t, uint32_t>> wrote;  // newest by group and author
    std::map<uint32_t, uint32_t> heads;
    Client& owner = enter(kOwner);
    for (const uint32_t group : groups_) {
      rows[group] = rows_of(group);
      check_members(group, rows[group]);
      const auto c       = ConversationId::group(GroupId(group));
      const uint32_t now = world_.seat(shard::home(c, world_.shards())).store->head(c).newest;
      heads[group]       = now;
      EXPECT_GE(now, newest_[group]) << "acknowledged, and gone";
      std::set<uint32_t> ids;
      for (uint32_t from = now; from > 0;) {
        const auto part = page(owner, group, from);
        if (part.msg_list_size() == 0) break;
        for (const auto& info : part.msg_list()) {
          EXPECT_TRUE(ids.insert(info.msg_id()).second);
          const size_t at = std::strtoull(info.msg_data().c_str() + 1, nullptr, 10);
          EXPECT_EQ(messages_.at(at).group, group);
          has_id(at, info.msg_id());
          uint32_t& newest = wrote[group][messages_[at].author];
          newest           = std::max(newest, info.msg_id());
        }
        from = *ids.begin() - 1;
      }
      EXPECT_EQ(ids.size(), now) << "ids without a gap";
      for (const auto& [id, _] : ids_[group]) EXPECT_LE(id, now) << "delivered, and gone";
    }
    for (uint32_t user = 1; user <= world_.options.users; ++user) {
      Client& client = user == kOwner ? owner : enter(user);
      std::map<uint32_t, uint32_t> want;
      for (const uint32_t group : groups_) {
        const auto row = rows[group].find(user);
        if (row == rows[group].end()) continue;
        const uint32_t read = std::max(row->second - 1, wrote[group][user]);
        if (heads[group] > read) want[group] = heads[group] - read;
        std::vector<uint32_t> visible, listed;
        for (uint32_t id = heads[group]; id >= row->second && visible.size() < 100; --id)
          visible.push_back(id);
        if (visible.empty()) continue;
        const auto newest = page(client, group, 0);
        for (const auto& info : newest.msg_list()) listed.push_back(info.msg_id());
        std::ranges::sort(listed, std::greater());
        EXPECT_EQ(listed, visible) << "history of user " << user << " in group " << group;
      }
      IM::Message::IMUnreadMsgCntReq request;
      request.set_user_id(0);
      const auto found = ask<IM::Message::IMUnreadMsgCntRsp>(
          client, CommandId::unread_msg_cnt_request, request, CommandId::unread_msg_cnt_response);
      std::map<uint32_t, uint32_t> got;
      for (const auto& info : found.unreadinfo_list()) got[info.session_id()] = info.unread_cnt();
      EXPECT_EQ(got, want) << "unread of user " << user;
    }
  }

  // A reset may break any one try.
  Client& enter(uint32_t user) {
    for (int i = 0;; ++i) {
      Client& client = world_.connect(user);
      client.user    = user;
      client.write(world_.login_of(user));
      world_.settle();
      if (i > 20 || world_.result_of_login(client) == 0) return client;
    }
  }
  template <class M>
  M ask(Client& client, CommandId request, const google::protobuf::MessageLite& body,
        CommandId response) {
    Client* by = &client;
    for (int i = 0; i < 20; ++i) {
      if (!by->is_open()) by = &enter(client.user);
      const size_t before = by->count(response);
      by->write(frame(request, 7, body));
      world_.settle();
      if (by->count(response) > before) return by->all(response).back()->as<M>();
    }
    ADD_FAILURE() << "no answer";
    return {};
  }
  IM::Message::IMGetMsgListRsp page(Client& client, uint32_t group, uint32_t from) {
    IM::Message::IMGetMsgListReq request;
    request.set_user_id(0);
    request.set_session_type(kGroup);
    request.set_session_id(group);
    request.set_msg_id_begin(from);
    request.set_msg_cnt(100);
    return ask<IM::Message::IMGetMsgListRsp>(client, CommandId::get_msg_list_request, request,
                                             CommandId::get_msg_list_response);
  }

  engine::SeededRandom random_;
  World world_;
  uint64_t now_         = 1;  // rises with everything that is done or heard
  uint64_t quiet_ns_    = 0;
  uint64_t closed_slow_ = 0;
  std::vector<uint32_t> groups_;
  std::vector<Connection> connections_;
  std::vector<Message> messages_;
  std::vector<Change> changes_;
  std::vector<std::pair<size_t, bool>> told_;                    // by the groups' homes
  std::map<std::pair<uint32_t, uint32_t>, Membership> members_;  // by group and user
  std::map<uint32_t, std::map<uint32_t, size_t>> ids_;           // message by group and id
  std::map<uint32_t, uint32_t> newest_;                          // acknowledged, by group
};

TEST(GroupSimulation, TheModelHolds) {
  const char* given    = std::getenv("RINGTALK_SEED");
  const uint64_t first = given ? std::strtoull(given, nullptr, 10) : 1;
  uint64_t closed_slow = 0;
  for (uint64_t seed = first; seed < first + kSeeds && !HasFailure(); ++seed) {
    SCOPED_TRACE("RINGTALK_SEED=" + std::to_string(seed));
    Simulation simulation(seed);
    simulation.run();
    closed_slow += simulation.closed_slow();
  }
  EXPECT_GT(closed_slow, 0u) << "nobody was slow enough to be closed";
}

}  // namespace
}  // namespace ringtalk::sim
