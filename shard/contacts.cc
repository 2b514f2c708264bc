#include "shard/contacts.h"

#include <algorithm>
#include <boost/unordered/unordered_flat_set.hpp>

#include "proto/buddy.pb.h"
#include "proto/parse.h"
#include "shard/extension.h"
#include "shard/frames.h"
#include "shard/profile.h"

namespace ringtalk::shard {

using engine::PayloadRef;
using proto::CommandId;

namespace {

constexpr size_t kListBytesMax = 380 * kKiB;  // entries of one answer
static_assert(kListBytesMax + kProfileBytesMax < proto::kAnswerBytesMax);
constexpr size_t kDepartmentNameMax = 64 * 4;

uint32_t on_wire(uint64_t stamp) {
  return static_cast<uint32_t>(std::min<uint64_t>(stamp, ~uint32_t{0}));
}

// Windows and Android.
bool applies_every_page(const Session& session) {
  return session.client_type == IM::BaseDefine::CLIENT_TYPE_WINDOWS ||
         session.client_type == IM::BaseDefine::CLIENT_TYPE_ANDROID;
}

// How many of `rows` fit, each taking bytes_of(row), without cutting a stamp; a single stamp that
// does not fit is cut after all, so that a list always goes on.
template <class Rows, class BytesOf>
size_t fitting(const Rows& rows, BytesOf bytes_of) {
  size_t bytes = 0, whole = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i > 0 && rows[i].stamp != rows[i - 1].stamp) whole = i;
    bytes += bytes_of(rows[i]);
    if (bytes > kListBytesMax) return whole > 0 ? whole : std::max<size_t>(i, 1);
  }
  return rows.size();
}

}  // namespace

// --- 0x0204 ------------------------------------------------------------------------------------------------

Taken Contacts::profiles(Session& session, uint16_t sequence, Bytes body) {
  IM::Buddy::IMUsersInfoReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  const auto count =
      std::min<uint32_t>(static_cast<uint32_t>(request.user_id_list_size()), store::kUsersAskedMax);
  std::vector<UserId> ids;
  ids.reserve(count);
  boost::unordered_flat_set<uint32_t> seen;
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t id = request.user_id_list(static_cast<int>(i));
    if (seen.insert(id).second) ids.push_back(UserId(id));
  }
  const auto asked =
      context_.store.find_users(std::move(ids), [this, key = session.key, user = session.user,
                                                 sequence](Result<std::vector<store::User>> found) {
        --asked_;
        may_ask_ = true;
        if (!found) {
          refuse_storage(key, CommandId::users_info_request, sequence);
          return finish(key, {});
        }
        IM::Buddy::IMUsersInfoRsp response;
        response.set_user_id(raw(user));
        size_t bytes = 0;
        for (const store::User& one : *found) {
          auto& info = *response.add_user_info_list();
          fill(info, one, one.status);
          bytes += info.ByteSizeLong() + 4;
          if (bytes <= kListBytesMax) continue;
          response.mutable_user_info_list()->RemoveLast();
          break;
        }
        finish(key, frame_of(CommandId::users_info_response, sequence, response));
      });
  if (!asked && asked.error().code == Errc::full) return context_.stall(session);
  if (!asked) {
    refuse_storage(session.key, CommandId::users_info_request, sequence);
    return Taken::taken;
  }
  ++asked_;
  context_.charge(session, count);
  session.busy = true;
  return Taken::taken;
}

// --- lists -------------------------------------------------------------------------------------------------

Taken Contacts::users(Session& session, uint16_t sequence, Bytes body) {
  IM::Buddy::IMAllUserReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  return begin(session, sequence, request.latest_update_time(), false);
}

Taken Contacts::departments(Session& session, uint16_t sequence, Bytes body) {
  IM::Buddy::IMDepartmentReq request;
  if (!proto::parse(request, body)) return unparsable(context_, session);
  return begin(session, sequence, request.latest_update_time(), true);
}

Taken Contacts::begin(Session& session, uint16_t sequence, uint32_t stamp, bool departments) {
  const uint32_t index = lists_.take();
  lists_[index]        = {.session     = session.key,
                          .sequence    = sequence,
                          .departments = departments,
                          .all_pages   = applies_every_page(session),
                          .asked       = stamp,
                          .reached     = stamp};
  waiting_.push_back(index);
  may_ask_     = true;
  session.busy = true;
  return Taken::taken;
}

Result<void> Contacts::step(uint32_t index) {
  const List& list = lists_[index];
  const auto asked =
      list.departments
          ? context_.store.list_departments(
                list.reached,
                [this, index](Result<std::vector<store::Department>> rows) {
                  on_departments(index, std::move(rows));
                })
          : context_.store.list_users_since(
                list.reached, kRowsPerPage,
                [this, index](Result<store::UserPage> page) { on_users(index, std::move(page)); });
  if (asked) ++asked_;
  return asked;
}

