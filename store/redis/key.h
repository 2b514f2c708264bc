// Key: the text of a key or field, from our words and numbers.
//
//   Key("unread_", user)          Key(user, "_", group, "_im_user_group")
//
// Source  TeamTalk's db_proxy_server; the table in docs/STORE_MYSQL.md.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "engine/base/assert.h"
#include "proto/ids.h"

namespace ringtalk::store::redis {

class Key {
 public:
  template <class... Parts>
  explicit Key(Parts... parts) {
    (put(parts), ...);
  }

  operator std::string_view() const { return {text_.data(), size_}; }

 private:
  void put(std::string_view text) {
    RT_ASSERT(size_ + text.size() <= text_.size());
    std::memcpy(text_.data() + size_, text.data(), text.size());
    size_ += text.size();
  }
  void put(const char* text) { put(std::string_view(text)); }
  void put(uint32_t number) {
    const auto end = std::to_chars(text_.data() + size_, text_.data() + text_.size(), number);
    RT_ASSERT(end.ec == std::errc());
    size_ = static_cast<size_t>(end.ptr - text_.data());
  }
  void put(UserId id) { put(raw(id)); }
  void put(GroupId id) { put(raw(id)); }

  std::array<char, 48> text_;  // two numbers of ten digits and our words
  size_t size_ = 0;
};

}  // namespace ringtalk::store::redis
