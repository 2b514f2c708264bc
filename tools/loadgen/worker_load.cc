// The load of a Worker: what its people send when it is due, and what they do with the answers.
#include <algorithm>
#include <utility>

#include "proto/message.pb.h"
#include "proto/parse.h"
#include "tools/loadgen/worker.h"

namespace ringtalk::loadgen {

using proto::CommandId;

// --- load ----------------------------------------------------------------------------------------

void Worker::run_schedule(uint64_t until) {
  for (; sends_.due_ns() < until; sends_.advance()) fire_send(sends_.due_ns(), now());
  for (; churn_.due_ns() < until; churn_.advance()) fire_churn(churn_.due_ns());
  for (; histories_.due_ns() < until; histories_.advance()) fire_history(histories_.due_ns());
}

void Worker::fire_send(uint64_t due, uint64_t at) {
  if (talkers_.empty()) return;
  const bool in_turn = s_.arrivals == "constant";
  const auto count   = static_cast<uint32_t>(talkers_.size());
  const auto chosen  = in_turn ? next_talker_ : static_cast<uint32_t>(random_.below(count));
  next_talker_       = (next_talker_ + 1) % count;
  Person& person     = people_[talkers_[chosen]];
  if (person.state != Person::State::online) {
    second_.tally.skipped += s_.burst;
    return;
  }
  if (is_measured(due)) out_.timings.lateness.record(at - due);
  for (uint32_t i = 0; i < s_.burst; ++i) {
    const bool waits = person.late && !person.late->empty();
    if (!waits && has_room(person)) {
      send_message(person, due);
      continue;
    }
    if (!person.late) person.late = std::make_unique<std::deque<uint64_t>>();
    if (person.late->size() < kLateMax) {
      person.late->push_back(due);
    } else {
      ++second_.tally.unsent;
    }
  }
}

// Their clocks have been running.
void Worker::send_late(Person& person) {
  while (person.state == Person::State::online && !person.late->empty() && has_room(person)) {
    send_message(person, person.late->front());
    person.late->pop_front();
  }
}

void Worker::fire_churn(uint64_t due) {
  // A few tries: who is just coming back cannot be cut.
  for (int i = 0; i < 8; ++i) {
    Person& person = people_[random_.below(people_.size())];
    if (person.state != Person::State::online || person.behind || person.slow) continue;
    return cut(person, due);
  }
  ++second_.tally.skipped;
}

void Worker::fire_history(uint64_t due) {
  for (int i = 0; i < 8; ++i) {
    Person& person = people_[random_.below(people_.size())];
    if (person.state != Person::State::online || person.asked || person.slow) continue;
    person.asked    = true;
    person.asked_ns = due;
    return ask_history(person, 0, kLookMessages, kHistorySequence);
  }
  ++second_.tally.skipped;
}

void Worker::fill_window(Person& person) {
  if (phase_ != Phase::load || person.state != Person::State::online) return;
  const uint64_t at = now();
  if (at >= measure_end_ns_) return;
  while (person.unacked < s_.window && has_room(person)) {
    ++person.unacked;
    send_message(person, at);
  }
}

void Worker::send_message(Person& person, uint64_t intended_ns) {
  ++second_.tally.sent;
  Body body{.run = setup_.run, .sender = account_of(person).id, .intended_ns = intended_ns};
  if (is_grouped()) {
    body.receiver = group_of(person).group();
    body.op       = group_of(person).send(member_of(person), intended_ns);
  } else {
    body.receiver = account_of(peer_of(person)).id;
    body.op       = conversation_of(person).send(person.index & 1, intended_ns);
    done_cursor_  = std::min(done_cursor_, person.index / 2);
  }
  person.client->send_message(
      is_grouped() ? proto::MessageType::group_text : proto::MessageType::single_text,
      Conversation::sequence_of(body.op), body, s_.payload_bytes);
}

void Worker::Heartbeat::fire(engine::Timer& timer) noexcept {
  auto& beat = static_cast<Heartbeat&>(timer);
  beat.person.worker.beat(beat.person);
}

void Worker::beat(Person& person) {
  if (person.state != Person::State::online) return;
  ++second_.tally.heartbeats;
  person.beat_ns = now();
  person.client->send_empty(CommandId::heartbeat, kLoginSequence);
  loop_->timers().arm(person.heartbeat, now() + s_.heartbeat_ms * kNsPerMs);
}

// --- answers -------------------------------------------------------------------------------------

void Worker::on_frame(Client& client, const proto::Split& frame) {
  Person& person = people_[client.person()];
  second_.tally.received_bytes += frame.whole.size();
  switch (frame.header.id()) {
    case CommandId::msg_data: return on_push(person, frame);
    case CommandId::msg_data_ack: return on_ack(person, frame);
    case CommandId::login_response: return on_login(person, frame);
    case CommandId::heartbeat:
      ++second_.tally.heartbeats_answered;
      if (is_measured(person.beat_ns)) out_.timings.heartbeat.record(now() - person.beat_ns);
      return;
    case CommandId::get_msg_list_response: return on_history(person, frame);
    case CommandId::kick_user: error("kicked"); return;
    default: return;  // a push this generator has no use for: presence, read marks
  }
}

void Worker::on_bad_frame(Client&) { error("frame of a wrong length"); }

void Worker::on_received(Client& client) {
  Person& person = people_[client.person()];
  if (person.state != Person::State::online) return;
  if (s_.closed_loop()) fill_window(person);
  if (person.late && !person.late->empty()) send_late(person);
}

void Worker::on_ack(Person& person, const proto::Split& frame) {
  const auto ack = proto::parse_message_ack(frame.body);
  if (!ack) return error("acknowledgement does not parse");
  if (person.unacked > 0) --person.unacked;
  const uint32_t user  = account_of(person).id;
  const uint32_t where = is_grouped() ? group_of(person).group() : account_of(peer_of(person)).id;
  if (ack->user_id != user || ack->session_id != where || ack->session_type != session_type()) {
    out_.anomalies.add(Anomaly::mismatch, "acknowledgement names another conversation, id", user,
                       ack->msg_id);
  }
  const uint16_t sequence = frame.header.sequence;
  const auto acked        = is_grouped()
                                ? group_of(person).ack(member_of(person), sequence, ack->msg_id)
                                : conversation_of(person).ack(person.index & 1, sequence, ack->msg_id);
  if (!acked) return;
  ++second_.tally.acked;
  const uint64_t took = now() - acked->intended_ns;
  if (is_measured(acked->intended_ns)) out_.timings.ack.record(took);
  if (!second_.ack) second_.ack = std::make_unique<engine::Histogram>();
  second_.ack->record(took);
}

void Worker::on_push(Person& person, const proto::Split& frame) {
  const auto message = proto::parse_message_data(frame.body);
  if (!message) return error("push does not parse");
  const uint32_t user = account_of(person).id;
  if (frame.header.sequence != 0)
    out_.anomalies.add(Anomaly::mismatch, "push with a sequence, id", user, message->msg_id);
  if (s_.watch_group != 0 && message->to_session_id == s_.watch_group &&
      proto::is_group(message->type))
    return on_watched(person, *message);
  // Not the author: an echo of an own send names us.
  const uint32_t peer = is_grouped() ? group_of(person).group() : account_of(peer_of(person)).id;
  person.client->send_ack({.user_id      = user,
                           .session_id   = peer,
                           .msg_id       = message->msg_id,
                           .session_type = session_type()});
  if (s_.read_percent > 0 && random_.below(100) < s_.read_percent) {
    ++second_.tally.reads;
    person.client->send_read({.user_id      = user,
                              .session_id   = peer,
                              .msg_id       = message->msg_id,
                              .session_type = session_type()});
  }
  const Delivery delivery{.from   = message->from_user_id,
                          .to     = message->to_session_id,
                          .msg_id = message->msg_id,
                          .data   = message->data};
  const auto intended = is_grouped() ? group_of(person).push(member_of(person), delivery)
                                     : conversation_of(person).push(person.index & 1, delivery);
  if (!intended) return;
  ++second_.tally.delivered;
  const uint64_t took = now() - *intended;
  if (is_measured(*intended) && !person.slow) out_.timings.delivery.record(took);
  if (!second_.delivery) second_.delivery = std::make_unique<engine::Histogram>();
  if (!person.slow) second_.delivery->record(took);
}

void Worker::on_watched(Person& person, const proto::MessageDataView& message) {
  const uint32_t user = account_of(person).id;
  person.client->send_ack({.user_id      = user,
                           .session_id   = s_.watch_group,
                           .msg_id       = message.msg_id,
                           .session_type = proto::SessionType::group});
  if (message.msg_id <= person.watched)
    return out_.anomalies.add(Anomaly::duplicate, "pushed twice, or behind a newer one, id", user,
                              message.msg_id);
  while (++person.watched < message.msg_id)
    out_.anomalies.add(Anomaly::undelivered, "of the watched group never saw id", user,
                       person.watched);
  ++second_.tally.delivered;
  out_.watch.note(message.msg_id, now());
}

void Worker::ask_history(Person& person, uint32_t begin, uint32_t count, uint16_t sequence) {
  IM::Message::IMGetMsgListReq request;
  request.set_user_id(account_of(person).id);
  request.set_session_type(IM::BaseDefine::SESSION_TYPE_SINGLE);
  request.set_session_id(account_of(peer_of(person)).id);
  request.set_msg_id_begin(begin);
  request.set_msg_cnt(count);
  person.client->send(CommandId::get_msg_list_request, sequence, request);
}

void Worker::on_history(Person& person, const proto::Split& frame) {
  IM::Message::IMGetMsgListRsp answer;
  if (!proto::parse(answer, frame.body)) return error("history does not parse");
  ++second_.tally.histories;
  const bool catching_up = frame.header.sequence == kCatchUpSequence;
  if (!catching_up && std::exchange(person.asked, false) && is_measured(person.asked_ns))
    out_.timings.history.record(now() - person.asked_ns);
  Conversation& conversation = conversation_of(person);
  const uint32_t side        = person.index & 1;
  const uint32_t user        = account_of(person).id;
  uint32_t oldest            = UINT32_MAX;
  bool older                 = false;
  for (const auto& entry : answer.msg_list()) {
    if (entry.msg_id() >= oldest)
      out_.anomalies.add(Anomaly::inversion, "history does not fall, id", user, entry.msg_id());
    oldest = std::min(oldest, entry.msg_id());
    if (!catching_up || older) continue;
    const Delivery delivery{.from   = entry.from_session_id(),
                            .to     = user,
                            .msg_id = entry.msg_id(),
                            .data   = as_bytes(entry.msg_data())};
    if (conversation.fetch(side, delivery, older)) ++second_.tally.fetched;
  }
  if (!catching_up || !person.behind) return;
  const bool more =
      !older && answer.msg_list_size() > 0 && oldest > 1 && oldest - 1 > person.fetch_floor;
  if (more) return ask_history(person, oldest - 1, kPageMessages, kCatchUpSequence);
  person.behind = false;
  --fetching_;
  conversation.caught_up(side);
}

}  // namespace ringtalk::loadgen
