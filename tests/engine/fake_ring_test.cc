#include "engine/fake_ring.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace ringtalk::engine {
namespace {

// A completion that keeps what it was told.
struct Note : Completion {
  Note() : Completion{&Note::on_result} {}
  struct Entry {
    int32_t result;
    uint32_t flags;
  };
  static void on_result(Completion& self, int32_t result, uint32_t flags) noexcept {
    auto& note = static_cast<Note&>(self);
    note.seen.push_back({result, flags});
    if (note.journal) *note.journal += note.name;
  }
  int32_t last() const { return seen.empty() ? 1'000'000 : seen.back().result; }
  bool over() const { return !seen.empty() && (seen.back().flags & kMore) == 0; }

  std::vector<Entry> seen;
  std::string* journal = nullptr;
  std::string name;
};

class FakeRingTest : public testing::Test {
 protected:
  // A client on a fresh slot of ring_.
  std::pair<FakeClient, Slot> connected(FakeRing& ring, uint32_t window = 65536) {
    const int listener = world_.listen();
    FakeClient client  = world_.connect(listener, 0x0a000001, window);
    Note accepted, cancelled;
    ring.accept(listener, accepted);
    ring.turn(0);
    EXPECT_EQ(accepted.seen.size(), 1u);
    ring.cancel(accepted, cancelled);
    while (!accepted.over() || !cancelled.over()) ring.turn(0);
    return {client, static_cast<Slot>(accepted.seen[0].result)};
  }

  std::string take(FakeRing& ring, const Note::Entry& entry) {
    EXPECT_TRUE(entry.flags & kHasBuffer);
    const uint16_t id = buffer_id(entry.flags);
    std::string text(as_text(ring.buffer(id)).substr(0, static_cast<size_t>(entry.result)));
    ring.give_back(id);
    return text;
  }

