// bench_store_append: what a durable append costs through the embedded store.
//
// Question      How many records per second, and how much processor time per record, when K appends of R
//               bytes become durable together? To be set against limit_log (variant ring) of the same run.
// Method        One shard on a real ring, in a directory of its own. While a commit is in the kernel the
//               next K appends are taken in, as in limit_log. Authors and conversations rotate through
//               --conversations pairs; every append carries a repeat key.
// What it covers Everything a running server does for an append: checksums, ids, heads, block records,
//               and on the worker's thread preparing, sealing and merging segments.
// --settle      The segments that a start prepares are ready before the clock starts: for short cells.
// What misleads Before it starts the tables are empty: raise --conversations to see cold heads.
// Output        One JSON object per line and batch size.
#include <time.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>
#include <vector>

#include "bench/flags.h"
#include "bench/histogram.h"
#include "engine/clock.h"
#include "engine/uring.h"
#include "store/embedded/embedded_store.h"

namespace ringtalk::bench {
namespace {

uint64_t now_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

[[noreturn]] void die(const char* what, Error error) {
  std::fprintf(stderr, "bench_store_append: %s: code %d errno %d\n", what,
               static_cast<int>(error.code), error.os);
  std::exit(1);
}

uint32_t first_home(UserId, uint32_t) { return 0; }
uint32_t first_home(ConversationId, uint32_t) { return 0; }

class Bench final : public store::Sink {
 public:
  Bench(const std::string& directory, uint32_t record_bytes, uint32_t conversations)
      : body_(record_bytes, std::byte{'x'}), conversations_(conversations) {
    auto disk = engine::open_disk(directory);
    if (!disk) die("directory", disk.error());
    disk_ = std::move(*disk);
    auto ring =
        engine::UringRing::make({.sq_entries = 64, .cq_entries = 256, .slots = 16, .buffers = 16});
    if (!ring) die("ring", ring.error());
    ring_       = std::move(*ring);
    auto stores = store::EmbeddedStores::open(
        {.directory = directory, .homes = {1, first_home, first_home}}, *disk_, clock_);
    if (!stores) die("open", stores.error());
    stores_ = std::move(*stores);
    store_  = stores_->make(0, *ring_, metrics_, *this);
    stores_->start();
  }
  ~Bench() override {
    store_.reset();
    (void)stores_->close();
  }

  // Returns when nothing happens any more: until then the worker fills segments with zeros, 128 MiB whose
  // cost per record depends on how many records a cell has.
  void settle() {
    constexpr uint64_t kPieceNs = 100 * kNsPerMs;
    for (uint32_t quiet = 0, pieces = 0; quiet < 3 && pieces < 200; ++pieces) {
      const uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
      for (const uint64_t end = clock_.now_ns() + kPieceNs; clock_.now_ns() < end;) {
        store_->on_turn(clock_.now_ns());
        store_->on_tick(clock_.now_ns());
        ring_->turn(10 * kNsPerMs);
      }
      quiet = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu < kPieceNs / 50 ? quiet + 1 : 0;
    }
  }

