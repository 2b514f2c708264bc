// Rows: what the state of the store looks like in Redis. Every value is absolute.
//
// Source  TeamTalk's db_proxy_server; the table in docs/STORE_MYSQL.md. A field that stands for nothing (no
//         unread message, not muted, not a member) is deleted, as the original's own reading takes it.
#pragma once

#include <cstdint>
#include <span>

#include "store/redis/mirror_source.h"
#include "store/redis/outlet.h"

namespace ringtalk::store::redis {

void put_pair_head(Outlet& outlet, uint32_t relation, uint32_t newest);
void put_group_head(Outlet& outlet, GroupId group, uint32_t newest);
void put_unread(Outlet& outlet, UserId user, UserId peer, uint32_t count);
void put_position(Outlet& outlet, MemberKey member, uint32_t position);

void put(Outlet& outlet, const PairRow& row);
void put(Outlet& outlet, const GroupRow& row);
void put(Outlet& outlet, const MemberRow& row);

// Needs what Redis says now, so it sends by itself: nothing else may wait in the outlet. False: see
// Outlet::send(). The token that a user had before is known from device_<user> alone: where that was lost,
// device_<token> of the old one stays; a token that comes back to somebody is written over.
bool write_tokens(Outlet& outlet, std::span<const TokenRow> rows);

}  // namespace ringtalk::store::redis