  FakeClock clock_;
  FakeDisk disk_;
  FakeWorld world_{clock_, &disk_, 7};
  FakeRing ring_{world_, {.slots = 4, .buffers = 2, .buffer_bytes = 8}};
};

TEST_F(FakeRingTest, NothingRunsBeforeTheTurn) {
  Note done;
  const int listener = world_.listen();
  ring_.accept(listener, done);
  EXPECT_EQ(ring_.queued(), 1u);
  EXPECT_EQ(ring_.in_flight(), 1u);
  EXPECT_EQ(ring_.turn(0), 0u);
  EXPECT_EQ(ring_.queued(), 0u);
  FakeClient client = world_.connect(listener);
  EXPECT_TRUE(done.seen.empty());
  EXPECT_TRUE(ring_.ready());
  EXPECT_EQ(ring_.turn(1'000'000), 1u);
  EXPECT_EQ(done.seen[0].flags, kMore);
  EXPECT_TRUE(client.accepted());
  EXPECT_FALSE(ring_.ready());
}

TEST_F(FakeRingTest, WhoDialsGetsASlotAndTheFarEndIsThere) {
  Note refused, connected, sent;
  ring_.connect({.to_address = 0x0a000001, .to_port = 8000}, refused);
  ring_.turn(0);
  EXPECT_EQ(refused.last(), -ECONNREFUSED);

  world_.answer(8000);
  EXPECT_FALSE(world_.take_dialled(8000));
  ring_.connect({.to_address = 0x0a000001, .to_port = 8000}, connected);
  EXPECT_TRUE(connected.seen.empty());
  ring_.turn(0);
  ASSERT_GE(connected.last(), 0);
  const auto slot = static_cast<Slot>(connected.last());
  EXPECT_EQ(ring_.peer_address(slot), 0x0a000001u);
  FakeClient far = world_.take_dialled(8000);
  ASSERT_TRUE(far);
  ring_.send(slot, as_bytes("hello"), sent);
  ring_.turn(0);
  EXPECT_EQ(far.read(), "hello");
}

TEST_F(FakeRingTest, DiallingIntoAFullTableIsRefused) {
  world_.answer(8000);
  Note notes[5];
  for (Note& note : notes) ring_.connect({.to_port = 8000}, note);
  ring_.turn(0);
  EXPECT_EQ(notes[3].last(), 3);
  EXPECT_EQ(notes[4].last(), -ENFILE);
}

TEST_F(FakeRingTest, BytesFlowBothWays) {
  auto [client, slot] = connected(ring_);
  EXPECT_EQ(ring_.peer_address(slot), 0x0a000001u);
  Note received, sent;
  ring_.recv_multishot(slot, received);
  client.write("hello world");
  ring_.turn(0);
  ASSERT_EQ(received.seen.size(), 2u);
  EXPECT_EQ(ring_.buffers_lent(), 2u);
  EXPECT_EQ(take(ring_, received.seen[0]) + take(ring_, received.seen[1]), "hello world");
  EXPECT_EQ(ring_.buffers_lent(), 0u);
  EXPECT_TRUE(received.seen[1].flags & kMore);

  const std::string a = "one", b = "two";
  const iovec parts[] = {{const_cast<char*>(a.data()), 3}, {const_cast<char*>(b.data()), 3}};
  ring_.sendv(slot, parts, sent);
  ring_.turn(0);
  EXPECT_EQ(sent.last(), 6);
  EXPECT_EQ(client.read(4), "onet");
  EXPECT_EQ(client.read(), "wo");

  client.finish();
  ring_.turn(0);
  EXPECT_EQ(received.last(), 0);
  EXPECT_TRUE(received.over());
}

TEST_F(FakeRingTest, OneShotReceiveTakesOneBuffer) {
  auto [client, slot] = connected(ring_);
  Note received;
  client.write("0123456789");
  ring_.recv(slot, received);
  ring_.turn(0);
  ring_.turn(0);
  ASSERT_EQ(received.seen.size(), 1u);
  EXPECT_TRUE(received.over());
  EXPECT_EQ(take(ring_, received.seen[0]), "01234567");
}

TEST_F(FakeRingTest, ExhaustedBuffersEndMultishot) {
  auto [client, slot] = connected(ring_);
  Note received, again;
  ring_.recv_multishot(slot, received);
  client.write(std::string(20, 'x'));
  ring_.turn(0);
  ASSERT_EQ(received.seen.size(), 3u);
  EXPECT_EQ(received.last(), -ENOBUFS);
  EXPECT_TRUE(received.over());
  ring_.recv_multishot(slot, again);
  ring_.turn(0);
  EXPECT_EQ(again.last(), -ENOBUFS) << "re-armed while empty: again at once";
  ring_.give_back(buffer_id(received.seen[0].flags));
  Note last;
  ring_.recv_multishot(slot, last);
  ring_.turn(0);
  ASSERT_EQ(last.seen.size(), 1u);
  EXPECT_EQ(take(ring_, last.seen[0]), "xxxx");
}

TEST_F(FakeRingTest, ReceiveIntoNoBufferFailsEvenWithNothingToRead) {
  FakeRing bare(world_, {.slots = 1, .buffers = 0});
  auto [client, slot] = connected(bare);
  Note received;
  bare.recv(slot, received);
  bare.turn(0);
  EXPECT_EQ(received.last(), -ENOBUFS);
}

TEST_F(FakeRingTest, SendsAreBoundedByTheWindow) {
  auto [client, slot] = connected(ring_, 10);
  Note first, second;
  ring_.send(slot, as_bytes("0123456789abcdef"), first);
  ring_.turn(0);
  EXPECT_EQ(first.last(), 10) << "short";
  ring_.send(slot, as_bytes("XYZ"), second);
  ring_.turn(0);
  EXPECT_FALSE(ring_.ready());
  EXPECT_TRUE(second.seen.empty()) << "no room: waits";
  EXPECT_EQ(client.read(2), "01");
  EXPECT_TRUE(ring_.ready());
  ring_.turn(0);
  EXPECT_EQ(second.last(), 2);
  EXPECT_EQ(client.read(), "23456789XY");
}

TEST_F(FakeRingTest, ResetIsToldOnceThenPipe) {
  auto [client, slot] = connected(ring_);
  client.write("last");
  client.reset();
  Note a, b, c, d;
  ring_.recv(slot, a);
  ring_.turn(0);
  EXPECT_EQ(take(ring_, a.seen.at(0)), "last") << "what arrived before is readable";
  ring_.send(slot, as_bytes("x"), b);
  ring_.turn(0);
  EXPECT_EQ(b.last(), -ECONNRESET);
  ring_.send(slot, as_bytes("x"), c);
  ring_.recv(slot, d);
  ring_.turn(0);
  EXPECT_EQ(c.last(), -EPIPE);
  EXPECT_EQ(d.last(), 0);
}

TEST_F(FakeRingTest, SendToAClosedClientSucceedsOnce) {
  auto [client, slot] = connected(ring_);
  client.close();
  Note a, b;
  ring_.send(slot, as_bytes("lost"), a);
  ring_.turn(0);
  EXPECT_EQ(a.last(), 4);
  ring_.send(slot, as_bytes("x"), b);
  ring_.turn(0);
  EXPECT_EQ(b.last(), -EPIPE);
}

TEST_F(FakeRingTest, ShutdownThenCloseGivesTheClientEverything) {
  auto [client, slot] = connected(ring_);
  Note sent, shut, closed;
  ring_.send(slot, as_bytes("bye"), sent);
  ring_.turn(0);
  ring_.shutdown(slot, shut);
  ring_.turn(0);
  EXPECT_EQ(client.end(), FakeClient::End::finished);
  ring_.close(slot, closed);
  ring_.turn(0);
  EXPECT_EQ(closed.last(), 0);
  EXPECT_EQ(ring_.slots_used(), 0u);
  EXPECT_EQ(client.read(), "bye");
  client.write("anybody?");
  EXPECT_EQ(client.end(), FakeClient::End::reset);
}

TEST_F(FakeRingTest, CloseWithUnreadBytesResets) {
  auto [client, slot] = connected(ring_);
  client.write("unread");
  Note closed;
  ring_.close(slot, closed);
  ring_.turn(0);
  EXPECT_EQ(client.end(), FakeClient::End::reset);
}

TEST_F(FakeRingTest, FullTableClosesTheClient) {
  const int listener = world_.listen();
  Note accepted, again;
  std::vector<FakeClient> clients;
  for (int i = 0; i < 6; ++i) clients.push_back(world_.connect(listener));
  ring_.accept(listener, accepted);
  ring_.turn(0);
  ASSERT_EQ(accepted.seen.size(), 5u);
  EXPECT_EQ(accepted.last(), -ENFILE);
  EXPECT_TRUE(accepted.over());
  EXPECT_EQ(clients[4].end(), FakeClient::End::finished);
  EXPECT_EQ(clients[5].end(), FakeClient::End::open) << "waits for the next accept";
  EXPECT_EQ(world_.waiting(listener), 1u);
  ring_.accept(listener, again);
  ring_.turn(0);
  EXPECT_EQ(again.last(), -ENFILE);
}

TEST_F(FakeRingTest, CancelEndsWaitingOperationsOnly) {
  auto [client, slot] = connected(ring_, 4);
  Note received, sent, a, b, c;
  ring_.recv_multishot(slot, received);
  client.write("ab");
  ring_.cancel(received, a);
  ring_.turn(0);
  EXPECT_EQ(a.last(), 0);
  EXPECT_EQ(received.last(), -ECANCELED);
  ring_.cancel(received, b);
  ring_.turn(0);
  EXPECT_EQ(b.last(), -ENOENT);
  Note next;
  ring_.recv(slot, next);
  ring_.turn(0);
  EXPECT_EQ(take(ring_, next.seen.at(0)), "ab") << "cancelling loses no byte";
  ring_.send(slot, as_bytes("fill"), sent);
  ring_.turn(0);
  Note stuck;
  ring_.send(slot, as_bytes("more"), stuck);
  ring_.cancel(stuck, c);
  ring_.turn(0);
  EXPECT_EQ(stuck.last(), -ECANCELED);
  EXPECT_EQ(client.read(), "fill");
}

TEST_F(FakeRingTest, PassMovesTheConnectionWithItsBytes) {
  FakeRing target(world_, {.slots = 1});
  auto [client, slot] = connected(ring_);
  client.write("kept");
  Note passed, closed, received;
  ring_.pass(slot, target.bell_fd(), passed);
  ring_.turn(0);
  ASSERT_EQ(passed.last(), 0);
  ring_.close(slot, closed);
  ring_.turn(0);
  EXPECT_EQ(client.end(), FakeClient::End::open);
  const Slot there = static_cast<Slot>(passed.last());
  target.recv(there, received);
  target.turn(0);
  EXPECT_EQ(take(target, received.seen.at(0)), "kept");

  auto [other, other_slot] = connected(ring_);
  Note full, self, nobody;
  ring_.pass(other_slot, target.bell_fd(), full);
  ring_.turn(0);
  EXPECT_EQ(full.last(), -ENFILE);
  ring_.pass(other_slot, ring_.bell_fd(), self);
  ring_.turn(0);
  EXPECT_EQ(self.last(), -EINVAL);
  ring_.pass(other_slot, 12, nobody);
  ring_.turn(0);
  EXPECT_EQ(nobody.last(), -EBADF);
  EXPECT_EQ(other.end(), FakeClient::End::open);
}

// The kernel frees the place as it executes the close: who comes next may have it, and leave again, before
// the owner hears of the close.
TEST_F(FakeRingTest, APlaceIsFreeBeforeItsCloseIsTold) {
  FakeRing one(world_, {.slots = 1});
  auto [client, slot] = connected(one);
  Note closed, passed, again;
  one.hold(FakeOp::close);
  one.close(slot, closed);
  one.turn(0);
  EXPECT_FALSE(closed.over());
  auto [next, same] = connected(one);
  EXPECT_EQ(same, slot);
  one.pass(same, ring_.bell_fd(), passed);
  one.turn(0);
  ASSERT_GE(passed.last(), 0);
  one.close(same, again);
  one.turn(0);
  EXPECT_EQ(one.slots_used(), 0u);
  EXPECT_EQ(next.end(), FakeClient::End::open) << "the other ring holds it";
  one.release(FakeOp::close);
  one.turn(0);
  EXPECT_EQ(closed.last(), 0);
  EXPECT_EQ(again.last(), 0);
}

TEST_F(FakeRingTest, DyingRingClosesItsConnections) {
  auto dying          = std::make_unique<FakeRing>(world_);
  auto [client, slot] = connected(*dying);
  Note received;
  dying->recv_multishot(slot, received);
  dying->turn(0);
  dying.reset();
  EXPECT_EQ(client.end(), FakeClient::End::finished);
  EXPECT_TRUE(received.seen.empty());
}

TEST_F(FakeRingTest, WriteSyncMakesBytesDurable) {
  const int fd = disk_.open("log", Disk::Open::create_new).value();
  ASSERT_TRUE(disk_.sync_directory(""));
  Note written, read;
  const std::string text = "record";
  ring_.write_sync(fd, as_bytes(text), 4, written);
  ring_.turn(0);
  EXPECT_EQ(written.last(), 6);
  EXPECT_EQ(as_text(*disk_.durable("log")), std::string(4, '\0') + "record");
  std::string back(20, '?');
  ring_.read(fd, std::as_writable_bytes(std::span(back)), 4, read);
  ring_.turn(0);
  EXPECT_EQ(read.last(), 6);
  EXPECT_EQ(back.substr(0, 7), "record?");
}

TEST_F(FakeRingTest, AWriteThatFailsOrFallsShortIsNotSynced) {
  const int fd = disk_.open("log", Disk::Open::create_new).value();
  const std::string text(6000, 'x');
  const auto result = [&](int file, std::string_view bytes) {
    Note written;
    ring_.write_sync(file, as_bytes(bytes), 0, written);
    ring_.turn(0);
    return written.last();
  };
  disk_.fail(FakeDisk::Call::write, 1, EIO);
  EXPECT_EQ(result(fd, text), -EIO);
  disk_.set_space(4096);
  EXPECT_EQ(result(fd, text), 4096);
  EXPECT_FALSE(disk_.durable("log").has_value() && !disk_.durable("log")->empty());
  disk_.fail(FakeDisk::Call::sync, 1, EIO);
  EXPECT_EQ(result(fd, "abc"), -EIO) << "written, but not durable";
  EXPECT_EQ(result(999, "abc"), -EBADF);
}

TEST_F(FakeRingTest, FileOperationsTakeTheirTime) {
  ring_.faults().file_latency_ns_max = 1'000'000;
  const int fd                       = disk_.open("log", Disk::Open::create_new).value();
  Note written;
  ring_.write_sync(fd, as_bytes("x"), 0, written);
  ring_.turn(0);
  EXPECT_TRUE(world_.busy());
  int turns = 0;
  while (!written.over() && ++turns < 10) {
    const uint64_t due = world_.next_due_ns();
    ASSERT_NE(due, ~uint64_t{0});
    if (due > clock_.now_ns()) {
      EXPECT_EQ(ring_.turn(0), 0u);
      clock_.advance(due - clock_.now_ns());
    }
    ring_.turn(0);
  }
  EXPECT_EQ(written.last(), 1);
  EXPECT_FALSE(world_.busy());
}

// Goal: an effect may have happened though nobody was told. Method: hold the sync's completion.
TEST_F(FakeRingTest, WithheldCompletionComesAfterRelease) {
  const int fd = disk_.open("log", Disk::Open::create_new).value();
  ASSERT_TRUE(disk_.sync_directory(""));
  Note written;
  ring_.hold(FakeOp::sync);
  ring_.write_sync(fd, as_bytes("x"), 0, written);
  for (int i = 0; i < 5; ++i) ring_.turn(0);
  EXPECT_TRUE(written.seen.empty());
  EXPECT_EQ(as_text(*disk_.durable("log")), "x");
  EXPECT_EQ(ring_.withheld(), 1u);
  EXPECT_FALSE(ring_.ready());
  ring_.release(FakeOp::sync);
  EXPECT_TRUE(ring_.ready());
  ring_.turn(0);
  EXPECT_EQ(written.last(), 1);
  EXPECT_EQ(ring_.in_flight(), 0u);
}

TEST_F(FakeRingTest, BellsAreCounted) {
  FakeRing other(world_);
  ring_.ring_bell(other.bell_fd());
  ring_.ring_bell(4);
  EXPECT_EQ(other.bells(), 1u);
  other.bell().ring();
  EXPECT_EQ(other.bells(), 1u) << "awake: nobody to wake";
  other.bell().fall_asleep();
  other.bell().ring();
  EXPECT_EQ(other.bells(), 2u);
}

// Goal: under every fault the receiver re-arms and no byte is lost, doubled or moved; each seed
// replays exactly. Method: echo a stream through all faults but resets.
TEST_F(FakeRingTest, StreamSurvivesEveryFault) {
  std::string first_journal;
  for (int round = 0; round < 2; ++round) {
    std::string journal;
    size_t endings = 0, shorts = 0;
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      FakeWorld world(clock_, nullptr, seed);
      FakeRing ring(world, {.slots        = 2,
                            .buffers      = 4,
                            .buffer_bytes = 64,
                            .faults       = {.short_count = 300,
                                             .lose_more   = 100,
                                             .cancelled   = 50,
                                             .no_buffers  = 50,
                                             .delay       = 300,
                                             .reorder     = true}});
      const int listener = world.listen();
      FakeClient client  = world.connect(listener, 1, 100);
      Note accepted;
      ring.accept(listener, accepted);
      while (accepted.seen.empty()) ring.turn(0);
      if (accepted.seen[0].result < 0) continue;
      const auto slot = static_cast<Slot>(accepted.seen[0].result);

      std::string given, got, sent, arrived;
      Note received;
      received.seen.push_back({0, 0});
      std::unique_ptr<Note> sending;
      std::string sending_bytes;
      size_t taken = 1;
      for (int turn = 0; turn < 3000; ++turn) {
        if (given.size() < 5000) {
          const std::string text(world.random().below(90), static_cast<char>('a' + turn % 26));
          client.write(text);
          given += text;
        }
        for (; taken < received.seen.size(); ++taken) {
          const auto& entry = received.seen[taken];
          journal += std::to_string(entry.result) + (entry.flags & kMore ? "+ " : ". ");
          endings += (entry.flags & kMore) == 0;
          ASSERT_TRUE(entry.result > 0 || entry.result == -ENOBUFS || entry.result == -ECANCELED);
          if (entry.result > 0) got += take(ring, entry);
        }
        if (received.over()) {
          ring.recv_multishot(slot, received);
          received.seen.push_back({0, kMore});
          ++taken;
        }
        if (sending && sending->over()) {
          ASSERT_GT(sending->last(), 0);
          sent += sending_bytes.substr(0, static_cast<size_t>(sending->last()));
          shorts += static_cast<size_t>(sending->last()) < sending_bytes.size();
          sending.reset();
        }
        if (!sending && sent.size() < got.size()) {
          sending_bytes = got.substr(sent.size());
          sending       = std::make_unique<Note>();
          ring.send(slot, as_bytes(sending_bytes), *sending);
        }
        arrived += client.read(world.random().below(80));
        ring.turn(0);
      }
      arrived += client.read();
      EXPECT_EQ(got, given) << "seed " << seed;
      EXPECT_EQ(arrived, given) << "seed " << seed;
      EXPECT_EQ(ring.buffers_lent(), 0u);
    }
    EXPECT_GT(endings, 100u);
    EXPECT_GT(shorts, 100u);
    if (round == 0) first_journal = journal;
    if (round == 1) {
      EXPECT_EQ(journal, first_journal);
    }
  }
}

