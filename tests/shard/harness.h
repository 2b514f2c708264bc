// World: a whole server without threads: N shards, their doors, both stores, on fake rings and disks,
// with scripted clients at the far end of fake sockets. One seed replays everything.
//
//   step()      one turn of every shard, then the workers, then the clients read
//   settle()    steps until nothing moves any more; the clock stands unless a file operation is due
//   advance()   lets time pass in small pieces, settling after each
//   crash()     the power goes: what was not synced may be gone; boot() starts the next process
//   stop()      SIGTERM: drains, seals, closes
//
// Lifetime  A crashed process is kept, unused, until the end: its objects assert an orderly farewell
//           that a crash does not give.
#pragma once

#include <google/protobuf/message_lite.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/fake_disk.h"
#include "engine/fake_ring.h"
#include "engine/log.h"
#include "gateway/shard_gateway.h"
#include "proto/encode.h"
#include "proto/frame.h"
#include "proto/login.pb.h"
#include "proto/message.pb.h"
#include "proto/message_view.h"
#include "proto/parse.h"
#include "shard/shard.h"
#include "store/embedded/embedded_store.h"
#include "store/embedded/format.h"
#include "store/embedded/relational.h"
#include "store/embedded/sqlite_vfs.h"

namespace ringtalk::sim {

using engine::Counter;
using proto::CommandId;

inline constexpr uint8_t kWindows = 0x01, kMac = 0x02, kPhone = 0x11, kAndroid = 0x12;
inline constexpr char kPassword[] = "correct horse";  // of user "pass"
inline constexpr char kAdminToken[] =
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

// --- frames ------------------------------------------------------------------------------------------

inline std::string frame(CommandId command, uint16_t sequence,
                         const google::protobuf::MessageLite& message) {
  std::string bytes(proto::encoded_size(message), '\0');
  proto::encode_frame(std::as_writable_bytes(std::span(bytes)), command, sequence, message);
  return bytes;
}

// Any body under any number: what no honest client sends.
inline std::string raw_frame(uint16_t command, uint16_t sequence, std::string_view body,
                             std::optional<uint32_t> length = {}) {
  std::string bytes(proto::kHeaderBytes, '\0');
  const uint32_t real = static_cast<uint32_t>(proto::kHeaderBytes + body.size());
  proto::encode_header(reinterpret_cast<std::byte*>(bytes.data()),
                       {.length   = length.value_or(real),
                        .service  = static_cast<uint16_t>(command >> 8),
                        .command  = command,
                        .sequence = sequence});
  return bytes.append(body);
}

inline std::string login_frame(std::string_view name, std::string_view password,
                               uint8_t client_type = kWindows, uint16_t sequence = 1) {
  IM::Login::IMLoginReq request;
  request.set_user_name(std::string(name));
  request.set_password(std::string(password));
  request.set_online_status(IM::BaseDefine::USER_STATUS_ONLINE);
  request.set_client_type(static_cast<IM::BaseDefine::ClientType>(client_type));
  return frame(CommandId::login_request, sequence, request);
}

inline std::string chat_frame(uint32_t to, std::string_view text, uint16_t sequence,
                              std::optional<std::string> client_id = {}, uint32_t type = 1,
                              uint32_t claimed_from = 0) {
  IM::Message::IMMsgData message;
  message.set_from_user_id(claimed_from);
  message.set_to_session_id(to);
  message.set_msg_id(0);
  message.set_create_time(0);
  message.set_msg_type(static_cast<IM::BaseDefine::MsgType>(type));
  message.set_msg_data(std::string(text));
  if (client_id) message.set_client_msg_id(*client_id);
  return frame(CommandId::msg_data, sequence, message);
}

inline std::string page_frame(uint32_t peer, uint32_t from, uint32_t count, uint16_t sequence) {
  IM::Message::IMGetMsgListReq request;
  request.set_user_id(0);
  request.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
  request.set_session_id(peer);
  request.set_msg_id_begin(from);
  request.set_msg_cnt(count);
  return frame(CommandId::get_msg_list_request, sequence, request);
}

inline std::string heartbeat_frame(uint16_t sequence = 0) {
  return raw_frame(0x0701, sequence, "");
}

// --- clients -----------------------------------------------------------------------------------------

struct Frame {
  proto::FrameHeader header;
  std::string body;

