// limit_log: what a durable append costs in bare group commit, with no store around it.
//
// Question      How many records per second, and how much processor time per record, does one file give
//               when K records of R bytes become durable together and one batch is in flight?
// Method        A zero-filled file that wraps. Three ways to make a batch durable:
//                 ring    ring, WRITE with RWF_DSYNC                 (a kernel worker does it)
//                 direct  ring, WRITE to an O_DIRECT|O_DSYNC file, padded to 4 KiB
//                 plain   pwrite and fdatasync in the calling thread
//               While a batch is in the kernel the ring variants copy the next one together.
// What it omits Checksums, record headers, ids, pointers: the records are copied and nothing else.
// What misleads The process's own clock counts the ring's worker threads; it does not count the device's
//               interrupt work, which is the same for all.
// Output        One JSON object per line and cell.
#include <liburing.h>
#include <time.h>

#include <array>
#include <cstring>
#include <memory>
#include <sstream>
#include <vector>

#include "bench/flags.h"
#include "bench/histogram.h"
#include "bench/limit/zero_file.h"

namespace ringtalk::bench {
namespace {

constexpr size_t kBlockBytes = 4096;

enum class Variant : uint8_t { ring, direct, plain };
constexpr std::array<const char*, 3> kVariantNames = {"ring", "direct", "plain"};

struct Cell {
  Variant variant;
  uint32_t batch_records;
  uint32_t record_bytes;
  double seconds;
};

uint64_t now_ns(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(t.tv_nsec);
}

struct FreeAligned {
  void operator()(uint8_t* p) const { std::free(p); }
};
using AlignedBytes = std::unique_ptr<uint8_t[], FreeAligned>;

class LogLimit {
 public:
  LogLimit(int fd, uint64_t file_bytes, const Cell& cell)
      : fd_(fd), file_bytes_(file_bytes), cell_(cell), record_(cell.record_bytes, 'r') {
    batch_bytes_ = size_t{cell.batch_records} * cell.record_bytes;
    if (cell.variant == Variant::direct) {
      batch_bytes_ = (batch_bytes_ + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
    }
    for (auto& buffer : buffers_) {
      size_t bytes = (batch_bytes_ + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
      buffer.reset(static_cast<uint8_t*>(std::aligned_alloc(kBlockBytes, bytes)));
      if (!buffer) die("memory", ENOMEM);
      std::memset(buffer.get(), 0, bytes);
    }
    if (cell.variant == Variant::plain) return;
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    int rc       = io_uring_queue_init_params(8, &ring_, &params);
    if (rc < 0) die("io_uring_setup", -rc);
    has_ring_ = true;
  }
  ~LogLimit() {
    if (has_ring_) io_uring_queue_exit(&ring_);
  }
  LogLimit(const LogLimit&)            = delete;
  LogLimit& operator=(const LogLimit&) = delete;

  void run() {
    auto cell_ns = static_cast<uint64_t>(cell_.seconds * 1e9);
    for (uint64_t start = now_ns(CLOCK_MONOTONIC);
         now_ns(CLOCK_MONOTONIC) - start < cell_ns / 10;) {
      commit(nullptr);
    }
    Histogram commits;
    uint64_t cpu_start = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t start     = now_ns(CLOCK_MONOTONIC);
    uint64_t elapsed   = 0;
    do {
      commit(&commits);
      elapsed = now_ns(CLOCK_MONOTONIC) - start;
    } while (elapsed < cell_ns);
    print(commits, elapsed, now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_start);
  }

 private:
  void commit(Histogram* commits) {
    if (cell_.variant == Variant::plain) fill(buffers_[current_]);
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    if (offset_ + batch_bytes_ > file_bytes_) offset_ = 0;
    if (cell_.variant == Variant::plain)
      commit_plain();
    else
      commit_ring();
    offset_ += batch_bytes_;
    if (commits != nullptr) commits->add(now_ns(CLOCK_MONOTONIC) - start);
  }

  void commit_plain() {
    ssize_t put = pwrite(fd_, buffers_[0].get(), batch_bytes_, static_cast<off_t>(offset_));
    if (put != static_cast<ssize_t>(batch_bytes_)) die("pwrite", put < 0 ? errno : EIO);
    if (fdatasync(fd_) != 0) die("fdatasync", errno);
  }

  void commit_ring() {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    io_uring_prep_write(sqe, fd_, buffers_[current_].get(), static_cast<unsigned>(batch_bytes_),
                        offset_);
    if (cell_.variant == Variant::ring) sqe->rw_flags = RWF_DSYNC;
    int rc = io_uring_submit(&ring_);
    if (rc < 0) die("submit", -rc);
    current_ ^= 1;
    fill(buffers_[current_]);
    wait_one();
  }

  void wait_one() {
    io_uring_cqe* cqe = nullptr;
    int rc            = io_uring_wait_cqe(&ring_, &cqe);
    if (rc < 0) die("wait", -rc);
    if (cqe->res < 0) die("commit", -cqe->res);
    if (static_cast<size_t>(cqe->res) != batch_bytes_) die("write", EIO);
    io_uring_cqe_seen(&ring_, cqe);
  }

  void fill(const AlignedBytes& buffer) {
    uint8_t* to = buffer.get();
    for (uint32_t i = 0; i < cell_.batch_records; ++i, to += cell_.record_bytes) {
      std::memcpy(record_.data(), &appended_, sizeof appended_);  // no two records are alike
      std::memcpy(to, record_.data(), cell_.record_bytes);
      ++appended_;
    }
  }

  void print(const Histogram& commits, uint64_t elapsed_ns, uint64_t cpu_ns) const {
    double records = static_cast<double>(commits.count()) * cell_.batch_records;
    std::printf(
        "{\"variant\": \"%s\", \"batch\": %u, \"record_bytes\": %u, \"records_per_second\": %.0f, "
        "\"cpu_us_per_record\": %.4f, \"commit_p50_us\": %.1f, \"commit_p99_us\": %.1f, "
        "\"commits\": %llu}\n",
        kVariantNames[static_cast<size_t>(cell_.variant)], cell_.batch_records, cell_.record_bytes,
        records * 1e9 / static_cast<double>(elapsed_ns),
        static_cast<double>(cpu_ns) / 1e3 / records, commits.quantile_us(0.5),
        commits.quantile_us(0.99), static_cast<unsigned long long>(commits.count()));
    std::fflush(stdout);
  }

  int fd_;
  uint64_t file_bytes_;
  Cell cell_;
  std::vector<uint8_t> record_;
  size_t batch_bytes_ = 0;
  std::array<AlignedBytes, 2> buffers_;
  uint32_t current_  = 0;
  uint64_t offset_   = 0;
  uint64_t appended_ = 0;
  io_uring ring_{};
  bool has_ring_ = false;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

uint32_t parse_batch(const Flags& flags, const std::string& text) {
  uint32_t batch    = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), batch);
  if (error != std::errc{} || end != text.data() + text.size() || batch == 0 || batch > 65536) {
    flags.usage("--batches: 1 to 65536 each");
  }
  return batch;
}

Variant parse_variant(const Flags& flags, const std::string& text) {
  for (size_t i = 0; i < kVariantNames.size(); ++i) {
    if (text == kVariantNames[i]) return static_cast<Variant>(i);
  }
  flags.usage("--variants: ring, direct, plain");
}

int run(int argc, char** argv) {
  Flags flags(argc, argv,
              {{"--dir", "DIR for the log file"},
               {"--batches", "LIST of records per commit (1,8,64,256,1024)"},
               {"--variants", "LIST (ring,direct,plain)"},
               {"--record", "BYTES per record (200)"},
               {"--seconds", "SECONDS per cell (2)"},
               {"--file-mib", "MIB (256)"}});
  if (!flags.has("--dir")) flags.usage("--dir is missing");
  auto record_bytes = flags.number<uint32_t>("--record", 200);
  auto seconds      = flags.number<double>("--seconds", 2);
  auto file_bytes   = flags.number<uint64_t>("--file-mib", 256) << 20;
  if (record_bytes < 8 || record_bytes > 65536) flags.usage("--record: 8 to 65536");
  if (file_bytes > uint64_t{16} << 30) flags.usage("--file-mib: at most 16384");
  std::string path = flags.text("--dir") + "/limit_log." + std::to_string(getpid());
  for (const std::string& name : split(flags.text("--variants", "ring,direct,plain"))) {
    Variant variant = parse_variant(flags, name);
    int open_flags  = variant == Variant::direct ? O_WRONLY | O_DIRECT | O_DSYNC : O_WRONLY;
    int fd          = open_zero_filled(path, file_bytes, open_flags);
    for (const std::string& text : split(flags.text("--batches", "1,8,64,256,1024"))) {
      Cell cell{variant, parse_batch(flags, text), record_bytes, seconds};
      if (uint64_t{cell.batch_records} * record_bytes + kBlockBytes > file_bytes) {
        flags.usage("--file-mib: smaller than one batch");
      }
      LogLimit(fd, file_bytes, cell).run();
    }
    close(fd);
    unlink(path.c_str());
  }
  return 0;
}

}  // namespace
}  // namespace ringtalk::bench

int main(int argc, char** argv) { return ringtalk::bench::run(argc, argv); }
