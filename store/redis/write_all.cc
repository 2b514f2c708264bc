#include "store/redis/write_all.h"

#include <chrono>
#include <memory>
#include <thread>

namespace ringtalk::store::redis {

Result<void> write_all(const Pools& pools, const Connect& connect, MirrorSource& source,
                       engine::Clock& clock, engine::Random& random,
                       const std::function<void(uint64_t done, uint64_t total)>& progress,
                       std::string& why) {
  const auto metrics = std::make_unique<engine::Metrics>();
  Mirror mirror({.shards = 0, .pools = pools, .connect = connect}, source, clock, random, *metrics);
  uint64_t moved_ns = clock.now_ns();
  while (true) {
    const bool more = mirror.run_some();
    progress(mirror.rebuild_done(), mirror.rebuild_total());
    if (mirror.settled()) return {};
    if (more) {
      moved_ns = clock.now_ns();
      continue;
    }
    if (clock.now_ns() - moved_ns >= kPatienceNs) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(Mirror::kRoundMs));
  }
  const Trouble& trouble = mirror.trouble();
  if (trouble.fault != Fault::none) {
    why = "Redis does not take it: " + std::string(name_of(trouble.fault)) + ": " + trouble.text;
    return fail(Errc::closed);
  }
  why = "the store cannot be read";
  return fail(Errc::os);
}

}  // namespace ringtalk::store::redis