  CommandId id() const { return header.id(); }
  template <class M>
  M as() const {
    M message;
    EXPECT_TRUE(message.ParseFromString(body)) << "a frame that old clients could not read";
    return message;
  }
};

struct Delivery {
  uint32_t from, to, msg_id, time;
  std::string text;
};

class Client {
 public:
  explicit Client(engine::FakeClient s) : socket(std::move(s)) {}

  void write(std::string_view bytes) { socket.write(bytes); }
  bool is_open() const { return socket.end() == engine::FakeClient::End::open; }

  // Returns what was read.
  std::string poll() {
    if (!reads) return {};
    std::string got = socket.read();
    rest += got;
    size_t at = 0;
    while (at < rest.size()) {
      const auto split =
          proto::split_frame(as_bytes(rest).subspan(at), proto::FrameLimits::from_server());
      if (split.status == proto::Split::Status::need_more) break;
      if (split.status != proto::Split::Status::frame) {
        ADD_FAILURE() << "the server sent something that is no frame";
        rest.clear();
        return got;
      }
      frames.push_back({split.header, std::string(as_text(split.body))});
      at += split.whole.size();
    }
    rest.erase(0, at);
    return got;
  }

  std::vector<const Frame*> all(CommandId command) const {
    std::vector<const Frame*> found;
    for (const Frame& f : frames)
      if (f.id() == command) found.push_back(&f);
    return found;
  }
  size_t count(CommandId command) const { return all(command).size(); }
  // id by sequence; a second acknowledgement of the same number must name the same id.
  std::map<uint16_t, uint32_t> acks() const {
    std::map<uint16_t, uint32_t> found;
    for (const Frame* f : all(CommandId::msg_data_ack)) {
      const auto ack = proto::parse_message_ack(as_bytes(f->body));
      EXPECT_TRUE(ack.has_value());
      if (!ack) continue;
      const auto [at, fresh] = found.emplace(f->header.sequence, ack->msg_id);
      EXPECT_EQ(at->second, ack->msg_id) << "two ids for one send";
    }
    return found;
  }
  std::vector<Delivery> deliveries() const {
    std::vector<Delivery> found;
    for (const Frame* f : all(CommandId::msg_data)) {
      EXPECT_EQ(f->header.sequence, 0) << "a push must not look like an answer";
      const auto m = f->as<IM::Message::IMMsgData>();
      EXPECT_FALSE(m.has_attach_data());
      EXPECT_FALSE(m.has_client_msg_id());
      found.push_back(
          {m.from_user_id(), m.to_session_id(), m.msg_id(), m.create_time(), m.msg_data()});
    }
    return found;
  }

  engine::FakeClient socket;
  std::string rest;
  std::vector<Frame> frames;
  bool reads    = true;
  uint32_t user = 0;
};

// --- the world ---------------------------------------------------------------------------------------

struct Options {
  uint32_t shards         = 1;
  uint32_t users          = 8;  // u1 … uN with ids 1 … N, then "pass" with a password
  bool password_user      = false;
  uint32_t slots          = 512;
  uint32_t buffers        = 256;
  uint32_t buffer_bytes   = 4096;
  uint64_t seed           = 1;
  bool http               = false;
  uint32_t password_queue = 64;
  engine::FakeFaults faults{};
  shard::Limits limits{};
};

class World {
 public:
  explicit World(Options o) : options(std::move(o)), random(options.seed) {
    engine::log::set_level(engine::log::Level::off);
    options.limits.repeat_window_bytes = 8 * kMiB;
    boot();
  }
  ~World() {
    if (process_) stop();
  }
  World(const World&) = delete;

  struct Seat {
    std::unique_ptr<engine::FakeRing> ring;
    engine::Metrics metrics;
    shard::LocalBus bus;
    std::unique_ptr<engine::Loop> loop;
    std::unique_ptr<shard::Shard> shard;
    std::unique_ptr<store::EmbeddedStore> store;
    std::unique_ptr<gateway::ShardGateway> gateway;
    int listener = -1;
    int http     = -1;
    bool frozen  = false;  // takes no turns
  };

