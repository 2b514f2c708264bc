#include "proto/text_codec.h"

#include <openssl/evp.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "engine/base/assert.h"
#include "engine/base/bytes.h"

namespace ringtalk::proto {

namespace {

constexpr size_t kBlockBytes  = 16;
constexpr size_t kLengthBytes = 4;
// OpenSSL counts in int; base64 makes four of three.
constexpr size_t kInputBytesMax = std::numeric_limits<int>::max() / 2;

enum class Way : int { decrypt = 0, encrypt = 1 };

using Key = std::array<unsigned char, kTextKeyBytes>;

unsigned char* raw(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* raw(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string aes(Way way, const Key& key, std::string_view in) {
  RT_ASSERT(in.size() % kBlockBytes == 0);
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  RT_ASSERT(context != nullptr);
  std::string out(in.size() + kBlockBytes, '\0');
  int updated     = 0;
  int finished    = 0;
  const bool done = EVP_CipherInit_ex(context.get(), EVP_aes_256_ecb(), nullptr, key.data(),
                                      nullptr, static_cast<int>(way)) == 1 &&
                    EVP_CIPHER_CTX_set_padding(context.get(), 0) == 1 &&
                    EVP_CipherUpdate(context.get(), raw(out), &updated, raw(in),
                                     static_cast<int>(in.size())) == 1 &&
                    EVP_CipherFinal_ex(context.get(), raw(out) + updated, &finished) == 1;
  RT_ASSERT(done);
  RT_ASSERT(static_cast<size_t>(updated + finished) == in.size());
  out.resize(in.size());
  return out;
}

std::string to_base64(std::string_view in) {
  std::string out((in.size() + 2) / 3 * 4 + 1, '\0');  // EVP_EncodeBlock ends with a NUL
  const int size = EVP_EncodeBlock(raw(out), raw(in), static_cast<int>(in.size()));
  out.resize(static_cast<size_t>(size));
  return out;
}

bool in_alphabet(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
         c == '/';
}

// Strict, since EVP_DecodeBlock trims blanks and takes '=' anywhere.
std::optional<std::string> from_base64(std::string_view in) {
  if (in.empty() || in.size() % 4 != 0 || in.size() > kInputBytesMax) return std::nullopt;
  const size_t pads = in.ends_with("==") ? 2 : in.ends_with('=') ? 1 : 0;
  if (!std::ranges::all_of(in.substr(0, in.size() - pads), in_alphabet)) return std::nullopt;
  std::string out(in.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(raw(out), raw(in), static_cast<int>(in.size()));
  if (size < 0 || static_cast<size_t>(size) != out.size()) return std::nullopt;
  out.resize(out.size() - pads);
  return out;
}

}  // namespace

TextCodec::TextCodec(std::string_view key) {
  RT_ASSERT(key.size() == kTextKeyBytes);
  std::ranges::copy(key, key_.begin());
}

std::string TextCodec::encrypt(std::string_view text) const {
  RT_ASSERT(text.size() <= kInputBytesMax);
  const size_t total = (text.size() + kLengthBytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
  std::string plain(text);
  plain.resize(total, '\0');
  store_be32(plain.data() + total - kLengthBytes, static_cast<uint32_t>(text.size()));
  return to_base64(aes(Way::encrypt, key_, plain));
}

std::optional<std::string> TextCodec::decrypt(std::string_view content) const {
  const auto sealed = from_base64(content);
  if (!sealed || sealed->empty() || sealed->size() % kBlockBytes != 0) return std::nullopt;
  std::string plain   = aes(Way::decrypt, key_, *sealed);
  const uint32_t size = load_be32(plain.data() + plain.size() - kLengthBytes);
  if (size > plain.size() - kLengthBytes) return std::nullopt;
  plain.resize(size);
  return plain;
}

}  // namespace ringtalk::proto
