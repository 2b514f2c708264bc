// bench_store_mysql: what a durable message costs through MySQL, beside the same rows without us.
//
// Question      Rows per second, and processor time of client and server per row, at K rows per transaction.
// Variants      autocommit  one INSERT per message, each its own transaction: what TeamTalk did
//               bare        BEGIN, one array-bound INSERT per message table used, COMMIT; nothing else
//               driver      MySqlStore: heads, repeat keys, RTLane, ids, results; one lane
// Method        All write the same columns into IMMessage_0…7 with all keys, through one connection. While a
//               transaction of `driver` is at the server, the next K appends are taken in.
//               --rate: `driver` only, open loop; latency counts from when a message was due.
// What misleads The tables grow while a cell runs, and bodies are equal but for eight bytes. The server's time
//               is read in ticks of 10 ms.
// Environment   RINGTALK_TEST_MYSQL, host:port:user:password; --database is made and dropped.
// Output        One JSON object.
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>
#include <vector>

#include "bench/flags.h"
#include "bench/histogram.h"
#include "engine/clock.h"
#include "engine/fake_ring.h"
#include "store/mysql/mysql_store.h"
#include "store/mysql/schema.h"

namespace ringtalk::bench {
namespace {

namespace sql = store::sql;

constexpr uint32_t kTables = 8;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bench_store_mysql: %s\n", what.c_str());
  std::exit(1);
}

template <class T>
T must(sql::Answer<T> answer, const char* what) {
  if (!answer) die(std::string(what) + ": " + answer.error().text);
  if constexpr (!std::is_void_v<T>) return std::move(*answer);
}

double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

// utime and stime of /proc/PID/stat, behind the name in brackets.
double cpu_of(long pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const size_t name = text.rfind(')');
  if (name == std::string::npos) die("--server-pid: no such process");
  std::istringstream fields(text.substr(name + 1));
  std::string word;
  for (int i = 0; i < 11; ++i) fields >> word;
  double user = 0, kernel = 0;
  fields >> user >> kernel;
  return (user + kernel) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

sql::Server server_of(const std::string& address, const std::string& database) {
  std::istringstream words(address);
  std::string port;
  sql::Server server;
  std::getline(words, server.host, ':');
  std::getline(words, port, ':');
  std::getline(words, server.user, ':');
  std::getline(words, server.password);
  server.port            = static_cast<uint16_t>(std::strtoul(port.c_str(), nullptr, 10));
  server.database        = database;
  server.read_timeout_ms = 20'000;
  return server;
}

struct Cell {
  uint32_t batch         = 1;
  uint32_t record_bytes  = 100;
  uint32_t conversations = 10'000;
  uint64_t rate          = 0;  // 0: as fast as it goes
};

// --- without us -----------------------------------------------------------------------------------------

class Bare {
 public:
  Bare(sql::Connection& connection, const Cell& cell)
      : connection_(connection), cell_(cell), newest_(cell.conversations) {
    for (uint32_t i = 0; i < kTables; ++i)
      texts_.push_back(
          "INSERT INTO IMMessage_" + std::to_string(i) +
          " (relateId, fromId, toId, msgId, content, type, status, updated, created, rtSeq, "
          "rtKey, rtSmall) VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?)");
  }

  void write(bool transaction) {
    for (auto& rows : rows_) rows = {};
    for (uint32_t i = 0; i < cell_.batch; ++i) add();
    if (transaction) must(connection_.run("BEGIN"), "BEGIN");
    for (uint32_t table = 0; table < kTables; ++table) insert(table);
    if (transaction) must(connection_.run("COMMIT"), "COMMIT");
  }

 private:
  struct Table {
    std::vector<uint64_t> relation, from, to, id, type, time, small;
    std::vector<std::string> content, key;
  };

  void add() {
    const auto at    = static_cast<uint32_t>(sent_ * 2654435761u % cell_.conversations);
    const uint32_t a = at + 1, id = ++newest_[at];
    Table& to = rows_[a % kTables];
    to.relation.push_back(a);
    to.from.push_back(a);
    to.to.push_back(a + 1);
    to.id.push_back(id);
    to.type.push_back(1);
    to.time.push_back(1'700'000'000);
    to.small.push_back(id);
    std::string body = std::to_string(sent_++);
    body.resize(cell_.record_bytes, 'x');
    to.key.push_back(body.substr(0, 16));
    to.content.push_back(std::move(body));
  }

  void insert(uint32_t table) {
    const Table& rows = rows_[table];
    const size_t n    = rows.id.size();
    if (n == 0) return;
    const std::vector<std::string_view> contents(rows.content.begin(), rows.content.end());
    const std::vector<std::string_view> keys(rows.key.begin(), rows.key.end());
    if (n == 1) {
      must(connection_.execute(texts_[table], {rows.relation[0], rows.from[0], rows.to[0],
                                               rows.id[0], contents[0], rows.type[0], rows.time[0],
                                               rows.time[0], rows.id[0], keys[0], rows.small[0]}),
           "INSERT");
      return;
    }
    const auto number = [](const std::vector<uint64_t>& v) { return sql::Column{.numbers = v}; };
    const std::vector<sql::Column> columns{
        number(rows.relation), number(rows.from), number(rows.to),   number(rows.id),
        {.texts = contents},   number(rows.type), number(rows.time), number(rows.time),
        number(rows.id),       {.texts = keys},   number(rows.small)};
    must(connection_.execute_many(texts_[table], columns, n), "INSERT");
  }

  sql::Connection& connection_;
  const Cell cell_;
  std::vector<std::string> texts_;
  std::vector<uint32_t> newest_;
  std::array<Table, kTables> rows_;
  uint64_t sent_ = 0;
};

// --- through the store ----------------------------------------------------------------------------------

// A loop that has nothing but its store to wait for.
class Doorbell final : public engine::Bell {
 public:
  void wait() {
    rung_.wait(false);
    rung_.store(false);
  }
  void wait_ns(uint64_t ns) {
    if (!rung_.load()) std::this_thread::sleep_for(std::chrono::nanoseconds(ns));
    rung_.store(false);
  }

 private:
  void wake() override {
    rung_.store(true);
    rung_.notify_one();
  }
  std::atomic<bool> rung_{false};
};

uint32_t first_home(UserId, uint32_t) { return 0; }
uint32_t first_home(ConversationId, uint32_t) { return 0; }

class Driver final : public store::Sink {
 public:
  Driver(const sql::Server& server, const Cell& cell)
      : cell_(cell), body_(cell.record_bytes, std::byte{'x'}) {
    stores_ = must(store::MySqlStores::open({.master = [server] { return sql::connect(server); },
                                             .homes  = {1, first_home, first_home}},
                                            clock_),
                   "open");
    stores_->set_bell(0, &bell_);
    store_ = stores_->make(0, ring_, metrics_, *this);
    stores_->start();
  }
  ~Driver() override {
    store_.reset();
    (void)stores_->close();
  }

  // A message in each conversation: its first one also makes a relation, which `bare` has none of.
  void meet() {
    while (sent_ < cell_.conversations) {
      const auto room = static_cast<uint32_t>(std::min<uint64_t>(512, cell_.conversations - sent_));
      fill(room);
      store_->on_turn(clock_.now_ns());
      while (results_ < sent_) turn();
    }
  }

  // Batches of K rows, one at the server, the next one taken in meanwhile.
  uint64_t closed(double for_s, Histogram& commits) {
    const uint64_t first = results_, begin = clock_.now_ns();
    uint64_t target = results_;
    fill(cell_.batch);
    for (bool more = true; more;) {
      target += cell_.batch;
      const uint64_t started = clock_.now_ns();
      store_->on_turn(started);
      fill(cell_.batch);
      while (results_ < target) turn();
      const uint64_t now = clock_.now_ns();
      commits.add(now - started);
      more = static_cast<double>(now - begin) < for_s * 1e9;
    }
    const uint64_t done = results_ - first;
    while (!store_->idle()) turn();
    return done;
  }

  // A message each 1/rate s, whatever became of those before.
  uint64_t open_loop(double for_s, Histogram& acks) {
    const uint64_t first = results_, begin = clock_.now_ns();
    acks_             = &acks;
    const auto count  = static_cast<uint64_t>(for_s * static_cast<double>(cell_.rate));
    const auto due_ns = [&](uint64_t i) { return begin + i * kNsPerS / cell_.rate; };
    for (uint64_t i = 0; i < count || results_ - first < count;) {
      const uint64_t now = clock_.now_ns();
      while (i < count && due_ns(i) <= now && store_->has_room()) append(due_ns(i++));
      store_->on_turn(now);
      tick(now);
      if (i < count && due_ns(i) > now && !store_->work_waits())
        bell_.wait_ns(std::min<uint64_t>(due_ns(i) - now + 50'000, kNsPerMs));
      else if (i == count)
        turn();
    }
    acks_ = nullptr;
    return results_ - first;
  }

  void on_appended(const store::Appended& result) override {
    if (result.error.code != Errc::ok) die("a row was refused");
    if (acks_) acks_->add(clock_.now_ns() - result.cookie);
    ++results_;
  }
  void on_page(uint64_t, Error, std::span<const store::Message>) override {}
  void on_failed(Error) override { die("the store failed"); }

 private:
  void turn() {
    bell_.fall_asleep();
    if (!store_->work_waits()) bell_.wait();
    bell_.wake_up();
    const uint64_t now = clock_.now_ns();
    store_->on_turn(now);
    tick(now);
  }
  void tick(uint64_t now) {
    if (now - ticked_ns_ < 100 * kNsPerMs) return;
    ticked_ns_ = now;
    store_->on_tick(now);
  }
  void append(uint64_t cookie) {
    const uint32_t a = 1 + static_cast<uint32_t>(sent_ * 2654435761u % cell_.conversations);
    const auto text  = std::to_string(sent_);
    std::memcpy(body_.data(), text.data(), std::min(text.size(), body_.size()));
    const auto done =
        store_->append({.conversation = ConversationId::single(UserId(a), UserId(a + 1)),
                        .author       = UserId(a),
                        .type         = 1,
                        .body         = body_,
                        .repeat_key   = sent_ + 1,
                        .deadline_ns  = ~uint64_t{0},
                        .cookie       = cookie});
    if (!done) die("append: no room");
    ++sent_;
  }
  void fill(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) append(clock_.now_ns());
  }

  engine::RealClock clock_;
  engine::FakeClock ring_clock_;
  engine::FakeWorld world_{ring_clock_, nullptr,
                           1};  // the store's reads would use it; there are none
  engine::FakeRing ring_{world_, {}};
  engine::Metrics metrics_;
  Doorbell bell_;
  const Cell cell_;
  std::vector<std::byte> body_;
  std::unique_ptr<store::MySqlStores> stores_;
  std::unique_ptr<store::Store> store_;
  Histogram* acks_    = nullptr;
  uint64_t sent_      = 0;
  uint64_t results_   = 0;
  uint64_t ticked_ns_ = 0;
};

// --- a cell ---------------------------------------------------------------------------------------------

template <class Run>
void measure(const std::string& variant, const Cell& cell, long server_pid, double for_s, Run run) {
  Histogram warm, times;
  run(for_s / 5, warm);
  const double own = seconds(CLOCK_PROCESS_CPUTIME_ID), server = cpu_of(server_pid);
  const double began = seconds(CLOCK_MONOTONIC);
  const auto rows    = static_cast<double>(run(for_s, times));
  const double took  = seconds(CLOCK_MONOTONIC) - began;
  std::printf(
      "{\"variant\": \"%s\", \"batch\": %u, \"rate\": %llu, \"rows_per_second\": %.0f, "
      "\"client_us_per_row\": "
      "%.3f, \"server_us_per_row\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
      variant.c_str(), cell.batch, static_cast<unsigned long long>(cell.rate), rows / took,
      (seconds(CLOCK_PROCESS_CPUTIME_ID) - own) / rows * 1e6,
      (cpu_of(server_pid) - server) / rows * 1e6, times.quantile_us(0.5), times.quantile_us(0.99));
}

int run(const Flags& flags) {
  const char* const address  = std::getenv("RINGTALK_TEST_MYSQL");
  const std::string database = flags.text("--database", "ringtalk_bench");
  const std::string variant  = flags.text("--variant", "driver");
  const long server_pid      = flags.number("--server-pid", 0L);
  const double for_s         = flags.number("--seconds", 3.0);
  const Cell cell{.batch         = flags.number<uint32_t>("--batch", 1024),
                  .record_bytes  = flags.number<uint32_t>("--record", 100),
                  .conversations = flags.number<uint32_t>("--conversations", 10'000),
                  .rate          = flags.number<uint64_t>("--rate", 0)};
  if (!address) flags.usage("RINGTALK_TEST_MYSQL names no server");
  if (server_pid <= 0) flags.usage("--server-pid is missing");
  if (cell.batch < 1 || cell.batch > store::MessageBatch::kRowsMax)
    flags.usage("--batch: 1 to 1024");
  if (cell.record_bytes < 32 || cell.record_bytes > 4000) flags.usage("--record: 32 to 4000");
  if (cell.conversations < 1) flags.usage("--conversations: at least 1");
  const auto admin = must(sql::connect(server_of(address, "")), "connect");
  must(admin->run("CREATE DATABASE " + database), "CREATE DATABASE");
  const sql::Server server = server_of(address, database);
  {
    const auto connection = must(sql::connect(server), "connect");
    must(sql::create_schema(*connection), "schema");
    if (variant == "autocommit" || variant == "bare") {
      if (variant == "autocommit" && cell.batch != 1) flags.usage("autocommit: --batch is 1");
      Bare bare(*connection, cell);
      measure(variant, cell, server_pid, for_s, [&](double seconds_each, Histogram& times) {
        uint64_t rows      = 0;
        const double began = seconds(CLOCK_MONOTONIC);
        for (double now = began; now < began + seconds_each; rows += cell.batch) {
          bare.write(variant == "bare");
          const double then = std::exchange(now, seconds(CLOCK_MONOTONIC));
          times.add(static_cast<uint64_t>((now - then) * 1e9));
        }
        return rows;
      });
    } else if (variant == "driver") {
      Driver driver(server, cell);
      driver.meet();
      measure(variant, cell, server_pid, for_s, [&](double seconds_each, Histogram& times) {
        return cell.rate > 0 ? driver.open_loop(seconds_each, times)
                             : driver.closed(seconds_each, times);
      });
    } else {
      flags.usage("--variant: autocommit, bare or driver");
    }
  }
  must(admin->run("DROP DATABASE " + database), "DROP DATABASE");
  return 0;
}

}  // namespace
}  // namespace ringtalk::bench

int main(int argc, char** argv) {
  return ringtalk::bench::run({argc,
                               argv,
                               {{"--variant", "autocommit, bare, driver"},
                                {"--batch", "rows per transaction (1024)"},
                                {"--record", "of a body (100)"},
                                {"--conversations", "in rotation (10000)"},
                                {"--seconds", "of the cell (3)"},
                                {"--rate", "rows per second, open loop (driver)"},
                                {"--database", "to be made and dropped (ringtalk_bench)"},
                                {"--server-pid", "whose processor time is the server's"}}});
}
