// TextCodec: how stock clients wrap a text before it becomes the content of a message.
//
//   content = base64(AES-256-ECB(plain)), standard alphabet, padded, no line breaks
//
//   plain   OFFSET        SIZE  FIELD
//           0             n     the text, UTF-8
//           n             p     zero bytes
//           total − 4     4     n, big-endian
//           total is the least multiple of 16 that is ≥ n + 4
//
// Example  "hello" under the default key is nnZSBwfPCz60q69ddmfIJA==
// Errors   decrypt() gives nothing for whatever encrypt() cannot have made with a text of that length;
//          padding that is not zero is let pass, as stock clients do.
// Why      every stock client carries the same key, so this hides nothing from anybody who has one; the
//          server stores contents as they come and never needs the key.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace ringtalk::proto {

inline constexpr size_t kTextKeyBytes         = 32;
inline constexpr std::string_view kTextKey    = "12345678901234567890123456789012";
inline constexpr size_t kContentCharactersMax = 4096;  // the server drops a longer text
inline constexpr size_t kPlainTextBytesMax    = kContentCharactersMax / 4 * 3 / 16 * 16 - 4;
static_assert(kTextKey.size() == kTextKeyBytes);
static_assert(kPlainTextBytesMax == 3068);

class TextCodec {
 public:
  // key has kTextKeyBytes bytes.
  explicit TextCodec(std::string_view key = kTextKey);

  std::string encrypt(std::string_view text) const;
  std::optional<std::string> decrypt(std::string_view content) const;

 private:
  std::array<unsigned char, kTextKeyBytes> key_;
};

}  // namespace ringtalk::proto
