// callgrind_chat: a fixed number of messages through the whole server on fake rings and disks.
//
// Question      How many instructions does a message cost, stage by stage? Counted by valgrind, which knows
//               no io_uring: so the kernel is the simulator's (tests/shard/harness.h).
// Method        Users in pairs send --window messages each, then everything settles: acknowledged, pushed,
//               the push confirmed by its receiver. bench/profile.py counts only what happens in
//               counted_exchange(): start, first messages and end are outside. The same arguments give the
//               same instructions, on any machine.
// What misleads The fake ring and disk copy and queue in place of the kernel; profile.py shows them apart.
// Exit code     0 every message was acknowledged and delivered, 1 not.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench/flags.h"
#include "tests/shard/harness.h"

namespace ringtalk::bench {
namespace {

constexpr uint32_t kUsers = 32;

struct Sender {
  sim::Client* client;
  uint32_t user, partner;
  uint16_t sequence = 1;
};

// Receivers confirm each push, as clients do.
std::string confirmations(const sim::Client& client, uint32_t user) {
  std::string out;
  for (const sim::Frame& frame : client.frames) {
    if (frame.id() != proto::CommandId::msg_data) continue;
    const auto push = proto::parse_message_data(as_bytes(frame.body));
    if (!push) continue;
    const proto::MessageAck ack{
        .user_id = user, .session_id = push->from_user_id, .msg_id = push->msg_id};
    std::string bytes(proto::message_ack_bytes(ack), '\0');
    proto::encode_message_ack(std::as_writable_bytes(std::span(bytes)), 0, ack);
    out += bytes;
  }
  return out;
}

struct Exchange {
  sim::World& world;
  std::vector<Sender> senders;
  std::string text;
  uint64_t sent = 0, acked = 0, pushed = 0;

  // Everybody sends `window` messages; then all of them are acknowledged, delivered and confirmed.
  void round(uint32_t window) {
    for (Sender& sender : senders) {
      sender.client->frames.clear();
      std::string burst;
      for (uint32_t i = 0; i < window; ++i, ++sent) {
        if (++sender.sequence == 0) sender.sequence = 1;
        burst += sim::chat_frame(sender.partner, text + std::to_string(sent), sender.sequence);
      }
      sender.client->write(burst);
    }
    world.settle();
    for (Sender& sender : senders) {
      acked += sender.client->count(proto::CommandId::msg_data_ack);
      pushed += sender.client->count(proto::CommandId::msg_data);
      sender.client->write(confirmations(*sender.client, sender.user));
    }
    world.settle();
  }
};

}  // namespace

// Not inlined, with a name that valgrind's --toggle-collect can be given: only what happens in it counts.
[[gnu::noinline]] void counted_exchange(void* exchange, uint32_t messages, uint32_t window) {
  Exchange& e = *static_cast<Exchange*>(exchange);
  for (const uint64_t end = e.sent + messages; e.sent < end;) e.round(window);
}

namespace {

int run(uint32_t messages, uint32_t window, uint32_t payload, uint32_t shards) {
  sim::Options options{.shards = shards, .users = kUsers, .slots = 128, .buffers = 128};
  options.limits.sends_per_second    = 0;
  options.limits.requests_per_second = 0;
  sim::World world(options);
  Exchange exchange{.world = world, .senders = {}, .text = std::string(payload, 'm')};
  for (uint32_t user = 1; user <= kUsers; ++user) {
    sim::Client& client = world.enter(user, sim::kWindows, {}, 1 << 20);
    exchange.senders.push_back({&client, user, user % 2 ? user + 1 : user - 1});
  }
  exchange.round(window);  // conversations are made, buffers grow
  const uint64_t before = exchange.sent;
  counted_exchange(&exchange, messages, window);
  const auto count = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  std::printf("{\"messages\": %llu, \"acknowledged\": %llu, \"delivered\": %llu}\n",
              count(exchange.sent - before), count(exchange.acked - before),
              count(exchange.pushed - before));
  return exchange.acked == exchange.sent && exchange.pushed == exchange.sent ? 0 : 1;
}

}  // namespace
}  // namespace ringtalk::bench

int main(int argc, char** argv) {
  const ringtalk::bench::Flags flags(argc, argv,
                                     {{"--messages", "at least (1024)"},
                                      {"--window", "unacknowledged per user (1)"},
                                      {"--payload", "bytes per body (100)"},
                                      {"--shards", "(1)"}});
  return ringtalk::bench::run(flags.number<uint32_t>("--messages", 1024),
                              std::max(1u, flags.number<uint32_t>("--window", 1)),
                              flags.number<uint32_t>("--payload", 100),
                              std::max(1u, flags.number<uint32_t>("--shards", 1)));
}