  void boot() {
    static int processes = 0;
    process_             = std::make_unique<Process>();
    Process& p           = *process_;
    p.vfs = std::make_unique<store::SqliteVfs>("world" + std::to_string(++processes), sql_disk,
                                               clock, random);
    auto relational = store::Relational::open(
        {.path = "ringtalk.db", .vfs_name = p.vfs->name(), .shards = options.shards}, clock);
    ASSERT_TRUE(relational.has_value());
    p.relational = std::move(*relational);
    auto users   = p.relational->load_user_states();
    ASSERT_TRUE(users.has_value());
    if (users->empty() && options.users > 0) {
      add_users();
      users = p.relational->load_user_states();
    }
    auto stores = store::EmbeddedStores::open(
        {.homes = {
             options.shards, [](UserId user, uint32_t n) { return shard::home(user, n); },
             [](ConversationId conversation, uint32_t n) { return shard::home(conversation, n); }},
         .segment_bytes = 4 * kMiB,
         .seed          = 77,
         .relational    = p.relational.get()},
        log_disk, clock);
    ASSERT_TRUE(stores.has_value());
    p.stores = std::move(*stores);
    if (dummy_.empty()) dummy_ = *shard::dummy_hash(random);
    p.passwords = std::make_unique<shard::PasswordPool>(options.shards, 1, options.password_queue,
                                                        dummy_, random);
    p.lanes     = std::make_unique<engine::LaneMatrix<shard::Event>>(options.shards);
    for (uint32_t i = 0; i < options.shards; ++i) {
      Seat& s = *p.seats.emplace_back(std::make_unique<Seat>());
      s.ring  = std::make_unique<engine::FakeRing>(
          world, engine::FakeRing::Options{.slots        = options.slots,
                                            .buffers      = options.buffers,
                                            .buffer_bytes = options.buffer_bytes,
                                            .faults       = options.faults});
      s.loop = std::make_unique<engine::Loop>(*s.ring, clock, s.ring->bell(), s.metrics);
      p.lanes->reader(i).bell    = &s.ring->bell();
      p.lanes->reader(i).bell_fd = s.ring->bell_fd();
      s.listener                 = world.listen();
    }
    std::vector<int> bell_fds;
    for (auto& s : p.seats) bell_fds.push_back(s->ring->bell_fd());
    for (uint32_t i = 0; i < options.shards; ++i) {
      Seat& s = *p.seats[i];
      s.shard = std::make_unique<shard::Shard>(
          shard::Shard::Setup{.self    = i,
                              .shards  = options.shards,
                              .loop    = *s.loop,
                              .lanes   = *p.lanes,
                              .limits  = options.limits,
                              .login   = {*p.passwords, signer_, random, p.open_sessions},
                              .drain   = p.drain,
                              .bus     = s.bus,
                              .rosters = p.rosters});
      s.store   = p.stores->make(i, *s.ring, s.loop->metrics(), *s.shard);
      s.gateway = std::make_unique<gateway::ShardGateway>();
      s.shard->connect(*s.store, *s.gateway);
      for (const auto& user : *users) s.shard->context().directory.set(user.id, user.status);
      s.shard->messages().recover(p.stores->take_repeats(i));
      s.gateway->open({.loop     = *s.loop,
                       .shard    = *s.shard,
                       .limits   = options.limits,
                       .slots    = options.slots,
                       .bell_fds = bell_fds},
                      s.listener);
      if (i == 0 && options.http) {
        s.http = world.listen();
        gateway::HttpGateway::Setup http{
            .loop = *s.loop, .admin_token = kAdminToken, .drain = &p.drain};
        for (uint32_t n = 0; n < options.shards; ++n)
          http.metrics.push_back({std::to_string(n), &p.seats[n]->metrics});
        s.gateway->open_http(std::move(http), s.http, *s.shard, *p.passwords, signer_,
                             options.limits);
      }
    }
    settle();
  }

