// Worker: one thread of the generator: a ring, a share of the users, their schedule and their checks.
//
//     pacers ─ due? ─▶ a person sends ─▶ Client ─▶ ring        on_turn(), as often as something is due
//     ring ─▶ Client ─ frames ─▶ on_frame() ─▶ Conversation (checker), timings
//
// Phases       connect (until all are logged in), warm-up, measure, drain; the times are in Stage, which
//              the conductor writes. What is measured is chosen by the intended time of a send.
// Both users of a conversation, all members of a group, belong to one worker, so checking takes no lock.
// Thread rule  run() on its own thread. progress(), take_seconds() from any; everything that result()
//              gives is read after run() has returned.
// Bound        Conversation::kSlotsMax unfinished sends per user and direction, kLateMax schedule points
//              that wait for room behind them; what goes beyond is counted as unsent.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/runtime.h"
#include "engine/timer_wheel.h"
#include "tools/loadgen/checker.h"
#include "tools/loadgen/client.h"
#include "tools/loadgen/group_checker.h"
#include "tools/loadgen/pacer.h"
#include "tools/loadgen/scenario.h"
#include "tools/loadgen/tally.h"
#include "tools/loadgen/users.h"

namespace ringtalk::loadgen {

// The times of a run, the same for all workers; monotonic ns. Written by the conductor, read by workers
// each turn: relaxed, for nothing else is read by their means.
struct Stage {
  std::atomic<uint64_t> begin_ns{0};  // of the warm-up; 0: still connecting
  std::atomic<bool> stop{false};      // end the measurement now
  std::atomic<bool> give_up{false};   // end without drain
};

struct WorkerSetup {
  const Scenario& scenario;
  Stage& stage;
  std::span<const Account> accounts;  // two by two, or group by group
  std::span<const uint32_t> groups;   // ids, in the order of the accounts
  uint32_t first_pair     = 0;        // of all pairs of the run, for the shares
  uint32_t pairs_all      = 0;
  uint32_t index          = 0;  // of this worker
  uint32_t workers        = 1;
  uint32_t run            = 0;
  bool fresh              = false;
  uint32_t server_address = 0;
  uint16_t server_port    = 0;
  uint32_t source_address = 0;  // first of those it may bind, 0: does not bind
  uint64_t epoch_ns       = 0;  // seconds are counted from here
};

class Worker final : public engine::LoopClient, private Client::Listener {
 public:
  explicit Worker(const WorkerSetup& setup);
  ~Worker() override;

  void run(engine::Runtime::Seat& seat);

  struct Progress {
    uint32_t wanted = 0;  // who should be logged in now
    uint32_t online = 0;
    bool over       = false;
  };
  Progress progress() const;
  std::vector<Second> take_seconds();

  struct Outcome {
    Tally total, measured;
    Timings timings;
    engine::Histogram connect_login;  // logins of the connect phase
    AnomalyLog anomalies;
    Errors errors;
    Watch watch;
    uint64_t unknown       = 0;  // sends whose end nobody saw
    uint64_t storm_over_ns = 0;  // when all who were cut at once were back, after the cut
    uint64_t drain_ns      = 0;
    bool drained           = false;
  };
  const Outcome& outcome() const { return out_; }

 private:
  static constexpr size_t kLateMax           = 8192;
  static constexpr uint16_t kLoginSequence   = 1;
  static constexpr uint16_t kCatchUpSequence = 1;
  static constexpr uint16_t kHistorySequence = 2;
  static constexpr uint32_t kPageMessages    = 100;  // what the server gives at most
  static constexpr uint32_t kLookMessages    = 20;

  struct Person;
  struct Heartbeat : engine::Timer {
    explicit Heartbeat(Person& p) : Timer(&Heartbeat::fire), person(p) {}
    static void fire(engine::Timer& timer) noexcept;
    Person& person;
  };
  // One virtual user, over all his connections.
  struct Person {
    enum class State : uint8_t { away, queued, connecting, login, online, leaving };

    Person(Worker& w, uint32_t i) : worker(w), index(i) {}
    void on_connected(int32_t result, uint32_t) noexcept { worker.on_connected(*this, result); }

    Worker& worker;
    const uint32_t index;
    Client* client       = nullptr;
    State state          = State::away;
    bool wanted          = true;   // is to be logged in
    bool slow            = false;  // does not read while it is measured
    bool behind          = false;  // reads history now
    bool asked           = false;  // an own 0x0309 of history_rate is under way
    bool in_storm        = false;
    uint32_t unacked     = 0;  // of the window
    uint64_t since_ns    = 0;  // when the login was wanted
    uint64_t asked_ns    = 0;
    uint64_t beat_ns     = 0;  // when the last heartbeat left
    uint32_t fetch_floor = 0;
    uint32_t watched     = 0;                    // newest id of the watched group
    std::unique_ptr<std::deque<uint64_t>> late;  // schedule points that wait for room
    engine::Op<Person, &Person::on_connected> connected{*this};
    Heartbeat heartbeat{*this};
  };

