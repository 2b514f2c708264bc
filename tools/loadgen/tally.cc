#include "tools/loadgen/tally.h"

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
}

}  // namespace ringtalk::loadgen
