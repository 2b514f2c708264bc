#include "engine/stream.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>

#include "engine/fake_ring.h"

namespace ringtalk::engine {
namespace {

class Quiet final : public LoopClient {
 public:
  void on_turn() override {}
  void on_turn_end() override {
    if (at_end) std::exchange(at_end, nullptr)();
  }
  bool work_waits() override { return false; }

  std::function<void()> at_end;  // once
};

struct Accepted : Completion {
  Accepted() : Completion{&Accepted::on_result} {}
  static void on_result(Completion& self, int32_t result, uint32_t flags) noexcept {
    auto& accepted = static_cast<Accepted&>(self);
    if (result >= 0) accepted.slot = static_cast<Slot>(result);
    accepted.armed = (flags & kMore) != 0;
  }
  Slot slot  = kNoSlot;
  bool armed = true;
};

class Echo final : public Stream {
 public:
  Echo(Loop& loop, Slot slot) : Stream(loop, slot) {}
  void on_bytes(Bytes bytes) override {
    got += as_text(bytes);
    if (act) act();
  }
  void on_eof() override {
    ++eofs;
    if (finish_at_eof) finish();
  }
  void on_drained() override { ++drained; }
  void on_passed(int32_t result) override { passed = result; }
  void on_closed() override { closed = true; }

  std::string got;
  std::function<void()> act;
  int eofs = 0, drained = 0;
  int32_t passed     = 1'000'000;
  bool closed        = false;
  bool finish_at_eof = true;
};

// One ring and its loop; a second one for hand-overs.
struct Side {
  Side(FakeWorld& world, FakeClock& clock, const FakeRing::Options& options)
      : ring(world, options), loop(ring, clock, ring.bell(), metrics) {
    loop.set_client(client);
  }
  FakeRing ring;
  Metrics metrics;
  Quiet client;
  Loop loop;
};

class StreamTest : public testing::Test {
 protected:
  void turns(int n = 8) {
    for (int i = 0; i < n; ++i) {
      side_.loop.turn(false);
      other_.loop.turn(false);
    }
  }
  std::pair<FakeClient, std::unique_ptr<Echo>> connect(uint32_t window = 65536) {
    const FakeFaults faults = std::exchange(side_.ring.faults(), {});
    const int listener      = world_.listen();
    FakeClient client       = world_.connect(listener, 0x7f000001, window);
    Accepted accepted;
    side_.ring.accept(listener, accepted);
    for (int i = 0; i < 50 && accepted.slot == kNoSlot; ++i) side_.ring.turn(0);
    side_.ring.cancel(accepted, side_.loop.ignored());
    for (int i = 0; i < 50 && accepted.armed; ++i) side_.ring.turn(0);
    EXPECT_NE(accepted.slot, kNoSlot);
    side_.ring.faults() = faults;
    return {client, std::make_unique<Echo>(side_.loop, accepted.slot)};
  }
  void expect_clean(const Echo& stream) {
    EXPECT_TRUE(stream.closed);
    EXPECT_EQ(side_.ring.slots_used(), 0u);
    EXPECT_EQ(side_.ring.buffers_lent(), 0u);
    EXPECT_EQ(side_.ring.in_flight(), 0u);
    EXPECT_EQ(side_.loop.blocks().out_bytes(), 0u);
  }

