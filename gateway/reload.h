// Reload: the configuration read again while the server runs. All of it is taken over, or nothing.
//
//   HUP, or POST /api/v1/reload ─▶ main thread: file, environment and flags are read and checked as at
//   the start ─▶ Limits published ─▶ every shard takes them between two turns ─▶ outcome
//
// Errors       any error anywhere changes nothing; each names file and line, variable or flag.
// Restart      keys that cannot change in a running process are named, and keep their old value.
// Thread rule  ReloadDesk: ask(), on_turn(), work_waits() on shard 0; asked(), answer() on the main thread.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "gateway/settings.h"

namespace ringtalk::gateway {

struct ReloadOutcome {
  std::vector<std::string> changed;  // paths of settings that are in force now
  std::vector<std::string>
      restart_needed;               // differ from what runs, and stay as they are until a restart
  std::vector<std::string> errors;  // not empty: nothing was changed

  bool ok() const { return errors.empty(); }
};

// Compares what runs with what was read and takes over what may change. `running` is what is in force
// afterwards.
ReloadOutcome take_over(Settings& running, const Settings& wanted);

// Where shard 0 asks the main thread for a reload and hears of its outcome.
class ReloadDesk {
 public:
  using Done = std::move_only_function<void(const ReloadOutcome&)>;

  static constexpr size_t kAsksMax = 64;

  // `done` is called on this thread, in a later turn. False: too many wait already.
  bool ask(Done done);
  void on_turn();
  bool work_waits() const { return state_.load(std::memory_order_acquire) == State::answered; }

  bool asked() const { return state_.load(std::memory_order_acquire) == State::asked; }
  // The caller rings shard 0's bell afterwards.
  void answer(ReloadOutcome outcome);

 private:
  enum class State : uint8_t { idle, asked, answered };

  void start();

  std::atomic<State> state_{State::idle};  // release by who fills, acquire by who reads `outcome_`
  ReloadOutcome outcome_;
  std::vector<Done> served_;   // by the reload that runs
  std::vector<Done> waiting_;  // came after it began: the file may have changed since
};

}  // namespace ringtalk::gateway
