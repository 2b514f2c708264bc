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

constexpr size_t kListBytesMax = Roster::kPageBytes;  // entries of one answer
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

void fill(IM::BaseDefine::DepartInfo& info, const store::Department& row) {
  info.set_dept_id(row.id);
  info.set_priority(row.priority);
  info.set_dept_name(shown(row.name, kDepartmentNameMax));
  info.set_parent_dept_id(row.parent);
  info.set_dept_status(row.status == 0 ? IM::BaseDefine::DEPT_STATUS_OK
                                       : IM::BaseDefine::DEPT_STATUS_DELETE);
}

// One element of an answer's list as it stands in the answer.
template <class Answer, class Fill>
std::string entry_of(Fill&& fill_list) {
  Answer answer;
  fill_list(answer);
  return answer.SerializePartialAsString();
}

// A frame but for its list, which follows as `list_bytes` of entries.
template <class Answer>
PayloadRef head_of(CommandId command, uint16_t sequence, UserId user, uint64_t stamp,
                   uint32_t list_bytes) {
  Answer answer;
  answer.set_user_id(raw(user));
  answer.set_latest_update_time(on_wire(stamp));
  const auto fields = static_cast<uint32_t>(answer.ByteSizeLong());
  auto* head        = engine::Payload::make(proto::kHeaderBytes + fields);
  proto::encode_header(head->data(), proto::make_header(command, sequence, fields + list_bytes));
  answer.SerializeToArray(head->data() + proto::kHeaderBytes, static_cast<int>(fields));
  return PayloadRef::adopt(head);
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
        if (!found) {
          refuse_storage(key, CommandId::users_info_request, sequence);
          return answer_busy(context_, key, {});
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
        answer_busy(context_, key, frame_of(CommandId::users_info_response, sequence, response));
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
  (departments ? departments_ : users_).waiting.push_back(index);
  moved_       = true;
  session.busy = true;
  return Taken::taken;
}

void Contacts::ask_news(News& news) {
  if (news.asked) return;
  if (news.asking.empty()) news.asking.swap(news.waiting);
  if (news.asking.empty()) return;
  const auto asked = ask_store(news);
  if (!asked && asked.error().code == Errc::full) return;  // next turn
  if (!asked) return on_rows(news, std::unexpected(asked.error()), false);
  context_.metrics.add(Counter::contact_reads);
  news.asked = true;
  ++asked_;
}

Result<void> Contacts::ask_store(News& news) {
  const uint64_t since = news.roster.newest();
  if (&news == &users_)
    return context_.store.list_users_since(
        since, kRowsAtOnce, [this](Result<store::UserPage> page) {
          users_.asked = false;
          --asked_;
          if (!page) return on_rows(users_, std::unexpected(page.error()), false);
          std::vector<Roster::Row> rows;
          rows.reserve(page->users.size());
          for (const store::User& user : page->users)
            rows.push_back({.id    = raw(user.id),
                            .stamp = user.stamp,
                            .left  = user.status == store::kUserLeft,
                            .entry = entry_of<IM::Buddy::IMAllUserRsp>([&](auto& answer) {
                              fill(*answer.add_user_list(), user, user.status);
                            })});
          on_rows(users_, std::move(rows), page->more);
        });
  return context_.store.list_departments(
      since, kRowsAtOnce, [this](Result<store::DepartmentPage> found) {
        departments_.asked = false;
        --asked_;
        if (!found) return on_rows(departments_, std::unexpected(found.error()), false);
        std::vector<Roster::Row> rows;
        for (const store::Department& row : found->departments)
          rows.push_back({.id    = row.id,
                          .stamp = row.stamp,
                          .entry = entry_of<IM::Buddy::IMDepartmentRsp>(
                              [&](auto& answer) { fill(*answer.add_dept_list(), row); })});
        on_rows(departments_, std::move(rows), found->more);
      });
}

void Contacts::on_rows(News& news, Result<std::vector<Roster::Row>> rows, bool more) {
  moved_ = true;
  if (!rows) {
    for (const uint32_t index : std::exchange(news.asking, {})) fail(index);
    return;
  }
  // The roster is another shard's for now, or there are more rows: asked again by on_turn().
  if (!news.roster.add(std::move(*rows)) || more) return;
  for (const uint32_t index : news.asking) lists_[index].began = news.roster.newest();
  ready_.insert(ready_.end(), news.asking.begin(), news.asking.end());
  news.asking.clear();
}

bool Contacts::serve(uint32_t index) {
  const List list  = lists_[index];
  Session* session = context_.sessions.find(list.session);
  if (!session || !session->busy || !session->is_open()) {
    lists_.give_back(index);
    answer_busy(context_, list.session, {});
    return true;
  }
  if (session->queued_bytes() > kAnswerQueueBytesMax) {
    ready_.push_back(index);
    return false;
  }
  const Roster& roster    = (list.departments ? departments_ : users_).roster;
  const Roster::Page page = roster.page(list.asked, list.reached, list.began);
  answer(*session,
         list.departments
             ? head_of<IM::Buddy::IMDepartmentRsp>(CommandId::department_response, list.sequence,
                                                   session->user, page.reached, page.bytes)
             : head_of<IM::Buddy::IMAllUserRsp>(CommandId::all_user_response, list.sequence,
                                                session->user, page.reached, page.bytes));
  for (const PayloadRef& part : page.parts) answer(*session, part);
  context_.charge(*session, page.entries);
  if (page.more && list.all_pages) {
    lists_[index].reached = page.reached;
    ready_.push_back(index);
    return true;
  }
  context_.metrics.add(Counter::contact_lists);
  lists_.give_back(index);
  answer_busy(context_, list.session, {});
  return true;
}

void Contacts::fail(uint32_t index) {
  const List list = lists_.give_back(index);
  refuse_storage(list.session,
                 list.departments ? CommandId::department_request : CommandId::all_user_request,
                 list.sequence);
  answer_busy(context_, list.session, {});
}

void Contacts::refuse_storage(SessionKey key, CommandId command, uint16_t sequence) {
  refuse(context_, context_.sessions.find(key), command, sequence,
         IM::Ext::Sys::EXT_RESULT_STORAGE);
}

void Contacts::on_turn() {
  moved_ = false;
  ask_news(users_);
  ask_news(departments_);
  uint32_t served = 0;
  for (size_t n = std::min<size_t>(ready_.size(), kLooksPerTurn); n > 0; --n) {
    const uint32_t index = ready_.front();
    ready_.pop_front();
    const bool was_served = serve(index);
    served += was_served;
    unserved_ = was_served ? 0 : unserved_ + 1;
    if (served == kPagesPerTurn) break;
  }
  moved_ |= unserved_ < ready_.size();  // until a whole round served nobody
}

}  // namespace ringtalk::shard
