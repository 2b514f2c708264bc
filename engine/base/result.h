// Result<T>: a value or one of the errors that the world may hand us.
//
// Errors  A broken invariant is not an Error: it is RT_ASSERT. A peer's bad bytes and the world's
//         refusals (disk full, lane full, socket gone) are. Every caller decides in the open.
#pragma once

#include <cstdint>
#include <expected>

namespace ringtalk {

enum class Errc : uint16_t {
  ok,
  closed,     // the object is shutting down or gone
  full,       // a bound was met; retry later
  too_large,  // one item exceeds its limit
  malformed,  // bytes that do not follow their format
  corrupt,    // stored bytes whose checksum does not match
  not_found,
  exists,
  refused,  // rule of the application
  timeout,
  unsupported,  // a newer format, a kernel without the feature
  os,           // errno in Error::os
};

struct Error {
  Errc code  = Errc::ok;
  int32_t os = 0;  // errno (positive); set only when code == Errc::os

  static constexpr Error from_errno(int value) { return {Errc::os, value}; }
};
static_assert(sizeof(Error) == 8, "returned in a register");

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Errc code) { return std::unexpected(Error{code}); }
inline std::unexpected<Error> fail_os(int value) {
  return std::unexpected(Error::from_errno(value));
}

}  // namespace ringtalk
