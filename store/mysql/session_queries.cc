#include "engine/base/assert.h"
#include "store/mysql/queries.h"

namespace ringtalk::store::queries {

using sql::Rows;

namespace {

constexpr std::string_view kFindRelation =
    "SELECT id, COALESCE(status, 0) FROM IMRelationShip WHERE smallId = ? AND bigId = ?";
// Another node may have been faster: then its relation is the one.
constexpr std::string_view kMakeRelation =
    "INSERT INTO IMRelationShip (smallId, bigId, status, created, updated) VALUES (?, ?, 0, ?, ?)"
    " ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), status = 0";
// `updated` first: what is behind it sees the new status.
constexpr std::string_view kShowSession =
    "INSERT INTO IMRecentSession (userId, peerId, type, status, created, updated)"
    " VALUES (?, ?, 1, 0, ?, ?) ON DUPLICATE KEY UPDATE"
    " updated = IF(COALESCE(status, 0) <> 0, VALUES(updated), updated), status = 0";

constexpr std::string_view kListSessions =
    "SELECT r.peerId, s.hiddenTo FROM IMRecentSession r LEFT JOIN RTSession s"
    " ON s.userId = r.userId AND s.peerId = r.peerId AND s.type = r.type"
    " WHERE r.userId = ? AND r.type = 1 ORDER BY r.updated DESC, r.id DESC LIMIT ?";
constexpr std::string_view kLockSession =
    "SELECT s.hiddenTo FROM IMRecentSession r LEFT JOIN RTSession s"
    " ON s.userId = r.userId AND s.peerId = r.peerId AND s.type = r.type"
    " WHERE r.userId = ? AND r.peerId = ? AND r.type = 1 FOR UPDATE";
constexpr std::string_view kHideSession =
    "UPDATE IMRecentSession SET status = 1, updated = ?"
    " WHERE userId = ? AND peerId = ? AND type = 1";
constexpr std::string_view kHiddenTo =
    "REPLACE INTO RTSession (userId, peerId, type, hiddenTo) VALUES (?, ?, 1, ?)";

// deviceId '': the one that stock clients register.
constexpr std::string_view kWhoHasToken =
    "SELECT userId FROM RTPushReg WHERE token = ? AND deviceId = '' AND userId <> ? FOR UPDATE";
constexpr std::string_view kTakeToken =
    "DELETE FROM RTPushReg WHERE token = ? AND deviceId = '' AND userId <> ?";
constexpr std::string_view kSetToken =
    "REPLACE INTO RTPushReg (userId, deviceId, serviceType, packageName, token, appVersion, "
    "updated)"
    " VALUES (?, '', ?, '', ?, '', ?)";
constexpr std::string_view kClearToken = "DELETE FROM RTPushReg WHERE userId = ? AND deviceId = ''";

// PushServiceType: iOS 1, FCM 7.
constexpr uint64_t service_of(PushVendor vendor) { return vendor == PushVendor::ios ? 1 : 7; }

Result<void> show_session(Link& link, UserId user, UserId peer, uint32_t time) {
  const auto done = link.execute(
      kShowSession, {uint64_t{raw(user)}, uint64_t{raw(peer)}, uint64_t{time}, uint64_t{time}});
  if (!done) return std::unexpected(done.error());
  return {};
}

}  // namespace

Result<uint32_t> open_conversation(Link& link, UserId small, UserId big, uint32_t time) {
  const uint64_t first = raw(small), second = raw(big);
  const auto rows = link.query(kFindRelation, {first, second});
  if (!rows) return std::unexpected(rows.error());
  uint64_t relation = 0;
  if (!rows->empty() && rows->number(0, 1) == 0) {
    relation = rows->number(0, 0);
  } else {
    const auto made = link.execute(kMakeRelation, {first, second, uint64_t{time}, uint64_t{time}});
    if (!made) return std::unexpected(made.error());
    relation = made->insert_id;
  }
  RT_ASSERT(relation != 0);
  if (auto shown = show_session(link, small, big, time); !shown)
    return std::unexpected(shown.error());
  if (small != big)
    if (auto shown = show_session(link, big, small, time); !shown)
      return std::unexpected(shown.error());
  return static_cast<uint32_t>(relation);
}

Result<std::vector<SessionRow>> list_sessions(Link& link, UserId user) {
  return all_rows(link.query(kListSessions, {uint64_t{raw(user)}, uint64_t{kConversationsMax}}),
                  [](const Rows& rows, size_t row) {
                    return SessionRow{UserId(static_cast<uint32_t>(rows.number(row, 0))),
                                      static_cast<uint32_t>(rows.number(row, 1))};
                  });
}

Result<void> hide_session(Link& link, UserId user, UserId peer, uint32_t newest, uint32_t now) {
  const uint64_t owner = raw(user), other = raw(peer);
  const auto rows = link.query(kLockSession, {owner, other});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty() || rows->number(0, 0) >= newest) return fail(Errc::not_found);
  auto done = link.execute(kHideSession, {uint64_t{now}, owner, other});
  if (done) done = link.execute(kHiddenTo, {owner, other, uint64_t{newest}});
  if (!done) return std::unexpected(done.error());
  return {};
}

Result<std::vector<UserId>> set_push_token(Link& link, UserId user, const PushToken& token,
                                           uint32_t now) {
  const uint64_t owner = raw(user);
  auto had             = all_rows(link.query(kWhoHasToken, {std::string_view(token.token), owner}),
                                  [](const Rows& rows, size_t row) {
                        return UserId(static_cast<uint32_t>(rows.number(row, 0)));
                      });
  if (!had) return had;
  Result<sql::Done> done;
  if (!had->empty()) done = link.execute(kTakeToken, {std::string_view(token.token), owner});
  if (done)
    done = link.execute(
        kSetToken, {owner, service_of(token.vendor), std::string_view(token.token), uint64_t{now}});
  if (!done) return std::unexpected(done.error());
  return had;
}

Result<void> clear_push_token(Link& link, UserId user) {
  if (auto done = link.execute(kClearToken, {uint64_t{raw(user)}}); !done)
    return std::unexpected(done.error());
  return {};
}

}  // namespace ringtalk::store::queries
