#include "gateway/reload.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <set>

namespace ringtalk::gateway {
namespace {

using Paths = std::vector<std::string>;

TEST(TakeOver, NothingNewChangesNothing) {
  Settings running;
  const ReloadOutcome outcome = take_over(running, Settings());
  EXPECT_TRUE(outcome.ok() && outcome.changed.empty() && outcome.restart_needed.empty());
}

TEST(TakeOver, ReloadableKeysAreTakenOthersAreNamed) {
  Settings running, wanted;
  wanted.limits.idle_pc_s     = 60;
  wanted.log.level            = "debug";
  wanted.login.allowed_states = {0, 1};
  wanted.shards               = 3;
  wanted.listen.port          = 9;
  const ReloadOutcome outcome = take_over(running, wanted);
  EXPECT_EQ(outcome.changed, (Paths{"limits.idle_pc_s", "login.allowed_states", "log.level"}));
  EXPECT_EQ(outcome.restart_needed, (Paths{"listen", "shards"}));
  EXPECT_EQ(running.limits.idle_pc_s, 60u);
  EXPECT_EQ(running.log.level, "debug");
  EXPECT_EQ(running.shards, 0u) << "stays as it is";
  EXPECT_EQ(running.listen.port, 8000);
  // What waits for a restart is said each time, and going back is a change again.
  const ReloadOutcome again = take_over(running, Settings());
  EXPECT_EQ(again.changed.size(), 3u);
  EXPECT_TRUE(again.restart_needed.empty());
  EXPECT_EQ(take_over(running, wanted).restart_needed.size(), 2u);
}

// Each key by itself: it is either taken over or named, and no other is touched.
TEST(TakeOver, EveryKeyIsOneOrTheOther) {
  Settings base;
  const engine::ConfigSchema schema = settings_schema(base);
  for (const engine::Setting& key : schema.settings()) {
    Settings wanted, running;
    const engine::ConfigSchema to = settings_schema(wanted);
    for (const engine::Setting& setting : to.settings()) {
      if (setting.path() != key.path()) continue;
      const engine::SettingValue value = setting.get();
      if (const auto* number = std::get_if<int64_t>(&value))
        setting.set(*number == setting.range.min ? *number + 1 : setting.range.min);
      else if (std::holds_alternative<bool>(value))
        setting.set(!std::get<bool>(value));
      else if (std::holds_alternative<std::string>(value))
        setting.set(setting.choices.empty() ? std::string("other") : setting.choices.back());
      else if (std::holds_alternative<engine::Address>(value))
        setting.set(engine::Address{"127.0.0.9", 9});
      else if (std::holds_alternative<std::vector<int64_t>>(value))
        setting.set(std::vector<int64_t>{7});
      else
        setting.set(std::vector<std::string>{"other"});
    }
    const ReloadOutcome outcome = take_over(running, wanted);
    ASSERT_TRUE(outcome.ok()) << key.path() << ": " << outcome.errors.front();
    EXPECT_EQ(key.reloads ? outcome.changed : outcome.restart_needed, Paths{key.path()});
    EXPECT_TRUE((key.reloads ? outcome.restart_needed : outcome.changed).empty()) << key.path();
    EXPECT_EQ(settings_toml(running), settings_toml(key.reloads ? wanted : Settings()));
  }
}

// --- the desk --------------------------------------------------------------------------------------------

// The signal that ask() sends to this process stays pending: the test is the main thread, too.
class Desk : public testing::Test {
 protected:
  Desk() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  }
  ~Desk() override {
    signalled();
    pthread_sigmask(SIG_UNBLOCK, &set_, nullptr);
  }
  bool signalled() {
    const timespec now{};
    return sigtimedwait(&set_, nullptr, &now) == SIGHUP;
  }

  sigset_t set_;
  ReloadDesk desk_;
  std::vector<std::string> heard_;
  ReloadDesk::Done note(const std::string& who) {
    return [this, who](const ReloadOutcome& outcome) {
      heard_.push_back(who + ":" + (outcome.ok() ? "ok" : outcome.errors.front()));
    };
  }
};

TEST_F(Desk, AskSignalsAndTheAnswerComesInALaterTurn) {
  EXPECT_FALSE(desk_.asked());
  EXPECT_TRUE(desk_.ask(note("a")));
  EXPECT_TRUE(signalled());
  EXPECT_TRUE(desk_.asked());
  desk_.on_turn();
  EXPECT_TRUE(heard_.empty());
  desk_.answer({.errors = {"x:1: bad"}});
  EXPECT_TRUE(desk_.work_waits());
  desk_.on_turn();
  EXPECT_EQ(heard_, (Paths{"a:x:1: bad"}));
  EXPECT_FALSE(desk_.work_waits());
  desk_.on_turn();
  EXPECT_EQ(heard_.size(), 1u);
}

TEST_F(Desk, WhoComesDuringAReloadGetsAnotherOne) {
  EXPECT_TRUE(desk_.ask(note("a")));
  EXPECT_TRUE(signalled());
  EXPECT_TRUE(desk_.ask(note("b")));
  EXPECT_TRUE(desk_.ask(note("c")));
  EXPECT_FALSE(signalled()) << "one at a time";
  desk_.answer({});
  desk_.on_turn();
  EXPECT_EQ(heard_, (Paths{"a:ok"}));
  EXPECT_TRUE(signalled());
  EXPECT_TRUE(desk_.asked());
  desk_.answer({.errors = {"later"}});
  desk_.on_turn();
  EXPECT_EQ(heard_, (Paths{"a:ok", "b:later", "c:later"}));
}

TEST_F(Desk, AskingInsideAnAnswerIsAnotherReload) {
  desk_.ask([this](const ReloadOutcome&) { desk_.ask(note("again")); });
  signalled();
  desk_.answer({});
  desk_.on_turn();
  EXPECT_TRUE(desk_.asked());
  desk_.answer({});
  desk_.on_turn();
  EXPECT_EQ(heard_, (Paths{"again:ok"}));
}

TEST_F(Desk, AFloodOfAsksIsBounded) {
  size_t taken = 0;
  for (int i = 0; i < 1000; ++i) taken += desk_.ask(note("x"));
  EXPECT_EQ(taken, ReloadDesk::kAsksMax + 1);
  desk_.answer({});
  desk_.on_turn();
  desk_.answer({});
  desk_.on_turn();
  EXPECT_EQ(heard_.size(), taken);
}

}  // namespace
}  // namespace ringtalk::gateway