  void run(uint32_t batch, double seconds) {
    const auto cell_ns = static_cast<uint64_t>(seconds * 1e9);
    measure(batch, cell_ns / 5, nullptr);
    commits_              = {};
    const uint64_t cpu    = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    const uint64_t thread = now_ns(CLOCK_THREAD_CPUTIME_ID);
    const uint64_t start  = now_ns(CLOCK_MONOTONIC);
    const uint64_t rows   = measure(batch, cell_ns, &commits_);
    const auto elapsed    = static_cast<double>(now_ns(CLOCK_MONOTONIC) - start);
    const auto used       = static_cast<double>(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    const auto own        = static_cast<double>(now_ns(CLOCK_THREAD_CPUTIME_ID) - thread);
    const auto count      = static_cast<double>(rows);
    std::printf(
        "{\"variant\": \"store\", \"batch\": %u, \"record_bytes\": %zu, \"records_per_second\": "
        "%.0f, "
        "\"cpu_us_per_record\": "
        "%.4f, \"loop_cpu_us_per_record\": %.4f, \"commit_p50_us\": %.1f, \"commit_p99_us\": %.1f, "
        "\"commits\": "
        "%llu}\n",
        batch, body_.size(), count * 1e9 / elapsed, used / count / 1e3, own / count / 1e3,
        commits_.quantile_us(0.5), commits_.quantile_us(0.99),
        static_cast<unsigned long long>(commits_.count()));
    std::fflush(stdout);
  }

  void on_appended(const store::Appended& result) override {
    if (result.error.code != Errc::ok) die("append", result.error);
    ++results_;
  }
  void on_page(uint64_t, Error, std::span<const store::Message>) override {}
  void on_failed(Error error) override { die("store failed", error); }

 private:
  // Batches of `batch` rows, one in flight, the next one taken in meanwhile.
  uint64_t measure(uint32_t batch, uint64_t for_ns, Histogram* commits) {
    const uint64_t first = results_;
    const uint64_t begin = clock_.now_ns();
    uint64_t started_ns  = 0;
    uint64_t ticked_ns   = begin;
    fill(batch);
    uint64_t target = results_;
    for (bool more = true; more;) {
      target += batch;
      started_ns = clock_.now_ns();
      store_->on_turn(started_ns);
      fill(batch);
      while (results_ < target) {
        ring_->turn(kNsPerMs);
        const uint64_t now = clock_.now_ns();
        if (results_ < target) store_->on_turn(now);
        if (now - ticked_ns > 100 * kNsPerMs) {
          store_->on_tick(now);
          ticked_ns = now;
        }
      }
      const uint64_t now = clock_.now_ns();
      if (commits) commits->add(now - started_ns);
      more = now - begin < for_ns;
    }
    while (!store_->idle()) {  // what was taken in ahead
      store_->on_turn(clock_.now_ns());
      ring_->turn(kNsPerMs);
    }
    return results_ - first;
  }

  void fill(uint32_t batch) {
    for (uint32_t i = 0; i < batch; ++i) {
      const uint32_t a = 1 + static_cast<uint32_t>(sent_ * 2654435761u % conversations_);
      std::memcpy(body_.data(), &sent_, sizeof sent_);  // no two records are alike
      store::Append message{.conversation = ConversationId::single(UserId(a), UserId(a + 1)),
                            .author       = UserId(a),
                            .type         = 1,
                            .body         = body_,
                            .repeat_key   = sent_ + 1,
                            .deadline_ns  = ~uint64_t{0},
                            .cookie       = sent_};
      while (!store_->append(message)) {  // waits for a segment
        store_->on_turn(clock_.now_ns());
        ring_->turn(kNsPerMs);
      }
      ++sent_;
    }
  }

  engine::RealClock clock_;
  std::unique_ptr<engine::Disk> disk_;
  std::unique_ptr<engine::UringRing> ring_;
  engine::Metrics metrics_;
  std::unique_ptr<store::EmbeddedStores> stores_;
  std::unique_ptr<store::EmbeddedStore> store_;
  std::vector<std::byte> body_;
  const uint32_t conversations_;
  Histogram commits_;
  uint64_t sent_    = 0;
  uint64_t results_ = 0;
};

}  // namespace
}  // namespace ringtalk::bench

int main(int argc, char** argv) {
  using namespace ringtalk::bench;
  const Flags flags(argc, argv,
                    {{"--dir", "where to write (default: a temporary one)"},
                     {"--batches", "comma-separated (1,8,64,256,1024)"},
                     {"--record", "of a body (200)"},
                     {"--conversations", "in rotation (10000)"},
                     {"--seconds", "per batch size (2)"},
                     {"--settle", ""}});
  const auto record_bytes  = std::max(flags.number<uint32_t>("--record", 200), 8u);
  const auto conversations = std::max(flags.number<uint32_t>("--conversations", 10'000), 1u);
  std::stringstream batches(flags.text("--batches", "1,8,64,256,1024"));
  for (std::string batch; std::getline(batches, batch, ',');) {
    char temporary[]      = "/var/tmp/ringtalk-bench-XXXXXX";
    std::string directory = flags.text("--dir");
    const bool own        = directory.empty();
    if (own) directory = mkdtemp(temporary) ? temporary : "";
    if (directory.empty()) flags.usage("no directory");
    {
      Bench bench(directory, record_bytes, conversations);
      if (flags.has("--settle")) bench.settle();
      bench.run(static_cast<uint32_t>(std::strtoul(batch.c_str(), nullptr, 10)),
                flags.number("--seconds", 2.0));
    }
    if (own) std::filesystem::remove_all(directory);
  }
}