TEST_F(FakeRingTest, AcceptFaultsCloseTheClientAndEndTheAccept) {
  for (const bool emfile : {true, false}) {
    FakeRing ring(world_);
    (emfile ? ring.faults().accept_emfile : ring.faults().accept_enfile) = 1000;
    const int listener                                                   = world_.listen();
    FakeClient client                                                    = world_.connect(listener);
    Note accepted;
    ring.accept(listener, accepted);
    ring.turn(0);
    EXPECT_EQ(accepted.last(), emfile ? -EMFILE : -ENFILE);
    EXPECT_EQ(client.end(), FakeClient::End::finished);
    EXPECT_EQ(ring.slots_used(), 0u);
  }
}

TEST_F(FakeRingTest, ResetFaultCutsTheConnection) {
  auto [client, slot]  = connected(ring_);
  ring_.faults().reset = 1000;
  Note sent;
  ring_.send(slot, as_bytes("x"), sent);
  ring_.turn(0);
  EXPECT_EQ(sent.last(), -ECONNRESET);
  EXPECT_EQ(client.end(), FakeClient::End::reset);
}

TEST_F(FakeRingTest, ReorderMixesOperations) {
  ring_.faults().reorder = true;
  std::set<std::string> orders;
  for (int round = 0; round < 200; ++round) {
    std::string journal;
    const int fd = disk_.open("f" + std::to_string(round), Disk::Open::create_new).value();
    Note notes[4];
    for (int i = 0; i < 4; ++i) {
      notes[i].journal = &journal;
      notes[i].name    = std::string(1, static_cast<char>('a' + i));
    }
    for (uint64_t i = 0; i < 4; ++i) ring_.write_sync(fd, as_bytes("x"), i, notes[i]);
    ring_.turn(0);
    ASSERT_EQ(journal.size(), 4u);
    orders.insert(journal);
  }
  EXPECT_GT(orders.size(), 20u) << "of 24";
}

using FakeRingDeathTest = FakeRingTest;

TEST_F(FakeRingDeathTest, MisuseIsCaught) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  auto [client, slot]                   = connected(ring_, 1);
  Note received, second, closed, sent;
  ring_.recv_multishot(slot, received);
  ring_.turn(0);
  EXPECT_DEATH(ring_.recv(slot, received), "invariant");
  EXPECT_DEATH((ring_.close(slot, closed), ring_.turn(0)), "invariant");
  EXPECT_DEATH((ring_.pass(slot, 1, closed), ring_.turn(0)), "invariant");
  EXPECT_DEATH(ring_.give_back(0), "invariant");
  EXPECT_DEATH(ring_.recv(slot + 1, second), "invariant");
  std::string bytes = "ab";
  EXPECT_DEATH(
      {
        ring_.send(slot, as_bytes(bytes), sent);
        ring_.hold(FakeOp::send);
        ring_.turn(0);
        bytes[0] = 'x';
        ring_.release(FakeOp::send);
        ring_.turn(0);
      },
      "invariant");
}

}  // namespace
}  // namespace ringtalk::engine
