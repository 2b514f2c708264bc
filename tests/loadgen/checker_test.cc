// The checker finds each anomaly and nothing else.
//
// Method  A clean history of a conversation is played as a list of events; a mutator spoils one of
//         them, and the count of exactly the right kind must rise. All is random under a fixed seed.
#include "tools/loadgen/checker.h"

#include <gtest/gtest.h>

#include <string>

#include "engine/random.h"
#include "tools/loadgen/body.h"

namespace ringtalk::loadgen {
namespace {

constexpr uint32_t kRun                   = 77;
constexpr std::array<uint32_t, 2> kPeople = {501, 502};

struct Event {
  enum class Kind : uint8_t { send, ack, push, fetch, cut, caught_up };
  Kind kind;
  uint32_t side = 0;  // who sends, is told, receives or reads
  uint64_t op   = 0;
  uint32_t id   = 0;
  Body body;
  uint32_t from = 0, to = 0;
  bool damaged = false;
};

Event send(uint32_t side, uint64_t op) {
  return {.kind = Event::Kind::send, .side = side, .op = op};
}
Event ack(uint32_t side, uint64_t op, uint32_t id) {
  return {.kind = Event::Kind::ack, .side = side, .op = op, .id = id};
}
Event delivery(Event::Kind kind, uint32_t reader, uint32_t author, uint64_t op, uint32_t id) {
  return {.kind = kind,
          .side = reader,
          .op   = op,
          .id   = id,
          .body = {.run         = kRun,
                   .sender      = kPeople[author],
                   .receiver    = kPeople[author ^ 1],
                   .op          = op,
                   .intended_ns = 1000 + op},
          .from = kPeople[author],
          .to   = kPeople[author ^ 1]};
}
Event push(uint32_t author, uint64_t op, uint32_t id) {
  return delivery(Event::Kind::push, author ^ 1, author, op, id);
}

struct Played {
  AnomalyLog log;
  uint64_t unknown = 0;
  bool done        = false;
};

Played play(const std::vector<Event>& events, std::array<bool, 2> here = {true, true}) {
  Played played;
  Conversation conversation({.run = kRun, .users = kPeople, .fresh = true}, played.log);
  for (const Event& event : events) {
    std::byte bytes[kBodyBytesMin + 10];
    encode_body(bytes, event.body);
    if (event.damaged) bytes[60] ^= std::byte{1};
    const Delivery got{event.from, event.to, event.id, bytes};
    bool older = false;
    switch (event.kind) {
      case Event::Kind::send:
        EXPECT_EQ(conversation.send(event.side, 1000 + event.op), event.op);
        break;
      case Event::Kind::ack:
        conversation.ack(event.side, Conversation::sequence_of(event.op), event.id);
        break;
      case Event::Kind::push: conversation.push(event.side, got); break;
      case Event::Kind::fetch: conversation.fetch(event.side, got, older); break;
      case Event::Kind::cut: conversation.cut(event.side); break;
      case Event::Kind::caught_up: conversation.caught_up(event.side); break;
    }
  }
  played.done = conversation.is_done();
  conversation.finish(here);
  played.unknown = conversation.unknown();
  return played;
}

// Both write, in bursts; acknowledgements and pushes overtake each other as they do over two sockets.
std::vector<Event> clean_history(uint64_t seed, size_t messages) {
  engine::SeededRandom random(seed);
  std::vector<Event> events;
  std::array<uint64_t, 2> sent{}, acked{}, pushed{};
  std::array<std::vector<uint32_t>, 2> ids;  // by author and op
  uint32_t next_id = 1;
  const auto total = [&] { return sent[0] + sent[1]; };
  while (total() < messages || acked[0] + acked[1] + pushed[0] + pushed[1] < 2 * messages) {
    const auto side = static_cast<uint32_t>(random.below(2));
    switch (random.below(4)) {
      case 0:
        if (total() < messages) events.push_back(send(side, sent[side]++));
        break;
      case 1:  // the server stores one
        if (ids[side].size() < sent[side]) ids[side].push_back(next_id++);
        break;
      case 2:
        if (acked[side] < ids[side].size()) {
          events.push_back(ack(side, acked[side], ids[side][acked[side]]));
          ++acked[side];
        }
        break;
      default:
        // Ids rise at the receiver, of which only the other's messages are seen: always true here.
        if (pushed[side] < ids[side].size()) {
          events.push_back(push(side, pushed[side], ids[side][pushed[side]]));
          ++pushed[side];
        }
    }
  }
  return events;
}

size_t nth(const std::vector<Event>& events, Event::Kind kind, uint64_t n) {
  for (size_t i = 0; i < events.size(); ++i)
    if (events[i].kind == kind && n-- == 0) return i;
  ADD_FAILURE() << "no such event";
  return 0;
}

class CheckerTest : public testing::TestWithParam<uint64_t> {
 protected:
  static constexpr size_t kMessages = 200;
  std::vector<Event> events_        = clean_history(GetParam(), kMessages);
  engine::SeededRandom random_{GetParam() + 1};

