#include <algorithm>
#include <set>

#include "engine/base/assert.h"
#include "store/mysql/queries.h"

namespace ringtalk::store::queries {

using sql::Rows;

namespace {

// The order that read_department() takes.
#define RT_DEPARTMENT_COLUMNS \
  "d.id, d.departName, d.parentId, d.priority, d.status, d.created, s.stamp"
#define RT_DEPARTMENTS_BY_STAMP                                        \
  "SELECT " RT_DEPARTMENT_COLUMNS                                      \
  " FROM RTDepartSync s STRAIGHT_JOIN IMDepart d ON d.id = s.departId" \
  " WHERE s.departId > 0 AND s.stamp "
constexpr std::string_view kListSince =
    RT_DEPARTMENTS_BY_STAMP "> ? ORDER BY s.stamp, s.departId LIMIT ?";
constexpr std::string_view kListStamp = RT_DEPARTMENTS_BY_STAMP "= ? ORDER BY s.departId LIMIT ?";
constexpr std::string_view kLock = "SELECT " RT_DEPARTMENT_COLUMNS ", s.seen <> " RT_DEPARTMENT_SEEN
                                   " FROM IMDepart d LEFT JOIN RTDepartSync s ON s.departId = d.id"
                                   " WHERE d.id = ? AND d.status = 0 FOR UPDATE";
constexpr std::string_view kHold =
    "SELECT id FROM IMDepart WHERE id = ? AND status = 0 LOCK IN SHARE MODE";
constexpr std::string_view kParent = "SELECT parentId FROM IMDepart WHERE id = ?";
constexpr std::string_view kCount  = "SELECT COUNT(*) FROM IMDepart";
constexpr std::string_view kUsed =
    "SELECT EXISTS (SELECT 1 FROM IMUser WHERE departId = ? AND COALESCE(status, 0) <> 3)"
    " OR EXISTS (SELECT 1 FROM IMDepart WHERE parentId = ? AND status = 0)";
constexpr std::string_view kInsert =
    "INSERT INTO IMDepart (departName, parentId, priority, status, created, updated)"
    " VALUES (?, ?, ?, 0, ?, ?)";
constexpr std::string_view kUpdate =
    "UPDATE IMDepart SET departName = ?, parentId = ?, priority = ?, status = ?, updated = ?"
    " WHERE id = ?";
// The last ?: as that of users.
constexpr std::string_view kStamp =
    "INSERT INTO RTDepartSync (departId, stamp, seen)"
    " SELECT d.id, ?, " RT_DEPARTMENT_SEEN
    " ^ ? FROM IMDepart d WHERE d.id = ?"
    " ON DUPLICATE KEY UPDATE stamp = VALUES(stamp), seen = VALUES(seen)";

constexpr std::string_view kLockStamp =
    "SELECT stamp FROM RTDepartSync WHERE departId = 0 FOR UPDATE";
constexpr std::string_view kMakeStamp =
    "INSERT IGNORE INTO RTDepartSync (departId, stamp, seen)"
    " SELECT 0, COALESCE(MAX(stamp), 0), 0 FROM RTDepartSync";
constexpr std::string_view kRaiseStamp = "UPDATE RTDepartSync SET stamp = ? WHERE departId = 0";

Department read_department(const Rows& rows, size_t row) {
  return {
      .id       = static_cast<uint32_t>(rows.number(row, 0)),
      .name     = std::string(rows.text(row, 1)),
      .parent   = static_cast<uint32_t>(rows.number(row, 2)),
      .priority = static_cast<uint32_t>(rows.number(row, 3)),
      .status   = static_cast<uint8_t>(rows.number(row, 4) != 0),
      .created  = static_cast<uint32_t>(rows.number(row, 5)),
      .stamp    = rows.number(row, 6),
  };
}

struct Locked {
  Department department;
  bool differs = false;  // others changed it, and nobody has noticed yet
};

Result<Locked> lock(Link& link, uint32_t id) {
  const auto rows = link.query(kLock, {uint64_t{id}});
  if (!rows) return std::unexpected(rows.error());
  if (rows->empty()) return fail(Errc::not_found);
  return Locked{read_department(*rows, 0), rows->null(0, 7) || rows->number(0, 7) != 0};
}

// `below` (0: a new one) may hang under `parent`.
Result<void> check_parent(Link& link, uint32_t parent, uint32_t below) {
  if (auto ok = hold_departments(link, {parent}); !ok || below == 0) return ok;
  std::set<uint32_t> seen;  // a circle made by hand ends the walk
  for (uint32_t at = parent; at != 0 && seen.insert(at).second;) {
    if (at == below) return fail(Errc::refused);
    const auto rows = link.query(kParent, {uint64_t{at}});
    if (!rows) return std::unexpected(rows.error());
    at = rows->empty() ? 0 : static_cast<uint32_t>(rows->number(0, 0));
  }
  return {};
}

Result<void> stamp(Link& link, uint32_t id, uint64_t stamp, bool differs) {
  if (auto done = link.execute(kStamp, {stamp, uint64_t{differs}, uint64_t{id}}); !done)
    return std::unexpected(done.error());
  return raise_department_stamp(link, stamp);
}

Result<Department> write(Link& link, const Locked& locked, uint64_t new_stamp, uint32_t now) {
  Department department = locked.department;
  department.stamp      = new_stamp;
  const auto done =
      link.execute(kUpdate, {std::string_view(department.name), uint64_t{department.parent},
                             uint64_t{department.priority}, uint64_t{department.status},
                             uint64_t{now}, uint64_t{department.id}});
  if (!done) return std::unexpected(done.error());
  if (auto ok = stamp(link, department.id, new_stamp, locked.differs); !ok)
    return std::unexpected(ok.error());
  return department;
}

}  // namespace

Result<DepartmentPage> list_departments(Link& link, uint64_t stamp, uint32_t limit) {
  limit     = std::clamp<uint32_t>(limit, 1, kListMax);
  auto rows = all_rows(link.query(kListSince, {stamp, uint64_t{limit} + 1}), read_department);
  if (!rows) return std::unexpected(rows.error());
  return whole_stamps<DepartmentPage>(std::move(*rows), limit, [&](uint64_t cut) {
    return all_rows(link.query(kListStamp, {cut, uint64_t{kListMax}}), read_department);
  });
}

// Users may be in them. A bulk names few departments many times: each is looked for once.
Result<void> hold_departments(Link& link, std::vector<uint32_t> ids) {
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (const uint32_t id : ids) {
    if (id == 0) continue;
    const auto rows = link.query(kHold, {uint64_t{id}});
    if (!rows) return std::unexpected(rows.error());
    if (rows->empty()) return fail(Errc::refused);
  }
  return {};
}

Result<uint64_t> lock_department_stamp(Link& link, uint32_t now) {
  auto rows = link.query(kLockStamp);
  if (rows && rows->empty()) {
    if (auto made = link.execute(kMakeStamp); !made) return std::unexpected(made.error());
    rows = link.query(kLockStamp);
  }
  if (!rows) return std::unexpected(rows.error());
  RT_ASSERT(!rows->empty());
  return std::max<uint64_t>(now, rows->number(0, 0) + 1);
}

Result<void> raise_department_stamp(Link& link, uint64_t stamp) {
  if (auto done = link.execute(kRaiseStamp, {stamp}); !done) return std::unexpected(done.error());
  return {};
}

Result<Department> add_department(Link& link, const NewDepartment& wanted, uint32_t now) {
  const auto new_stamp = lock_department_stamp(link, now);
  if (!new_stamp) return std::unexpected(new_stamp.error());
  if (auto ok = check_parent(link, wanted.parent, 0); !ok) return std::unexpected(ok.error());
  const auto count = link.query(kCount);
  if (!count) return std::unexpected(count.error());
  if (count->number(0, 0) >= kDepartmentsMax) return fail(Errc::refused);
  const auto done =
      link.execute(kInsert, {std::string_view(wanted.name), uint64_t{wanted.parent},
                             uint64_t{wanted.priority}, uint64_t{now}, uint64_t{now}});
  if (!done) return std::unexpected(done.error());
  const auto id = static_cast<uint32_t>(done->insert_id);
  if (auto ok = stamp(link, id, *new_stamp, false); !ok) return std::unexpected(ok.error());
  return Department{.id       = id,
                    .name     = wanted.name,
                    .parent   = wanted.parent,
                    .priority = wanted.priority,
                    .created  = now,
                    .stamp    = *new_stamp};
}

Result<Department> update_department(Link& link, uint32_t id, const DepartmentPatch& patch,
                                     uint32_t now) {
  const auto new_stamp = lock_department_stamp(link, now);
  if (!new_stamp) return std::unexpected(new_stamp.error());
  auto found = lock(link, id);
  if (!found) return std::unexpected(found.error());
  if (patch.parent)
    if (auto ok = check_parent(link, *patch.parent, id); !ok) return std::unexpected(ok.error());
  Department& changed = found->department;
  changed.name        = patch.name.value_or(changed.name);
  changed.parent      = patch.parent.value_or(changed.parent);
  changed.priority    = patch.priority.value_or(changed.priority);
  return write(link, *found, *new_stamp, now);
}

// Whoever puts users or departments into it holds its row: they are in, or wait and find it gone.
Result<void> remove_department(Link& link, uint32_t id, uint32_t now) {
  const auto new_stamp = lock_department_stamp(link, now);
  if (!new_stamp) return std::unexpected(new_stamp.error());
  auto found = lock(link, id);
  if (!found) return std::unexpected(found.error());
  const auto used = link.query(kUsed, {uint64_t{id}, uint64_t{id}});
  if (!used) return std::unexpected(used.error());
  if (used->number(0, 0) != 0) return fail(Errc::exists);
  found->department.status = 1;
  if (auto ok = write(link, *found, *new_stamp, now); !ok) return std::unexpected(ok.error());
  return {};
}

}  // namespace ringtalk::store::queries
