#include "tools/loadgen/tally.h"

#include <algorithm>

namespace ringtalk::loadgen {
namespace {

constexpr uint64_t Tally::* kFields[] = {&Tally::sent,
                                         &Tally::acked,
                                         &Tally::delivered,
                                         &Tally::fetched,
                                         &Tally::logins,
                                         &Tally::cuts,
                                         &Tally::lost_connections,
                                         &Tally::heartbeats,
                                         &Tally::heartbeats_answered,
                                         &Tally::histories,
                                         &Tally::reads,
                                         &Tally::skipped,
                                         &Tally::unsent,
                                         &Tally::received_bytes};
static_assert(sizeof(Tally) == std::size(kFields) * sizeof(uint64_t), "a field is missing here");

}  // namespace

Tally& Tally::operator+=(const Tally& other) {
  for (const auto field : kFields) this->*field += other.*field;
  return *this;
}

Tally Tally::operator-(const Tally& other) const {
  Tally left = *this;
  for (const auto field : kFields) left.*field -= other.*field;
  return left;
}

void Timings::merge(const Timings& other) {
  ack.merge(other.ack);
  delivery.merge(other.delivery);
  login.merge(other.login);
  history.merge(other.history);
  lateness.merge(other.lateness);
  heartbeat.merge(other.heartbeat);
}

void Watch::note(uint32_t id, uint64_t now_ns) {
  newest = std::max(newest, id);
  if (id == 0 || id > kMessagesMax) return;
  if (messages.size() < id) messages.resize(id);
  Message& message = messages[id - 1];
  if (message.connections++ == 0) message.first_ns = now_ns;
  message.last_ns = now_ns;
}

void Watch::merge(const Watch& other) {
  watchers += other.watchers;
  newest_sum += other.newest_sum;
  newest = std::max(newest, other.newest);
  if (messages.size() < other.messages.size()) messages.resize(other.messages.size());
  for (size_t i = 0; i < other.messages.size(); ++i) {
    const Message& from = other.messages[i];
    Message& to         = messages[i];
    if (from.connections == 0) continue;
    to.first_ns = to.connections == 0 ? from.first_ns : std::min(to.first_ns, from.first_ns);
    to.last_ns  = std::max(to.last_ns, from.last_ns);
    to.connections += from.connections;
  }
}

}  // namespace ringtalk::loadgen
