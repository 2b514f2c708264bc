// Payload: message bodies that say who wrote them and which one they are.
//
// Cost  One comparison of the whole body per push: a damaged or exchanged byte does not go unnoticed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ringtalk::bench {

inline constexpr uint32_t kPayloadBytesMin = 32;  // room for author and op number

// The body of a message: "u=0000000001 o=000000000042 abcabc…", as long as asked.
class Payload {
 public:
  explicit Payload(uint32_t bytes) : text_(bytes, ' ') {
    for (uint32_t i = kPrefixBytes; i < bytes; ++i) text_[i] = static_cast<char>('a' + i % 26);
    text_[0] = 'u', text_[1] = text_[14] = '=', text_[13] = 'o';
  }

  std::string_view make(uint32_t user, uint64_t op) {
    put(2, 10, user);
    put(15, 12, op);
    return text_;
  }

  // False if the bytes are not what make(user, op) gave for some op; `op` is that one.
  bool read(std::string_view data, uint32_t user, uint64_t& op) {
    if (data.size() != text_.size()) return false;
    op = 0;
    for (size_t i = 15; i < 27; ++i) op = op * 10 + static_cast<uint64_t>(data[i] - '0');
    return data == make(user, op);
  }

 private:
  static constexpr uint32_t kPrefixBytes = 28;

  void put(size_t at, size_t digits, uint64_t value) {
    for (size_t i = digits; i-- > 0; value /= 10)
      text_[at + i] = static_cast<char>('0' + value % 10);
  }

  std::string text_;
};

}  // namespace ringtalk::bench