  uint32_t shards() const { return options.shards; }
  Seat& seat(uint32_t shard) { return *process_->seats[shard]; }
  uint32_t home(uint32_t user) const { return shard::home(UserId(user), options.shards); }
  uint64_t metric(Counter counter) const {
    uint64_t sum = 0;
    for (const auto& s : process_->seats) sum += s->metrics.value(counter);
    return sum;
  }
  size_t connections() const {
    size_t sum = 0;
    for (const auto& s : process_->seats) sum += s->ring->slots_used();
    return sum;
  }
  store::Head head(uint32_t a, uint32_t b) {
    const auto c = ConversationId::single(UserId(a), UserId(b));
    return seat(shard::home(c, options.shards)).store->head(c);
  }

  // --- time
  bool step() {
    bool moved = false;
    for (auto& s : process_->seats) {
      if (s->frozen) continue;
      moved |= s->ring->ready() || s->shard->work_waits() || !s->shard->context().stalled.empty();
      s->loop->turn(/*may_sleep=*/false);
    }
    if (run_store_workers) {
      moved |= process_->stores->run_workers() > 0;
      moved |= process_->relational->run_some() > 0;
    }
    if (run_passwords) moved |= process_->passwords->run_some() > 0;
    for (Client& client : clients) {
      const std::string got = client.poll();
      if (got.empty()) continue;
      moved = true;
      trace = XXH3_64bits_withSeed(got.data(), got.size(), trace);
    }
    return moved;
  }

  void settle(uint32_t steps_max = 100'000) {
    uint32_t quiet = 0;
    for (uint32_t i = 0; i < steps_max; ++i) {
      quiet = step() ? 0 : quiet + 1;
      if (quiet < 4) continue;
      const uint64_t due = world.next_due_ns();
      if (due == ~uint64_t{0} || due <= clock.now_ns()) return;
      clock.advance(due - clock.now_ns());
      quiet = 0;
    }
    ADD_FAILURE() << "the world does not come to rest";
  }

  void advance(uint64_t ns, uint64_t piece_ns = 20 * kNsPerMs) {
    while (ns > 0) {
      const uint64_t now = std::min(ns, piece_ns);
      clock.advance(now);
      ns -= now;
      settle();
    }
  }
  void advance_s(uint64_t seconds) { advance(seconds * kNsPerS); }

  // --- clients
  Client& connect(uint32_t shard, uint32_t window = 65536, uint32_t address = 0x7f000001) {
    return clients.emplace_back(
        world.connect(seat(shard % options.shards).listener, address, window));
  }
  engine::FakeClient connect_http(uint32_t address = 0x7f000001) {
    return world.connect(seat(0).http, address);
  }
  std::string token(uint32_t user, uint64_t hours = 24) {
    return "token:" + signer_.mint({UserId(user), 0, clock.wall_ns() / kNsPerS + hours * 3600});
  }
  static std::string name(uint32_t user) { return "u" + std::to_string(user); }
  std::string login_of(uint32_t user, uint8_t type = kWindows, uint16_t sequence = 1) {
    return login_frame(name(user), token(user), type, sequence);
  }
  // -1: no answer.
  int result_of_login(const Client& client) const {
    const auto answers = client.all(CommandId::login_response);
    if (answers.empty()) return -1;
    EXPECT_EQ(answers.size(), 1u);
    return answers[0]->as<IM::Login::IMLoginRes>().result_code();
  }
  // Logged in and at home. `through`: the shard whose door it knocks at.
  Client& enter(uint32_t user, uint8_t type = kWindows, std::optional<uint32_t> through = {},
                uint32_t window = 65536) {
    Client& client = connect(through.value_or(user), window);
    client.write(login_of(user, type));
    settle();
    EXPECT_EQ(result_of_login(client), 0);
    client.user = user;
    return client;
  }
  // The newest messages, newest first.
  std::vector<IM::BaseDefine::MsgInfo> page(Client& client, uint32_t peer, uint32_t from = 0,
                                            uint32_t count = 100) {
    const size_t before = client.count(CommandId::get_msg_list_response);
    client.write(page_frame(peer, from, count, 0xff01));
    settle();
    const auto answers = client.all(CommandId::get_msg_list_response);
    EXPECT_EQ(answers.size(), before + 1);
    if (answers.size() <= before) return {};
    EXPECT_EQ(answers.back()->header.sequence, 0xff01);
    const auto response = answers.back()->as<IM::Message::IMGetMsgListRsp>();
    return {response.msg_list().begin(), response.msg_list().end()};
  }
  std::vector<IM::BaseDefine::MsgInfo> history(Client& client, uint32_t peer) {
    std::vector<IM::BaseDefine::MsgInfo> all;
    for (uint32_t from = 0;;) {
      auto part = page(client, peer, from, 100);
      all.insert(all.end(), part.begin(), part.end());
      if (part.empty() || part.back().msg_id() == 1) return all;
      from = part.back().msg_id() - 1;
    }
  }