  size_t any(Event::Kind kind) { return nth(events_, kind, random_.below(kMessages)); }
  void erase(size_t at) { events_.erase(events_.begin() + static_cast<ptrdiff_t>(at)); }
};

TEST_P(CheckerTest, ACleanHistoryHasNoAnomaly) {
  const Played played = play(events_);
  EXPECT_EQ(played.log.total(), 0u)
      << (played.log.samples().empty() ? "" : played.log.samples()[0]);
  EXPECT_TRUE(played.done);
  EXPECT_EQ(played.unknown, 0u);
}

TEST_P(CheckerTest, ALostSendIsFound) {
  // Neither acknowledged nor pushed: the server forgot it before it had an id, so later ids close up.
  const size_t at  = any(Event::Kind::ack);
  const Event gone = events_[at];
  std::erase_if(events_, [&](const Event& e) {
    const uint32_t author = e.kind == Event::Kind::push ? e.side ^ 1 : e.side;
    return e.kind != Event::Kind::send && author == gone.side && e.op == gone.op;
  });
  for (Event& e : events_)
    if (e.id > gone.id) --e.id;
  const Played played = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::lost), 1u);
  EXPECT_EQ(played.log.total(), 1u);
  EXPECT_FALSE(played.done);
}

TEST_P(CheckerTest, AnAckWithoutDeliveryIsFound) {
  erase(any(Event::Kind::push));
  const Played played = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::undelivered), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

TEST_P(CheckerTest, AMissingAckIsALostSend) {
  erase(any(Event::Kind::ack));
  const Played played = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::lost), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

TEST_P(CheckerTest, ASecondPushIsADuplicate) {
  const size_t at    = any(Event::Kind::push);
  const Event again  = events_[at];
  const size_t later = at + 1 + random_.below(events_.size() - at);
  events_.insert(events_.begin() + static_cast<ptrdiff_t>(later), again);
  const Played played = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::duplicate), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

TEST_P(CheckerTest, ASecondAckIsADuplicate) {
  const size_t at   = any(Event::Kind::ack);
  const Event again = events_[at];
  events_.insert(events_.begin() + static_cast<ptrdiff_t>(at + 1), again);
  const Played played = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::duplicate), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

TEST_P(CheckerTest, ExchangedPushesAreAnInversion) {
  const size_t first = nth(events_, Event::Kind::push, random_.below(kMessages / 2));
  size_t second      = first + 1;
  while (events_[second].kind != Event::Kind::push || events_[second].side != events_[first].side)
    ++second;
  // The earlier one comes behind the later one, by when both were sent.
  const Event late = events_[first];
  events_.insert(events_.begin() + static_cast<ptrdiff_t>(second + 1), late);
  erase(first);
  const Played played = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::inversion), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

TEST_P(CheckerTest, ExchangedAcksAreAnInversion) {
  const size_t first = nth(events_, Event::Kind::ack, random_.below(kMessages / 2));
  size_t second      = first + 1;
  while (events_[second].kind != Event::Kind::ack || events_[second].side != events_[first].side)
    ++second;
  const Event late = events_[first];
  events_.insert(events_.begin() + static_cast<ptrdiff_t>(second + 1), late);
  erase(first);
  const Played played = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::inversion), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

TEST_P(CheckerTest, AnIdThatIsLeftOutIsAGap) {
  const auto from = static_cast<uint32_t>(2 + random_.below(kMessages - 2));
  for (Event& e : events_)
    if (e.id >= from) ++e.id;
  const Played played = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::gap), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

TEST_P(CheckerTest, AFreshConversationThatBeginsLateHasAGap) {
  for (Event& e : events_)
    if (e.id > 0) e.id += 3;
  EXPECT_EQ(play(events_).log.count(Anomaly::gap), 3u);
}