  FakeClock clock_;
  FakeWorld world_{clock_, nullptr, 3};
  Side side_{world_, clock_, {.slots = 8, .buffers = 4, .buffer_bytes = 64}};
  Side other_{world_, clock_, {.slots = 1, .buffers = 4, .buffer_bytes = 64}};
};

std::string numbered(size_t bytes) {
  std::string text;
  for (int i = 0; text.size() < bytes; ++i) text += std::to_string(i) + ",";
  text.resize(bytes);
  return text;
}

TEST_F(StreamTest, FinishFlushesThenHalfClosesAndLingers) {
  auto [client, stream] = connect(/*window=*/100);
  stream->receive(true);
  const std::string text = numbered(10'000);
  stream->push(as_bytes(text));
  stream->finish();
  std::string got;
  for (int i = 0; i < 300; ++i) {
    turns(1);
    if (got.size() + client.readable() < text.size()) {
      EXPECT_EQ(client.end(), FakeClient::End::open) << "half-closed too early";
    }
    got += client.read();
    client.write("noise that arrives meanwhile");
  }
  EXPECT_EQ(got, text);
  EXPECT_EQ(client.end(), FakeClient::End::finished) << "no reset may overtake the last bytes";
  EXPECT_EQ(stream->got, "") << "a finishing stream hears nothing";
  EXPECT_FALSE(stream->closed) << "it waits for the peer";
  client.finish();
  turns();
  expect_clean(*stream);
}

// Store results come there, and nothing else may wake the loop for a tenth of a second.
TEST_F(StreamTest, WhatTheEndOfATurnAnswersIsSubmittedBeforeTheSleep) {
  auto [client, stream] = connect();
  side_.client.at_end   = [&] { stream->push(as_bytes(std::string("late answer"))); };
  side_.loop.turn(false);
  EXPECT_EQ(client.read(), "");
  side_.ring.turn(0);  // all that a sleep does: submit and wait
  EXPECT_EQ(client.read(), "late answer");
  stream->finish();
  client.close();
  turns();
  expect_clean(*stream);
}

TEST_F(StreamTest, FinishWithNothingQueued) {
  auto [client, stream] = connect();
  stream->finish();  // not even receiving
  turns();
  EXPECT_EQ(client.end(), FakeClient::End::finished);
  client.close();
  turns();
  expect_clean(*stream);
}

TEST_F(StreamTest, TheirEofFirst) {
  auto [client, stream] = connect();
  stream->receive(true);
  client.write("last");
  client.finish();
  turns();
  EXPECT_EQ(stream->got, "last");
  EXPECT_EQ(stream->eofs, 1);
  EXPECT_EQ(client.end(), FakeClient::End::finished);
  expect_clean(*stream);
}

TEST_F(StreamTest, EofMayBeIgnoredAndAnsweredLater) {
  auto [client, stream] = connect();
  stream->finish_at_eof = false;
  stream->receive(false);
  client.finish();
  turns();
  EXPECT_EQ(stream->eofs, 1);
  EXPECT_TRUE(stream->is_open());
  stream->receive(true);  // nothing more to receive: must not spin or report again
  turns();
  EXPECT_EQ(stream->eofs, 1);
  stream->push(as_bytes("answer"));
  stream->finish();
  turns();
  EXPECT_EQ(client.read(), "answer");
  expect_clean(*stream);
}

TEST_F(StreamTest, AbortWithBothDirectionsInFlight) {
  for (const bool multishot : {false, true}) {
    auto [client, stream] = connect(10);
    stream->receive(multishot);
    stream->push(as_bytes(numbered(50'000)));
    turns();
    EXPECT_GT(stream->queued_bytes(), 0u);
    stream->abort();
    stream->abort();
    EXPECT_FALSE(stream->closed) << "operations must come home first";
    turns();
    expect_clean(*stream);
    EXPECT_NE(client.end(), FakeClient::End::open);
  }
}

TEST_F(StreamTest, AbortInsideOnBytes) {
  auto [client, stream] = connect();
  Echo* raw             = stream.get();
  raw->act              = [raw] { raw->abort(); };
  raw->receive(true);
  client.write(numbered(1000));  // many buffers
  turns();
  EXPECT_LE(raw->got.size(), 64u) << "not called any more";
  expect_clean(*raw);
}

TEST_F(StreamTest, ThePeersResetAborts) {
  auto [client, stream] = connect(10);
  stream->receive(true);
  stream->push(as_bytes(numbered(1000)));
  turns();
  client.reset();
  turns();
  expect_clean(*stream);
}

TEST_F(StreamTest, AResetWhileLingeringOrFinishing) {
  {
    auto [client, stream] = connect();
    stream->receive(true);
    stream->finish();
    turns();
    client.reset();
    turns();
    expect_clean(*stream);
  }
  auto [client, stream] = connect(10);
  stream->receive(true);
  stream->push(as_bytes(numbered(500)));
  stream->finish();
  turns();
  client.reset();
  turns();
  expect_clean(*stream);
}

// Pauses and resumes at random moments, with every ending a multishot receive may have.
TEST_F(StreamTest, PauseAndResumeLoseAndRepeatNoByte) {
  side_.ring.faults() = {
      .short_count = 300, .lose_more = 200, .cancelled = 100, .no_buffers = 200, .delay = 200};
  auto [client, stream]  = connect();
  const std::string text = numbered(60'000);
  size_t written         = 0;
  stream->receive(true);
  for (int i = 0; i < 30'000 && stream->got.size() < text.size(); ++i) {
    switch (world_.random().below(6)) {
      case 0: stream->pause(); break;
      case 1: stream->receive(world_.random().below(4) != 0); break;
      case 2: {
        const size_t n = std::min<size_t>(world_.random().below(300), text.size() - written);
        client.write(text.substr(written, n));
        written += n;
        break;
      }
      default: turns(1);
    }
  }
  stream->receive(true);
  client.write(text.substr(written));
  for (int i = 0; i < 3000 && stream->got.size() < text.size(); ++i) turns(1);
  EXPECT_EQ(stream->got, text);
  side_.ring.faults() = {};
  stream->abort();
  turns(20);
  expect_clean(*stream);
}

TEST_F(StreamTest, APausedStreamStopsReading) {
  auto [client, stream] = connect();
  stream->receive(true);
  client.write("one");
  turns();
  stream->pause();
  turns();
  EXPECT_TRUE(stream->paused());
  client.write("two");
  turns();
  EXPECT_EQ(stream->got, "one");
  EXPECT_EQ(side_.ring.in_flight(), 0u);
  stream->receive(false);
  turns();
  EXPECT_EQ(stream->got, "onetwo");
  EXPECT_TRUE(stream->is_open());
  stream->abort();
  turns();
}

// All forms of pushes against short sends: the client sees exactly what was pushed, in order.
TEST_F(StreamTest, ShortSendsInOrder) {
  side_.ring.faults()   = {.short_count = 500, .delay = 100};
  auto [client, stream] = connect(700);
  std::string pushed, got;
  for (int i = 0; i < 3000; ++i) {
    if (stream->queued_bytes() < 40'000) {
      const std::string text =
          numbered(1 + world_.random().below(world_.random().below(10) ? 200 : 6000));
      switch (world_.random().below(3)) {
        case 0: stream->push(as_bytes(text)); break;
        case 1: stream->push(PayloadRef::adopt(Payload::copy(as_bytes(text)))); break;
        default: {
          const std::string part = text.substr(0, SendQueue::kCopyBytesMax);
          std::memcpy(stream->reserve(static_cast<uint32_t>(part.size())), part.data(),
                      part.size());
          pushed += part;
          continue;
        }
      }
      pushed += text;
    }
    turns(1);
    if (world_.random().below(2)) got += client.read(world_.random().below(2000));
  }
  for (int i = 0; i < 5000 && stream->queued_bytes() > 0; ++i) {
    turns(1);
    got += client.read();
  }
  got += client.read();
  EXPECT_EQ(got, pushed);
  EXPECT_GT(stream->drained, 100);
  side_.ring.faults() = {};
  stream->abort();
  turns(20);
  expect_clean(*stream);
}

TEST_F(StreamTest, SendsOfOneTurnLeaveTogether) {
  auto [client, stream] = connect();
  for (int i = 0; i < 50; ++i) stream->push(as_bytes("0123456789"));
  const uint64_t before = side_.ring.count(FakeOp::send);
  turns(3);
  EXPECT_EQ(side_.ring.count(FakeOp::send), before + 1);
  EXPECT_EQ(client.read().size(), 500u);
  stream->abort();
  turns();
}

TEST_F(StreamTest, StalledSince) {
  auto [client, stream] = connect(10);
  EXPECT_EQ(stream->stalled_since_ns(), 0u);
  const uint64_t start = clock_.now_ns();
  stream->push(as_bytes(numbered(100)));
  turns();
  EXPECT_EQ(stream->stalled_since_ns(), start);
  clock_.advance(5 * kNsPerS);
  turns();
  stream->push(as_bytes("more"));
  EXPECT_EQ(stream->stalled_since_ns(), start) << "a further push is no progress";
  client.read();
  turns();
  EXPECT_EQ(stream->stalled_since_ns(), start + 5 * kNsPerS);
  for (int i = 0; i < 30; ++i) {
    turns(1);
    client.read();
  }
  EXPECT_EQ(stream->stalled_since_ns(), 0u);
  stream->abort();
  turns();
}

TEST_F(StreamTest, PassKeepsTheConnectionAndRefusesIntoAFullTable) {
  auto [client, stream] = connect();
  auto [second, left]   = connect();
  stream->receive(false);
  client.write("hello");
  turns();
  ASSERT_EQ(stream->got, "hello");
  stream->pause();
  turns();
  // One-shot: pausing leaves the armed receive in flight until something comes.
  if (!stream->can_pass()) {
    client.write("!");
    turns();
  }
  ASSERT_TRUE(stream->can_pass());
  client.write("unread");
  stream->pass(other_.ring.bell_fd());
  turns();
  ASSERT_GE(stream->passed, 0);
  stream->abort();
  turns();
  EXPECT_TRUE(stream->closed);
  EXPECT_EQ(client.end(), FakeClient::End::open) << "the other side holds it";
  Echo moved(other_.loop, static_cast<Slot>(stream->passed));
  moved.receive(true);
  client.write(" and more");
  turns();
  EXPECT_EQ(moved.got, "unread and more");
  moved.push(as_bytes("answer"));
  turns();
  EXPECT_EQ(client.read(), "answer");

  ASSERT_TRUE(left->can_pass());
  left->pass(other_.ring.bell_fd());
  turns();
  EXPECT_EQ(left->passed, -ENFILE);
  EXPECT_TRUE(left->is_open());
  left->push(as_bytes("full"));
  left->finish();
  turns();
  EXPECT_EQ(second.read(), "full");
  second.close();
  moved.abort();
  turns();
  EXPECT_TRUE(left->closed);
  EXPECT_TRUE(moved.closed);
}

TEST_F(StreamTest, AbortWhilePassing) {
  auto [client, stream] = connect();
  stream->pass(other_.ring.bell_fd());
  stream->abort();
  turns();
  EXPECT_TRUE(stream->closed);
  EXPECT_GE(stream->passed, 0) << "the owner must hear that the other ring holds a descriptor";
  Echo moved(other_.loop, static_cast<Slot>(stream->passed));
  moved.abort();
  turns();
  EXPECT_NE(client.end(), FakeClient::End::open);
  EXPECT_TRUE(moved.closed);
}

// Many lives at random, every fault: each ends with on_closed() and nothing left behind.
TEST_F(StreamTest, EveryLifeEnds) {
  side_.ring.faults() = {.short_count = 200,
                         .lose_more   = 100,
                         .cancelled   = 50,
                         .reset       = 10,
                         .no_buffers  = 100,
                         .delay       = 300,
                         .reorder     = true};
  for (int life = 0; life < 300; ++life) {
    auto [client, stream] = connect(1 + static_cast<uint32_t>(world_.random().below(100)));
    for (int i = 0; i < 20 && !stream->closed; ++i) {
      switch (world_.random().below(9)) {
        case 0: stream->receive(true); break;
        case 1: stream->receive(false); break;
        case 2: stream->pause(); break;
        case 3:
          if (stream->is_open()) stream->push(as_bytes(numbered(300)));
          break;
        case 4:
          if (client.end() == FakeClient::End::open) client.write(numbered(100));
          break;
        case 5: client.read(); break;
        case 6:
          if (world_.random().below(8) == 0) stream->finish();
          break;
        case 7:
          if (world_.random().below(20) == 0) stream->abort();
          break;
        default: turns(1);
      }
    }
    if (world_.random().below(2)) {
      stream->finish();
      turns(3);
    }
    if (world_.random().below(2)) client.close();
    stream->abort();
    turns(60);
    ASSERT_NO_FATAL_FAILURE(expect_clean(*stream)) << "life " << life;
    ASSERT_FALSE(HasFailure()) << "life " << life;
  }
}

}  // namespace
}  // namespace ringtalk::engine
