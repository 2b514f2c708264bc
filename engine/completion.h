// Completion: where the kernel's answer to one operation goes.
//
// Lifetime  A completion is a field of the object that asked; its address is the operation's
//           user_data. The object may be freed only when every operation has come home (a
//           multishot one: when a result arrives without the MORE flag).
// Thread    Created, submitted and run on one shard.
// Why       Concurrency is countable and nothing is captured: an object's operations are its fields.
#pragma once

#include <cstdint>

namespace ringtalk::engine {

struct Completion {
  // result: bytes, slot or -errno as the kernel gave it. flags: kMore, kBuffer (see ring.h).
  using Run = void (*)(Completion&, int32_t result, uint32_t flags) noexcept;
  Run run;
};

// Op: a completion that calls a member function of its owner.
//   Op<Stream, &Stream::on_recv> recv_{*this};
template <class Owner, void (Owner::*Method)(int32_t, uint32_t) noexcept>
struct Op : Completion {
  explicit Op(Owner& o) : Completion{&Op::call}, owner(&o) {}
  Op(const Op&)            = delete;
  Op& operator=(const Op&) = delete;

  static void call(Completion& self, int32_t result, uint32_t flags) noexcept {
    (static_cast<Op&>(self).owner->*Method)(result, flags);
  }
  Owner* owner;
};

}  // namespace ringtalk::engine