TEST_P(CheckerTest, AnIdGivenTwiceIsADuplicate) {
  // The last id of all is given to the last message of both: their author and op differ.
  uint32_t last = 0, before = 0;
  for (const Event& e : events_) last = std::max(last, e.id);
  uint32_t author_of_last = 0;
  for (const Event& e : events_)
    if (e.id == last && e.kind == Event::Kind::ack) author_of_last = e.side;
  for (const Event& e : events_)
    if (e.kind == Event::Kind::ack && e.side != author_of_last) before = std::max(before, e.id);
  ASSERT_GT(before, 0u);
  for (Event& e : events_)
    if (e.id == before) e.id = last;
  const Played played = play(events_);
  EXPECT_GE(played.log.count(Anomaly::duplicate), 1u);
}

TEST_P(CheckerTest, APushOfAnotherConversationIsForeign) {
  for (int kind = 0; kind < 3; ++kind) {
    auto events = events_;
    Event stray = events[nth(events, Event::Kind::push, 100)];
    if (kind == 0) stray.body.sender = 900;
    if (kind == 1) stray.body.receiver = 901;
    if (kind == 2) stray.body.run = kRun + 1;
    events.insert(events.begin() + 50, stray);
    const Played played = play(events);
    EXPECT_EQ(played.log.count(Anomaly::foreign), 1u);
    EXPECT_EQ(played.log.total(), 1u);
  }
}

TEST_P(CheckerTest, APushOfSomethingNeverSentIsForeign) {
  Event invented = push(0, kMessages * 2, 1);
  events_.push_back(invented);
  const Played played = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::foreign), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

TEST_P(CheckerTest, DamagedBytesAreCorrupted) {
  Event damaged   = events_[any(Event::Kind::push)];
  damaged.damaged = true;
  events_.push_back(damaged);
  const Played played = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::corrupted), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

