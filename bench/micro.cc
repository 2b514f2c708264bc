// bench_micro: the hot parts of the message path, one by one (google-benchmark).
//
// Question      What does each step of a message cost by itself, and where does a change show first?
// Method        Each benchmark works through a rotation of inputs that is larger than a branch predictor
//               learns by heart; where a table's size matters it is the argument, because a small one
//               measures the cache only.
// What misleads A loop that does nothing else keeps its lines in the nearest cache; in a running server
//               the kernel's work lies between two calls. `./dev bench profile` shows those costs.
// Output        google-benchmark's; run.py writes it to build/bench/micro.json.
#include <benchmark/benchmark.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/block_pool.h"
#include "engine/fake_ring.h"
#include "engine/mailbox.h"
#include "engine/random.h"
#include "engine/send_queue.h"
#include "engine/spsc_queue.h"
#include "engine/timer_wheel.h"
#include "proto/frame.h"
#include "proto/message_view.h"
#include "proto/utf8.h"
#include "shard/event.h"
#include "shard/repeat_window.h"
#include "store/embedded/crc32c.h"
#include "store/embedded/heads.h"

namespace ringtalk::bench {
namespace {

using benchmark::DoNotOptimize;
using benchmark::State;
using shard::RepeatWindow;

constexpr uint32_t kPayloadBytes = 100;  // as run.py sends
constexpr uint32_t kNow          = 1'700'000'000;

// A chat message to `to` as a frame.
std::vector<std::byte> message_frame(uint32_t to, uint32_t payload_bytes) {
  const std::string text(payload_bytes, 'm');
  const proto::MessageDataView message{.from_user_id  = 1,
                                       .to_session_id = to,
                                       .msg_id        = to,
                                       .create_time   = kNow,
                                       .data          = as_bytes(text)};
  std::vector<std::byte> frame(proto::message_data_bytes(message));
  proto::encode_message_data(frame, message);
  return frame;
}

// --- proto -------------------------------------------------------------------------------------------

// A received buffer of whole frames, cut to its end.
void split_frames(State& state) {
  std::vector<std::byte> received;
  int64_t frames = 0;
  for (uint32_t i = 0; received.size() < 4096; ++i, ++frames) {
    const auto frame = message_frame(2 + i, kPayloadBytes / 2 + i % kPayloadBytes);
    received.insert(received.end(), frame.begin(), frame.end());
  }
  for ([[maybe_unused]] auto _ : state) {
    Bytes rest = received;
    while (!rest.empty()) {
      const auto split = proto::split_frame(rest, proto::FrameLimits::after_login());
      DoNotOptimize(split.body.data());
      rest = rest.subspan(split.whole.size());
    }
  }
  state.SetItemsProcessed(state.iterations() * frames);
}
BENCHMARK(split_frames);

void write_header(State& state) {
  std::array<std::byte, proto::kHeaderBytes> bytes;
  uint16_t sequence = 0;
  for ([[maybe_unused]] auto _ : state) {
    proto::encode_header(bytes.data(),
                         proto::make_header(proto::CommandId::msg_data_ack, ++sequence, 8));
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(write_header);

void parse_message(State& state) {
  std::vector<std::vector<std::byte>> frames;
  frames.reserve(64);
  for (uint32_t i = 0; i < 64; ++i)
    frames.push_back(message_frame(1u << (i % 28), static_cast<uint32_t>(state.range(0))));
  uint32_t at = 0;
  for ([[maybe_unused]] auto _ : state) {
    const auto view =
        proto::parse_message_data(Bytes(frames[at++ % 64]).subspan(proto::kHeaderBytes));
    DoNotOptimize(view->data.data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(parse_message)->Arg(kPayloadBytes)->Arg(4096);

void encode_message(State& state) {
  const std::string text(static_cast<size_t>(state.range(0)), 'm');
  std::vector<std::byte> out(text.size() + 64);
  proto::MessageDataView message{.from_user_id = 1, .create_time = kNow, .data = as_bytes(text)};
  for ([[maybe_unused]] auto _ : state) {
    message.to_session_id = message.msg_id = message.msg_id + 1;
    proto::encode_message_data(std::span(out).first(proto::message_data_bytes(message)), message);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(encode_message)->Arg(kPayloadBytes)->Arg(4096);

void encode_ack(State& state) {
  std::array<std::byte, 64> out;
  proto::MessageAck ack{.user_id = 1, .session_id = 2};
  for ([[maybe_unused]] auto _ : state) {
    ++ack.msg_id;
    proto::encode_message_ack(std::span(out).first(proto::message_ack_bytes(ack)), 7, ack);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(encode_ack);

void check_utf8(State& state, std::string_view piece) {
  std::string text;
  while (text.size() + piece.size() <= kPayloadBytes) text += piece;
  for ([[maybe_unused]] auto _ : state) DoNotOptimize(proto::count_utf8_characters(as_bytes(text)));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
}
BENCHMARK_CAPTURE(check_utf8, ascii, "m");
BENCHMARK_CAPTURE(check_utf8, mixed, "na\xc3\xafve \xe4\xbd\xa0\xe5\xa5\xbd ");

// --- engine ------------------------------------------------------------------------------------------

void spsc_push_pop(State& state) {
  engine::SpscQueue<shard::Event> queue(1024);
  auto event       = shard::Event::of(shard::Relay{.to = UserId(1), .frame = nullptr});
  const auto burst = static_cast<uint32_t>(state.range(0));
  for ([[maybe_unused]] auto _ : state) {
    for (uint32_t i = 0; i < burst; ++i) queue.push(shard::Event(event));
    for (uint32_t i = 0; i < burst; ++i) queue.pop(event);
    DoNotOptimize(event);
  }
  state.SetItemsProcessed(state.iterations() * burst);
}
BENCHMARK(spsc_push_pop)->Arg(1)->Arg(64);

// Two shards on one thread: reserve, push, announce, drain. What two cores pay for the lines that go
// between them is not in it.
void mailbox_push_drain(State& state) {
  engine::FakeClock clock;
  engine::FakeWorld world{clock};
  engine::LaneMatrix<shard::Event> lanes(2);
  std::vector<std::unique_ptr<engine::FakeRing>> rings;
  for (uint32_t i = 0; i < 2; ++i) {
    rings.push_back(std::make_unique<engine::FakeRing>(
        world, engine::FakeRing::Options{.slots = 1, .buffers = 1}));
    lanes.reader(i).bell    = &rings[i]->bell();
    lanes.reader(i).bell_fd = rings[i]->bell_fd();
  }
  engine::Mailbox<shard::Event> writer(lanes, 0), reader(lanes, 1);
  const auto event = shard::Event::of(shard::Relay{.to = UserId(1), .frame = nullptr});
  const auto burst = static_cast<uint32_t>(state.range(0));
  for ([[maybe_unused]] auto _ : state) {
    for (uint32_t i = 0; i < burst; ++i)
      if (writer.reserve(1)) writer.push(1, event);
    writer.flush(*rings[0]);
    uint32_t taken = reader.drain([](uint32_t, const shard::Event& e) { DoNotOptimize(&e); });
    DoNotOptimize(taken);
  }
  state.SetItemsProcessed(state.iterations() * burst);
}
BENCHMARK(mailbox_push_drain)->Arg(1)->Arg(64);

// An idle limit moved on, as it is once per limit and connection.
void timer_rearm(State& state) {
  const auto count = static_cast<size_t>(state.range(0));
  engine::TimerWheel wheel(0);
  std::vector<std::unique_ptr<engine::Timer>> timers;
  timers.reserve(count);
  for (size_t i = 0; i < count; ++i)
    timers.push_back(std::make_unique<engine::Timer>([](engine::Timer&) noexcept {}));
  engine::SeededRandom random(1);
  uint64_t now = 0;
  for (auto& timer : timers) wheel.arm(*timer, random.below(120 * kNsPerS));
  size_t at = 0;
  for ([[maybe_unused]] auto _ : state) {
    wheel.arm(*timers[at], now + 120 * kNsPerS);
    now += 1000;
    if (++at == count) at = 0;
  }
  state.SetItemsProcessed(state.iterations());
  for (auto& timer : timers) wheel.cancel(*timer);
}
BENCHMARK(timer_rearm)->Arg(1000)->Arg(100'000);

void timer_arm_cancel(State& state) {
  engine::TimerWheel wheel(0);
  engine::Timer timer([](engine::Timer&) noexcept {});
  for ([[maybe_unused]] auto _ : state) {
    wheel.arm(timer, 15 * kNsPerS);
    wheel.cancel(timer);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(timer_arm_cancel);

// What one connection does in a turn: `range` PDUs in, one send out, all of it taken by the kernel.
void send_queue_turn(State& state) {
  engine::BlockPool pool;
  engine::SendQueue queue;
  const auto frame = message_frame(2, kPayloadBytes);
  std::array<iovec, engine::SendQueue::kGatherMax> parts;
  for ([[maybe_unused]] auto _ : state) {
    for (int64_t i = 0; i < state.range(0); ++i) queue.push(Bytes(frame), pool);
    while (!queue.empty()) {
      DoNotOptimize(queue.gather(parts).data());
      queue.consume(queue.in_flight(), pool);
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(send_queue_turn)->Arg(1)->Arg(16)->Arg(256);

// --- shard -------------------------------------------------------------------------------------------

// A send that was never there before, as nearly all: looked for, put as waiting, put as durable. The
// window has the size of a server's, so most of it lies in no cache; `range` authors count upwards.
void repeat_window_send(State& state) {
  RepeatWindow window(16 * kMiB, 60, RepeatWindow::Places::by_sequence);
  const auto authors = static_cast<uint32_t>(state.range(0));
  uint32_t sent      = 0;
  for ([[maybe_unused]] auto _ : state) {
    const UserId author{1 + sent % authors};
    const uint64_t key =
        RepeatWindow::sequence_key(sent, static_cast<uint16_t>(2 + sent / authors));
    DoNotOptimize(window.find(key, author, kNow));
    window.put_waiting(key, author, sent, kNow);
    window.put_durable(key, author, sent + 1, kNow);
    ++sent;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(repeat_window_send)->Arg(1)->Arg(1000);

// Sends that were there.
void repeat_window_find(State& state) {
  constexpr uint32_t kSends = 1 << 16;
  RepeatWindow window(16 * kMiB, 60, RepeatWindow::Places::by_key);
  std::vector<uint64_t> keys;
  engine::SeededRandom random(5);
  for (uint32_t i = 0; i < kSends; ++i) {
    keys.push_back(random.next() | 1);
    window.put_durable(keys.back(), UserId(1), i, kNow);
  }
  uint32_t at = 0;
  for ([[maybe_unused]] auto _ : state)
    DoNotOptimize(window.find(keys[at++ % kSends], UserId(1), kNow));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(repeat_window_find);

// --- store -------------------------------------------------------------------------------------------

void checksum(State& state) {
  const std::vector<std::byte> record(static_cast<size_t>(state.range(0)), std::byte{'r'});
  uint32_t crc = 0;
  for ([[maybe_unused]] auto _ : state) DoNotOptimize(crc = store::crc32c(crc, record));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum)->Arg(64)->Arg(270)->Arg(4096);

// Conversations in an order that no prefetcher knows. 1,000: in cache; a million: one miss each.
void heads(State& state, bool write) {
  const auto count = static_cast<uint64_t>(state.range(0));
  store::Heads table(7);
  const auto key = [](uint64_t i) { return (1 + i) << 32 | (2 + i); };
  for (uint64_t i = 0; i < count; ++i)
    table.set({.conversation = key(i), .newest = {1 + i}, .msg_id = 1}, 0);
  engine::SeededRandom random(11);
  std::vector<uint64_t> keys;
  keys.reserve(1 << 16);
  for (uint32_t i = 0; i < 1 << 16; ++i) keys.push_back(key(random.below(count)));
  uint32_t at = 0;
  for ([[maybe_unused]] auto _ : state) {
    store::HeadEntry entry = table.get(keys[at++ % keys.size()]);
    DoNotOptimize(entry);
    if (!write) continue;
    ++entry.msg_id;
    table.set(entry, 0);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(heads, get, false)->Arg(1000)->Arg(1'000'000);
BENCHMARK_CAPTURE(heads, get_and_set, true)->Arg(1000)->Arg(1'000'000);

void flat_table_insert(State& state) {
  const auto count = static_cast<uint64_t>(state.range(0));
  for ([[maybe_unused]] auto _ : state) {
    store::FlatTable<store::HeadRow> table(7);
    for (uint64_t i = 0; i < count; ++i) table.find_or_insert((1 + i) << 32 | (2 + i)).msg_id = 1;
    DoNotOptimize(table.size());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(flat_table_insert)->Arg(100'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace ringtalk::bench

BENCHMARK_MAIN();
