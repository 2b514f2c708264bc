#include "engine/log_line.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>

#include "engine/base/assert.h"

namespace ringtalk::engine::log {
namespace {

constexpr std::string_view kTextLevels[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
constexpr std::string_view kJsonLevels[] = {"debug", "info", "warn", "error"};
constexpr std::string_view kHex          = "0123456789abcdef";
constexpr size_t kTailBytes              = 14;  // ,"cut":true}\n

// Appends until the end is met; then only remembers that something was left out.
class Writer {
 public:
  explicit Writer(std::span<char> to) : to_(to) {}

  void put(char c) {
    if (size_ < to_.size())
      to_[size_++] = c;
    else
      overflow_ = true;
  }
  void put(std::string_view text) {
    for (char c : text) put(c);
  }
  template <class T>
  void put_number(T value) {
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    put(std::string_view(digits, static_cast<size_t>(end - digits)));
  }
  void put_padded(uint32_t value, int width) {
    uint32_t scale = 1;
    for (int i = 1; i < width; ++i) scale *= 10;
    for (; scale > 0; scale /= 10) put(static_cast<char>('0' + value / scale % 10));
  }

  size_t size() const { return size_; }
  bool overflow() const { return overflow_; }
  void roll_back(size_t size) {
    size_     = size;
    overflow_ = false;
  }

 private:
  std::span<char> to_;
  size_t size_   = 0;
  bool overflow_ = false;
};

struct Character {
  uint32_t code;  // 0 if the bytes are no UTF-8
  size_t bytes;
};

// Source: RFC 3629, table of well-formed sequences: no overlong forms, no surrogates.
Character decode(std::string_view text) {
  const auto byte   = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const uint32_t b0 = byte(0);
  if (b0 < 0x80) return {b0, 1};
  const size_t bytes = b0 >= 0xf0 ? 4 : b0 >= 0xe0 ? 3 : 2;
  if (b0 < 0xc2 || b0 > 0xf4 || text.size() < bytes) return {0, 1};
  uint32_t code = b0 & (0x7f >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {0, 1};
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[bytes] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
    return {0, 1};
  return {code, bytes};
}

// What a terminal shows as itself: no control, no change of direction, no invisible character.
bool printable(uint32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  if (code >= 0x200b && code <= 0x200f) return false;
  if (code >= 0x2028 && code <= 0x202e) return false;
  if (code >= 0x2060 && code <= 0x206f) return false;
  return code != 0xfeff && code != 0xad && code < 0xe0000;
}

void put_hex_byte(Writer& to, unsigned char byte) {
  to.put(kHex[byte >> 4]);
  to.put(kHex[byte & 15]);
}

// The same bytes, quoted, for a terminal (json false) or for a JSON reader.
void put_quoted(Writer& to, std::string_view text, bool json) {
  to.put('"');
  for (size_t at = 0; at < text.size();) {
    const Character c = decode(text.substr(at));
    if (c.code == '"' || c.code == '\\') {
      to.put('\\');
      to.put(text[at]);
    } else if (c.code == '\n') {
      to.put("\\n");
    } else if (c.code != 0 && printable(c.code)) {
      to.put(text.substr(at, c.bytes));
    } else if (json && c.code > 0xff) {
      to.put(text.substr(at, c.bytes));  // not to be shown, but JSON's readers decode it
    } else if (json) {
      to.put("\\u00");
      put_hex_byte(to, static_cast<unsigned char>(c.bytes == 1 ? text[at] : c.code));
    } else {
      for (char byte : text.substr(at, c.bytes)) {
        to.put("\\x");
        put_hex_byte(to, static_cast<unsigned char>(byte));
      }
    }
    at += c.bytes;
  }
  to.put('"');
}

bool plain_word(std::string_view text) {
  if (text.empty()) return false;
  for (char c : text)
    if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=') return false;
  return true;
}

bool put_text(Writer& to, std::string_view text, bool json) {
  const bool whole           = text.size() <= kValueBytesMax;
  const std::string_view cut = text.substr(0, kValueBytesMax);
  if (!json && plain_word(cut))
    to.put(cut);
  else
    put_quoted(to, cut, json);
  return whole;
}

// Returns false if the value was shortened.
bool put_value(Writer& to, const Value& value, bool json) {
  switch (value.kind) {
    case Value::Kind::text: return put_text(to, value.text, json);
    case Value::Kind::integer: to.put_number(value.integer); break;
    case Value::Kind::count: to.put_number(value.count); break;
    case Value::Kind::boolean: to.put(value.boolean ? "true" : "false"); break;
    case Value::Kind::real:
      if (json && !std::isfinite(value.real))
        to.put("null");
      else
        to.put_number(value.real);
      break;
  }
  return true;
}

void put_time(Writer& to, uint64_t wall_ns) {
  using namespace std::chrono;
  const sys_time<milliseconds> time{milliseconds(wall_ns / kNsPerMs)};
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{time - day};
  to.put_padded(static_cast<uint32_t>(static_cast<int>(date.year())), 4);
  to.put('-');
  to.put_padded(static_cast<unsigned>(date.month()), 2);
  to.put('-');
  to.put_padded(static_cast<unsigned>(date.day()), 2);
  to.put('T');
  to.put_padded(static_cast<uint32_t>(clock.hours().count()), 2);
  to.put(':');
  to.put_padded(static_cast<uint32_t>(clock.minutes().count()), 2);
  to.put(':');
  to.put_padded(static_cast<uint32_t>(clock.seconds().count()), 2);
  to.put('.');
  to.put_padded(static_cast<uint32_t>(clock.subseconds().count()), 3);
  to.put('Z');
}

void put_head(Writer& to, bool json, size_t level, uint64_t wall_ns, std::string_view event) {
  event = event.substr(0, 64);
  to.put(json ? "{\"time\":\"" : "");
  put_time(to, wall_ns);
  to.put(json ? "\",\"level\":\"" : " ");
  to.put(json ? kJsonLevels[level] : kTextLevels[level]);
  to.put(json ? "\",\"event\":" : " ");
  put_text(to, event, json);
}

}  // namespace

size_t format_line(std::span<char> to, Format format, Level level, uint64_t wall_ns,
                   std::string_view event, Fields fields, uint32_t shard) noexcept {
  RT_ASSERT(to.size() >= 256);
  RT_ASSERT(format != Format::automatic);
  RT_ASSERT(level < Level::off);
  const bool json = format == Format::json;
  Writer body(to.first(to.size() - kTailBytes));
  put_head(body, json, static_cast<size_t>(level), wall_ns, event);
  if (shard != kNoShard) {
    body.put(json ? ",\"shard\":" : " shard=");
    body.put_number(shard);
  }
  bool cut = body.overflow();
  for (const Field& field : fields) {
    const size_t before = body.size();
    body.put(json ? ",\"" : " ");
    body.put(field.key);
    body.put(json ? "\":" : "=");
    cut |= !put_value(body, field.value, json);
    if (!body.overflow()) continue;
    body.roll_back(before);
    cut = true;
  }
  Writer tail(to.subspan(body.size()));
  if (cut) tail.put(json ? ",\"cut\":true" : " cut=true");
  if (json) tail.put('}');
  tail.put('\n');
  RT_ASSERT(!tail.overflow());
  return body.size() + tail.size();
}

}  // namespace ringtalk::engine::log
