#include "gateway/reload.h"

#include <signal.h>
#include <unistd.h>

#include <utility>

#include "engine/base/assert.h"

namespace ringtalk::gateway {

ReloadOutcome take_over(Settings& running, const Settings& wanted) {
  Settings next                    = running;
  Settings read                    = wanted;
  const engine::ConfigSchema there = settings_schema(next);
  const engine::ConfigSchema here  = settings_schema(read);
  RT_ASSERT(there.settings().size() == here.settings().size());
  ReloadOutcome outcome;
  for (size_t i = 0; i < there.settings().size(); ++i) {
    const engine::Setting& to        = there.settings()[i];
    const engine::SettingValue value = here.settings()[i].get();
    if (to.get() == value) continue;
    if (to.reloads) to.set(value);
    (to.reloads ? outcome.changed : outcome.restart_needed).push_back(to.path());
  }
  // What was read is without conflict; joined with keys that keep their old value it may not be.
  const std::vector<std::string> conflicts = settings_conflicts(next);
  if (!conflicts.empty()) return {.errors = conflicts};
  running = next;
  return outcome;
}

bool ReloadDesk::ask(Done done) {
  if (waiting_.size() >= kAsksMax) return false;
  waiting_.push_back(std::move(done));
  if (state_.load(std::memory_order_acquire) == State::idle) start();
  return true;
}

void ReloadDesk::start() {
  RT_ASSERT(served_.empty());
  served_ = std::move(waiting_);
  waiting_.clear();
  state_.store(State::asked, std::memory_order_release);  // partner: asked()
  ::kill(::getpid(), SIGHUP);                             // the main thread waits for signals
}

void ReloadDesk::answer(ReloadOutcome outcome) {
  RT_ASSERT(asked());
  outcome_ = std::move(outcome);
  state_.store(State::answered, std::memory_order_release);  // partner: work_waits()
}

void ReloadDesk::on_turn() {
  if (!work_waits()) return;
  const ReloadOutcome outcome = std::move(outcome_);
  std::vector<Done> served    = std::exchange(served_, {});
  state_.store(State::idle, std::memory_order_relaxed);
  for (Done& done : served) done(outcome);
  if (!waiting_.empty() && state_.load(std::memory_order_relaxed) == State::idle) start();
}

}  // namespace ringtalk::gateway