void Contacts::on_users(uint32_t index, Result<store::UserPage> page) {
  --asked_;
  may_ask_ = true;
  if (!page) return fail(index);
  List& list = lists_[index];
  // Who left is news only to a client that may know him.
  const auto listed = [&](const store::User& user) {
    return list.asked > 0 || user.status != store::kUserLeft;
  };
  std::vector<IM::BaseDefine::UserInfo> infos(page->users.size());
  const auto bytes_of = [&](const store::User& user) -> size_t {
    if (!listed(user)) return 0;
    auto& info = infos[static_cast<size_t>(&user - page->users.data())];
    fill(info, user, user.status);
    return info.ByteSizeLong() + 4;
  };
  const size_t count = fitting(page->users, bytes_of);
  IM::Buddy::IMAllUserRsp response;
  for (size_t i = 0; i < count; ++i)
    if (listed(page->users[i])) *response.add_user_list() = std::move(infos[i]);
  if (count > 0) list.reached = page->users[count - 1].stamp;
  const bool more = page->more || count < page->users.size();
  response.set_user_id(0);
  response.set_latest_update_time(on_wire(list.reached));
  if (Session* session = context_.sessions.find(list.session))
    response.set_user_id(raw(session->user));
  const auto entries = static_cast<uint32_t>(response.user_list_size());
  answered(index,
           entries == 0 && more ? PayloadRef{}  // a page of people who left: nothing to tell yet
                                : frame_of(CommandId::all_user_response, list.sequence, response),
           entries, more);
}

void Contacts::on_departments(uint32_t index, Result<std::vector<store::Department>> rows) {
  --asked_;
  may_ask_ = true;
  if (!rows) return fail(index);
  List& list = lists_[index];
  const size_t count =
      fitting(*rows, [](const store::Department& row) { return 40 + row.name.size(); });
  IM::Buddy::IMDepartmentRsp response;
  for (size_t i = 0; i < count; ++i) {
    const store::Department& row = (*rows)[i];
    auto& info                   = *response.add_dept_list();
    info.set_dept_id(row.id);
    info.set_priority(row.priority);
    info.set_dept_name(shown(row.name, kDepartmentNameMax));
    info.set_parent_dept_id(row.parent);
    info.set_dept_status(row.status == 0 ? IM::BaseDefine::DEPT_STATUS_OK
                                         : IM::BaseDefine::DEPT_STATUS_DELETE);
  }
  if (count > 0) list.reached = (*rows)[count - 1].stamp;
  response.set_user_id(0);
  response.set_latest_update_time(on_wire(list.reached));
  if (Session* session = context_.sessions.find(list.session))
    response.set_user_id(raw(session->user));
  answered(index, frame_of(CommandId::department_response, list.sequence, response),
           static_cast<uint32_t>(count), count < rows->size());
}

void Contacts::answered(uint32_t index, const PayloadRef& frame, uint32_t entries, bool more) {
  List& list       = lists_[index];
  Session* session = context_.sessions.find(list.session);
  const bool alive = session && session->busy && session->is_open();
  if (alive) context_.charge(*session, entries);
  if (alive && more && (list.all_pages || !frame)) {
    if (frame) answer(*session, frame);
    waiting_.push_back(index);
    return;
  }
  finish(lists_.give_back(index).session, frame);
}

void Contacts::fail(uint32_t index) {
  const List list = lists_.give_back(index);
  refuse_storage(list.session,
                 list.departments ? CommandId::department_request : CommandId::all_user_request,
                 list.sequence);
  finish(list.session, {});
}

void Contacts::finish(SessionKey key, const PayloadRef& frame) {
  Session* session = context_.sessions.find(key);
  if (!session || !session->busy) return;
  session->busy = false;
  if (frame && session->is_open()) answer(*session, frame);
  session->wake();
}

void Contacts::refuse_storage(SessionKey key, CommandId command, uint16_t sequence) {
  refuse(context_, context_.sessions.find(key), command, sequence,
         IM::Ext::Sys::EXT_RESULT_STORAGE);
}

void Contacts::on_turn() {
  may_ask_ = false;
  for (size_t n = std::min<size_t>(waiting_.size(), kLooksPerTurn); n > 0 && asked_ < kAskedMax;
       --n) {
    const uint32_t index = waiting_.front();
    waiting_.pop_front();
    const Session* session = context_.sessions.find(lists_[index].session);
    if (!session || !session->busy || !session->is_open()) {
      finish(lists_.give_back(index).session, {});
      continue;
    }
    if (session->queued_bytes() > kAnswerQueueBytesMax) {
      waiting_.push_back(index);
      continue;
    }
    const auto asked = step(index);
    if (asked) continue;
    if (asked.error().code == Errc::full) {
      waiting_.push_back(index);
    } else {
      fail(index);
    }
  }
}

}  // namespace ringtalk::shard
