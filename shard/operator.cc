#include "shard/operator.h"

#include "proto/base_define.pb.h"
#include "shard/login.h"
#include "shard/message.h"

namespace ringtalk::shard {

using engine::Payload;
using engine::PayloadRef;

// --- asking ---------------------------------------------------------------------------------------------

Result<void> Operator::list(uint64_t after, uint32_t limit, OnPage done) {
  const auto to = static_cast<uint32_t>(after >> 32);
  if (to >= context_.shards || limit == 0) {
    done({});
    return {};
  }
  return ask({.ask     = {.from      = static_cast<uint32_t>(after),
                          .count_max = limit,
                          .question  = OperatorQuestion::sessions},
              .to      = to,
              .limit   = limit,
              .on_page = std::move(done)});
}

Result<void> Operator::of_user(UserId user, OnPage done) {
  return ask({.ask     = {.user = user, .question = OperatorQuestion::sessions_of_user},
              .to      = context_.home_of(user),
              .on_page = std::move(done)});
}

Result<void> Operator::kick(UserId user, uint8_t devices, bool expel, OnKicked done) {
  return ask({.ask       = {.user = user, .question = OperatorQuestion::kick, .devices = devices},
              .to        = context_.home_of(user),
              .expel     = expel,
              .on_kicked = std::move(done)},
             /*now=*/!expel);
}

Result<void> Operator::post(UserId author, uint32_t to, uint8_t type, Bytes body, OnPosted done) {
  if (questions_.size() >= kAsksMax) return fail(Errc::full);
  return ask({.ask       = {.user     = author,
                            .question = OperatorQuestion::post,
                            .devices  = type,
                            .to       = to,
                            .body     = Payload::copy(body)},
              .to        = context_.home_of(author),
              .on_posted = std::move(done)});
}

Result<void> Operator::ask(Question question, bool now) {
  if (questions_.size() >= kAsksMax) return fail(Errc::full);
  question.ask.ticket   = next_ticket_++;
  const OperatorAsk ask = question.ask;
  const uint32_t to     = question.to;
  questions_.emplace(ask.ticket, std::move(question));
  if (now) {
    send(to, ask);
  } else {
    goes_on_ = true;
    unsent_.push_back(ask.ticket);
  }
  return {};
}

void Operator::send(uint32_t to, const OperatorAsk& ask) {
  if (to == context_.self) return on_ask(to, ask);
  if (context_.mailbox.open_request(to)) return context_.mailbox.push(to, Event::of(ask));
  unsent_.push_back(ask.ticket);
}

void Operator::on_turn() {
  goes_on_ = false;
  for (size_t n = unsent_.size(); n > 0; --n) {
    Question& question = questions_.at(unsent_.front());
    unsent_.pop_front();
    // The clock of a turn that began after the change was durable: whoever read the old state had been
    // asked for before.
    if (question.expel) question.ask.since_ns = context_.loop.now_ns();
    send(question.to, question.ask);
  }
}

void Operator::on_done(uint32_t from, const OperatorDone& done) {
  context_.mailbox.close_request(from);
  on_answer(done);
}

void Operator::on_answer(const OperatorDone& done) {
  const PayloadRef found = PayloadRef::adopt(done.found);
  const auto at          = questions_.find(done.ticket);
  RT_ASSERT(at != questions_.end());
  Question& question = at->second;
  const Bytes bytes  = found.bytes();
  for (size_t i = 0; i < bytes.size(); i += sizeof(SessionFacts))
    question.page.sessions.push_back(load_native<SessionFacts>(bytes.data() + i));
  if (question.on_page && has_more(question, done.next)) {
    goes_on_ = true;
    return unsent_.push_back(done.ticket);
  }
  Question answered = std::move(question);
  questions_.erase(at);
  if (answered.on_posted) return answered.on_posted(done.error, done.next, done.kicked);
  if (answered.on_kicked) return answered.on_kicked(done.kicked);
  answered.on_page(std::move(answered.page));
}

// The page has room, and there is more to look at: the question is put to the next place.
bool Operator::has_more(Question& question, uint32_t next) {
  if (question.ask.question != OperatorQuestion::sessions) return false;
  if (next == 0) ++question.to;
  const bool over    = question.to == context_.shards;
  question.page.next = over ? 0 : uint64_t{question.to} << 32 | next;
  const auto listed  = static_cast<uint32_t>(question.page.sessions.size());
  if (over || listed >= question.limit) return false;
  question.ask.from      = next;
  question.ask.count_max = question.limit - listed;
  return true;
}

// --- asked ------------------------------------------------------------------------------------------------

void Operator::on_ask(uint32_t from, const OperatorAsk& ask) {
  if (ask.question == OperatorQuestion::post) return put_message(from, ask);
  answer(from, answer_to(ask));
}

void Operator::answer(uint32_t to, const OperatorDone& done) {
  if (to == context_.self) return on_answer(done);
  context_.mailbox.reply(to, Event::of(done));
}

void Operator::put_message(uint32_t from, const OperatorAsk& ask) {
  const PayloadRef body = PayloadRef::adopt(ask.body);
  const proto::MessageDataView message{
      .to_session_id = ask.to, .type = proto::MessageType(ask.devices), .data = body.bytes()};
  const auto posted = [this, from, ticket = ask.ticket](Error error, uint32_t id, uint32_t time) {
    answer(from, {.ticket = ticket, .next = id, .kicked = time, .error = error});
  };
  const auto asked = messages_.post(ask.user, message, posted);
  if (!asked) posted(asked.error(), 0, 0);
}

OperatorDone Operator::answer_to(const OperatorAsk& ask) {
  OperatorDone done{.ticket = ask.ticket};
  if (ask.question == OperatorQuestion::kick) {
    constexpr uint32_t kReason = IM::BaseDefine::KICK_REASON_DUPLICATE_USER;
    if (ask.since_ns > 0) login_.expel(ask.user, ask.since_ns);
    for (const bool mobile : {false, true})
      if (ask.devices & (mobile ? kMobile : kPc))
        done.kicked += login_.kick_class(ask.user, mobile, kReason, nullptr);
    return done;
  }
  std::vector<SessionFacts> found;
  if (ask.question == OperatorQuestion::sessions_of_user) {
    context_.users.each_session(
        ask.user, [&](const Session& session) { found.push_back(facts_of(session)); });
  } else {
    const uint32_t places = context_.sessions.places();
    const uint32_t end =
        places - std::min(places, ask.from) > kPagePlacesMax ? ask.from + kPagePlacesMax : places;
    uint32_t at = ask.from;
    for (; at < end && found.size() < ask.count_max; ++at)
      if (const Session* session = context_.sessions.at(at); session && session->is_open())
        found.push_back(facts_of(*session));
    done.next = at < places ? at : 0;
  }
  if (!found.empty()) done.found = Payload::copy(std::as_bytes(std::span(found)));
  return done;
}

SessionFacts Operator::facts_of(const Session& session) const {
  const uint64_t now = context_.loop.now_ns();
  const auto ago_s   = [&](uint64_t ns) { return static_cast<uint32_t>((now - ns) / kNsPerS); };
  return {.user         = session.user,
          .shard        = context_.self,
          .address      = session.address,
          .since_s      = session.since_s,
          .idle_s       = ago_s(session.received_ns()),
          .queued_bytes = session.queued_bytes(),
          .client_type  = session.client_type};
}

}  // namespace ringtalk::shard