TEST_P(CheckerTest, AFrameThatContradictsItsBodyIsAMismatch) {
  events_[any(Event::Kind::push)].from = 999;
  const Played played                  = play(events_);
  EXPECT_EQ(played.log.count(Anomaly::mismatch), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, CheckerTest, testing::Range<uint64_t>(1, 21));

// --- connections that are cut --------------------------------------------------------------------

TEST(CheckerCuts, WhatWasPushedIntoACutConnectionIsFetched) {
  const Played played = play({send(0, 0),
                              ack(0, 0, 1),
                              {.kind = Event::Kind::cut, .side = 1},
                              send(0, 1),
                              ack(0, 1, 2),
                              delivery(Event::Kind::fetch, 1, 0, 1, 2),
                              delivery(Event::Kind::fetch, 1, 0, 0, 1),
                              {.kind = Event::Kind::caught_up, .side = 1},
                              send(0, 2),
                              push(0, 2, 3),
                              ack(0, 2, 3)});
  EXPECT_EQ(played.log.total(), 0u);
  EXPECT_TRUE(played.done);
  EXPECT_EQ(played.unknown, 0u);
}

TEST(CheckerCuts, WhatAHistoryLeavesOutIsUndelivered) {
  const Played played = play({send(0, 0),
                              ack(0, 0, 1),
                              {.kind = Event::Kind::cut, .side = 1},
                              send(0, 1),
                              ack(0, 1, 2),
                              delivery(Event::Kind::fetch, 1, 0, 1, 2),
                              {.kind = Event::Kind::caught_up, .side = 1}});
  EXPECT_EQ(played.log.count(Anomaly::undelivered), 1u);
  EXPECT_EQ(played.log.total(), 1u);
}

TEST(CheckerCuts, AFetchedMessageMayStillBePushedOnce) {
  const Event late = push(0, 0, 1);
  const std::vector<Event> clean{{.kind = Event::Kind::cut, .side = 1},
                                 send(0, 0),
                                 delivery(Event::Kind::fetch, 1, 0, 0, 1),
                                 {.kind = Event::Kind::caught_up, .side = 1},
                                 late,
                                 ack(0, 0, 1)};
  EXPECT_EQ(play(clean).log.total(), 0u);
  std::vector<Event> twice = clean;
  twice.push_back(late);
  EXPECT_EQ(play(twice).log.count(Anomaly::duplicate), 1u);
}

TEST(CheckerCuts, ASendOnACutConnectionIsUnknownNotLost) {
  const Played played = play({send(0, 0),
                              ack(0, 0, 1),
                              push(0, 0, 1),
                              send(0, 1),
                              {.kind = Event::Kind::cut, .side = 0},
                              {.kind = Event::Kind::caught_up, .side = 0}});
  EXPECT_EQ(played.log.total(), 0u);
  EXPECT_TRUE(played.done);
  EXPECT_EQ(played.unknown, 1u);
}

TEST(CheckerCuts, AnUnknownSendThatWasStoredMustBeDelivered) {
  const Played played = play({send(0, 0),
                              {.kind = Event::Kind::cut, .side = 0},
                              delivery(Event::Kind::fetch, 0, 0, 0, 1),
                              {.kind = Event::Kind::caught_up, .side = 0}});
  EXPECT_EQ(played.log.count(Anomaly::undelivered), 1u);
}

TEST(CheckerCuts, AnUnknownSendMayHoldAnIdThatNobodySaw) {
  const Event cut{.kind = Event::Kind::cut, .side = 0};
  const Event back{.kind = Event::Kind::caught_up, .side = 0};
  EXPECT_EQ(play({send(0, 0), cut, back, send(0, 1), ack(0, 1, 2), push(0, 1, 2)}).log.total(), 0u);
  EXPECT_EQ(play({send(0, 0), cut, back, send(0, 1), ack(0, 1, 3), push(0, 1, 3)})
                .log.count(Anomaly::gap),
            1u)
      << "one unknown send excuses one id";
}

TEST(CheckerCuts, ACutSendMayComeBackToItsAuthor) {
  const Event echo = delivery(Event::Kind::push, 0, 0, 0, 1);
  const Event cut{.kind = Event::Kind::cut, .side = 0};
  const Event back{.kind = Event::Kind::caught_up, .side = 0};
  EXPECT_EQ(play({send(0, 0), cut, echo, back, push(0, 0, 1)}).log.total(), 0u);
  EXPECT_EQ(play({send(0, 0), cut, back, echo, push(0, 0, 1)}).log.total(), 0u);
  EXPECT_EQ(play({send(0, 0), echo, ack(0, 0, 1), push(0, 0, 1)}).log.count(Anomaly::foreign), 1u)
      << "on the connection that sent it";
}

TEST(CheckerCuts, WhoIsAwayAtTheEndMissesNothing) {
  const Played played =
      play({{.kind = Event::Kind::cut, .side = 1}, send(0, 0), ack(0, 0, 1)}, {true, false});
  EXPECT_EQ(played.log.total(), 0u);
  EXPECT_EQ(played.unknown, 1u);
}

TEST(Checker, RoomEndsAtTheBound) {
  AnomalyLog log;
  Conversation conversation({.run = kRun, .users = kPeople}, log);
  for (uint32_t i = 0; i < Conversation::kSlotsMax; ++i) {
    ASSERT_TRUE(conversation.has_room(0));
    conversation.send(0, i);
  }
  EXPECT_FALSE(conversation.has_room(0));
  EXPECT_TRUE(conversation.has_room(1));
}

TEST(Checker, ManyMoreSendsThanSlotsAndSequences) {
  AnomalyLog log;
  Conversation conversation({.run = kRun, .users = kPeople, .fresh = true}, log);
  std::byte bytes[kBodyBytesMin];
  for (uint32_t op = 0; op < 200'000; ++op) {
    conversation.send(0, op);
    const auto acked = conversation.ack(0, Conversation::sequence_of(op), op + 1);
    ASSERT_TRUE(acked && acked->op == op && acked->intended_ns == op);
    encode_body(bytes, {kRun, kPeople[0], kPeople[1], op, op});
    ASSERT_TRUE(conversation.push(1, {kPeople[0], kPeople[1], op + 1, bytes}));
  }
  conversation.finish({true, true});
  EXPECT_EQ(log.total(), 0u);
}

// --- bodies --------------------------------------------------------------------------------------

TEST(Body, ComesBackAsItWasAtEverySize) {
  engine::SeededRandom random(5);
  for (const uint32_t bytes : {kBodyBytesMin, kBodyBytesMin + 1, 100u, 4000u, kBodyBytesMax}) {
    const Body body{.run         = static_cast<uint32_t>(random.next()),
                    .sender      = static_cast<uint32_t>(random.next()),
                    .receiver    = static_cast<uint32_t>(random.next()),
                    .op          = random.next() >> 24,
                    .intended_ns = random.next()};
    std::vector<std::byte> text(bytes);
    encode_body(text, body);
    EXPECT_EQ(decode_body(text), body);
  }
}

TEST(Body, EveryFlippedBitIsNoticed) {
  std::vector<std::byte> text(100);
  encode_body(text, {.run = 1, .sender = 2, .receiver = 3, .op = 4, .intended_ns = 5});
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    auto flipped = text;
    flipped[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_EQ(decode_body(flipped), std::nullopt) << bit;
  }
  for (size_t bytes = 0; bytes < text.size(); ++bytes)
    EXPECT_EQ(decode_body(Bytes(text).first(bytes)), std::nullopt) << bytes;
}

}  // namespace
}  // namespace ringtalk::loadgen
