// Bell: how somebody without a ring (a worker thread, a signal) wakes a loop that sleeps in its ring.
//
// Thread rule  ring() from any thread. The loop says sleeping before it waits and awake after.
// Cost         one atomic load when the loop is awake; one system call when it sleeps (25–30 µs to
//              the wake-up, so producers batch and ring once).
// Protocol     producer: publish work (release), fence, if sleeping: ring.
//              loop: set sleeping, fence, look at all queues once more, then wait.
//              The two sequentially consistent fences make one of them see the other.
// Source       IORING_REGISTER_SEND_MSG_RING (6.13); where the kernel lacks it an eventfd that the
//              ring polls does the same.
#pragma once

#include <atomic>
#include <cstdint>

namespace ringtalk::engine {

class Bell {
 public:
  virtual ~Bell() = default;

  // Any thread: wakes the loop if it sleeps.
  void ring() {
    std::atomic_thread_fence(std::memory_order_seq_cst);  // partner: fall_asleep()
    if (sleeping_.exchange(false, std::memory_order_acq_rel)) wake();
  }
  // For a producer that has a ring of its own and wakes by message: true = it must ring now.
  bool claim() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return sleeping_.load(std::memory_order_relaxed) &&
           sleeping_.exchange(false, std::memory_order_acq_rel);
  }

  // Loop only.
  void fall_asleep() {
    sleeping_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // partner: ring(), claim()
  }
  void wake_up() { sleeping_.store(false, std::memory_order_relaxed); }

 protected:
  virtual void wake() = 0;

 private:
  std::atomic<bool> sleeping_{false};
};

}  // namespace ringtalk::engine
