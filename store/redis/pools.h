// Pools: the five places that a site's dbproxyserver.conf names. Several may be the same server and database.
#pragma once

#include <cstddef>
#include <cstdint>

#include "store/redis/connection.h"

namespace ringtalk::store::redis {

enum class Pool : uint8_t { unread, group_set, token, group_member };
inline constexpr size_t kPoolsUsed = 4;

struct Pools {
  Server unread, group_set, token, group_member;
  Server sync;  // is configured at every site, and nothing was ever written to it

  const Server& operator[](Pool pool) const {
    switch (pool) {
      case Pool::unread: return unread;
      case Pool::group_set: return group_set;
      case Pool::token: return token;
      case Pool::group_member: break;
    }
    return group_member;
  }
};

}  // namespace ringtalk::store::redis