  // --- LoopClient
  void on_turn() override;
  void on_turn_end() override {}
  bool work_waits() override { return false; }
  uint64_t wake_ns() override;

  // --- Client::Listener
  void on_frame(Client& client, const proto::Split& frame) override;
  void on_bad_frame(Client& client) override;
  void on_received(Client& client) override;
  void on_gone(Client& client) override;

  // --- phases
  enum class Phase : uint8_t { connect, load, drain, leave, over };
  void begin_load(uint64_t now);
  void begin_measure(uint64_t now);
  void begin_drain(uint64_t now);
  bool is_drained();
  void leave(uint64_t now);
  void finish_checks();

  // --- connections
  void count_wanted();
  void want(Person& person, uint64_t since_ns);
  void want_later(Person& person, uint64_t since_ns, uint64_t delay_ns);
  void start_connects(uint64_t now);
  void dial(Person& person);
  void on_connected(Person& person, int32_t result) noexcept;
  void on_login(Person& person, const proto::Split& frame);
  void cut(Person& person, uint64_t since_ns);
  void ended(Person& person);

  // --- load
  void run_schedule(uint64_t now);
  void fire_send(uint64_t due, uint64_t now);
  void fire_churn(uint64_t due);
  void fire_history(uint64_t due);
  void send_late(Person& person);
  void fill_window(Person& person);
  void send_message(Person& person, uint64_t intended_ns);
  void beat(Person& person);

  // --- answers
  void on_ack(Person& person, const proto::Split& frame);
  void on_push(Person& person, const proto::Split& frame);
  void on_watched(Person& person, const proto::MessageDataView& message);
  void on_history(Person& person, const proto::Split& frame);
  void ask_history(Person& person, uint32_t begin, uint32_t count, uint16_t sequence);

  // --- conversations of two, or groups
  void make_conversations();
  void make_groups();
  bool is_grouped() const { return s_.group_size > 0; }
  GroupChecker& group_of(const Person& person) { return groups_[person.index / s_.group_size]; }
  proto::SessionType session_type() const {
    return is_grouped() ? proto::SessionType::group : proto::SessionType::single;
  }
  uint32_t member_of(const Person& person) const { return person.index % s_.group_size; }
  bool has_room(const Person& person) {
    return is_grouped() ? group_of(person).has_room()
                        : conversation_of(person).has_room(person.index & 1);
  }

  // --- small things
  Conversation& conversation_of(const Person& person) { return conversations_[person.index / 2]; }
  Person& peer_of(const Person& person) { return people_[person.index ^ 1]; }
  const Account& account_of(const Person& person) const { return setup_.accounts[person.index]; }
  bool is_measured(uint64_t intended_ns) const {
    return intended_ns >= measure_begin_ns_ && intended_ns < measure_end_ns_;
  }
  void error(const std::string& kind) { ++out_.errors[kind]; }
  void roll_second(uint64_t now);
  uint64_t now() { return clock_.now_ns(); }

  const WorkerSetup setup_;
  const Scenario& s_;
  engine::RealClock clock_;
  engine::SeededRandom random_;
  engine::Loop* loop_ = nullptr;

  std::deque<Person> people_;
  std::vector<Conversation> conversations_;  // or:
  std::vector<GroupChecker> groups_;
  std::vector<uint32_t> talkers_;  // who sends
  uint32_t next_talker_ = 0;

  Phase phase_               = Phase::connect;
  uint64_t measure_begin_ns_ = UINT64_MAX;
  uint64_t measure_end_ns_   = UINT64_MAX;
  uint64_t drain_began_ns_   = 0;
  uint64_t leave_began_ns_   = 0;
  bool measuring_            = false;
  Tally at_begin_;

  Pacer sends_, churn_, histories_, logins_;
  std::deque<uint32_t> queue_;  // who waits for his connect to start
  struct Retry {
    uint64_t at_ns;
    uint32_t person;
  };
  std::deque<Retry> retries_;
  uint32_t in_flight_   = 0;  // connects and logins
  uint32_t fetching_    = 0;
  uint32_t clients_     = 0;
  uint32_t storm_left_  = 0;
  uint64_t storm_ns_    = 0;
  uint64_t dials_       = 0;
  uint32_t done_cursor_ = 0;  // conversations below are done

  Second second_;
  std::mutex seconds_mutex_;
  std::vector<Second> seconds_;                  // under the mutex: one push per second and worker
  std::atomic<uint32_t> wanted_{0}, online_{0};  // written here, shown by the conductor: relaxed
  std::atomic<bool> over_{false};

  Outcome out_;
};

}  // namespace ringtalk::loadgen