  // --- ends
  void crash() {
    for (auto& s : process_->seats) {
      world.close_listener(s->listener);
      if (s->http >= 0) world.close_listener(s->http);
      s->ring.reset();
    }
    for (Client& client : clients) client.poll();
    graveyard().push_back(std::move(process_));
    log_disk.crash(random);
    sql_disk.crash(random);
  }

  // True: every shard finished and everything is home.
  bool stop() {
    Process& p = *process_;
    for (auto& s : p.seats) {
      s->frozen = false;
      for (size_t op = 0; op < engine::kFakeOps; ++op) s->ring->release(engine::FakeOp(op));
    }
    run_store_workers = run_passwords = true;
    p.drain.asked.store(true);
    const auto finished = [&] {
      return std::ranges::all_of(p.seats, [](const auto& s) { return s->shard->finished(); });
    };
    for (int i = 0; i < 3000 && !finished(); ++i) {
      if (i == 1500) p.drain.hurry.store(true);
      step();
      clock.advance(10 * kNsPerMs);
    }
    const bool done = finished();
    EXPECT_TRUE(done) << "the drain does not end";
    if (!done) {
      graveyard().push_back(std::move(process_));
      return false;
    }
    for (auto& s : p.seats) {
      EXPECT_EQ(s->ring->buffers_lent(), 0u) << "receive buffers leak";
      EXPECT_EQ(s->loop->blocks().out_bytes(), 0u) << "send blocks leak";
      EXPECT_EQ(s->shard->context().sessions.count(), 0u);
      s->gateway.reset();
      s->store.reset();
      s->shard.reset();
      s->loop.reset();
      s->ring.reset();
    }
    EXPECT_TRUE(p.stores->close().has_value());
    process_.reset();
    return true;
  }

  Options options;
  engine::FakeClock clock;
  engine::SeededRandom random;
  engine::FakeDisk log_disk, sql_disk;
  engine::FakeWorld world{clock, &log_disk, options.seed};
  std::deque<Client> clients;
  uint64_t trace         = 0;  // of everything that clients received, in order
  bool run_store_workers = true;
  bool run_passwords     = true;

 private:
  struct Process {
    std::unique_ptr<store::SqliteVfs> vfs;
    std::unique_ptr<store::Relational> relational;
    std::unique_ptr<store::EmbeddedStores> stores;
    std::unique_ptr<shard::PasswordPool> passwords;
    std::unique_ptr<engine::LaneMatrix<shard::Event>> lanes;
    shard::DrainState drain;
    std::atomic<uint32_t> open_sessions{0};
    shard::Rosters rosters;
    std::vector<std::unique_ptr<Seat>> seats;
  };
  static std::vector<std::unique_ptr<Process>>& graveyard() {
    static auto& dead = *new std::vector<std::unique_ptr<Process>>;
    return dead;
  }

  void add_users() {
    std::vector<store::NewUser> list;
    for (uint32_t id = 1; id <= options.users; ++id)
      list.push_back({.name = name(id), .nick = name(id)});
    if (options.password_user) {
      auto hash = shard::argon2id_hash(shard::md5hex_of(kPassword), random);
      list.push_back({.name = "pass", .nick = "pass", .password = *hash});
    }
    bool added = false;
    ASSERT_TRUE(process_->relational->add_users(0, std::move(list),
                                                [&](Result<std::vector<store::User>> got) {
                                                  added = got.has_value() && raw((*got)[0].id) == 1;
                                                }));
    process_->relational->run_some();
    process_->relational->collect(0);
    ASSERT_TRUE(added);
  }

  const shard::TokenSigner signer_{shard::SecretKey{std::byte{7}}};
  std::string dummy_;
  std::unique_ptr<Process> process_;
};

}  // namespace ringtalk::sim
