#include "engine/runtime.h"

#include <pthread.h>
#include <sched.h>

#include <latch>
#include <string>

namespace ringtalk::engine {
namespace {

void pin_to_core(uint32_t core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);  // refused in some containers: no harm
}

}  // namespace

Result<void> Runtime::start(uint32_t shards, const RingConfig& config, Body body,
                            const std::function<void()>& ready) {
  RT_ASSERT(seats_.empty() && shards > 0);
  const bool pin = shards > 1 && shards <= std::thread::hardware_concurrency();
  auto made      = std::make_shared<std::latch>(shards);
  auto go        = std::make_shared<std::latch>(1);
  auto over      = std::make_shared<std::latch>(shards);
  auto failed    = std::make_shared<bool>(false);  // written before `go`, read after it

  for (uint32_t i = 0; i < shards; ++i) seats_.push_back(std::make_unique<Thread>());
  for (uint32_t i = 0; i < shards; ++i) {
    Thread& seat = *seats_[i];
    seat.thread  = std::thread([=, &seat] {
      pthread_setname_np(pthread_self(), ("shard-" + std::to_string(i)).c_str());
      if (pin) pin_to_core(i);
      auto ring = UringRing::make(config);
      if (ring) {
        seat.bell_fd = (*ring)->bell_fd();
        seat.bell.attach(**ring);
      } else {
        seat.error = ring.error();
      }
      made->count_down();
      go->wait();
      if (*failed) return;
      RealClock clock;
      Loop loop(**ring, clock, seat.bell, seat.metrics);
      Seat here{i, loop, **ring, seat.bell};
      body(here);
      over->arrive_and_wait();  // nobody may ring a ring that is gone
    });
  }
  made->wait();

  Error error;
  for (const auto& seat : seats_)
    if (seat->error.code != Errc::ok) error = seat->error;
  *failed = error.code != Errc::ok;
  if (!*failed) ready();
  go->count_down();
  if (!*failed) return {};
  join();
  return std::unexpected(error);
}

void Runtime::join() {
  for (auto& seat : seats_)
    if (seat->thread.joinable()) seat->thread.join();
}

}  // namespace ringtalk::engine
