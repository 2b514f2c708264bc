#include "store/redis/rows.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/assert.h"
#include "store/redis/key.h"

namespace ringtalk::store::redis {
namespace {

std::string token_value(const PushToken& token) {
  if (token.token.empty()) return {};
  return (token.vendor == PushVendor::ios ? "ios:" : "android:") + token.token;
}

// "ios:<token>" → "<token>"
std::string_view token_of(std::string_view value) {
  const size_t colon = value.find(':');
  return colon == std::string_view::npos ? std::string_view() : value.substr(colon + 1);
}

// device_<token> of such a token would be device_<userId> of somebody. Also true without a token.
bool looks_like_user(std::string_view token) {
  return token.size() <= 10 &&
         std::ranges::all_of(token, [](char c) { return c >= '0' && c <= '9'; });
}

std::string device_key(std::string_view token) { return "device_" + std::string(token); }

}  // namespace

void put_pair_head(Outlet& outlet, uint32_t relation, uint32_t newest) {
  outlet.to(Pool::unread).add({"SET", Key("msg_id_", relation), Key(newest)});
}

void put_group_head(Outlet& outlet, GroupId group, uint32_t newest) {
  Pipeline& to = outlet.to(Pool::unread);
  to.add({"SET", Key("group_msg_id_", group), Key(newest)});
  to.add({"HSET", Key(group, "_im_group_msg"), "count", Key(newest)});
}

void put_unread(Outlet& outlet, UserId user, UserId peer, uint32_t count) {
  Pipeline& to = outlet.to(Pool::unread);
  if (count > 0)
    to.add({"HSET", Key("unread_", user), Key(peer), Key(count)});
  else
    to.add({"HDEL", Key("unread_", user), Key(peer)});
}

// The original counts unread as messages of the group − this.
void put_position(Outlet& outlet, MemberKey member, uint32_t position) {
  outlet.to(Pool::unread)
      .add({"HSET", Key(member.user, "_", member.group, "_im_user_group"), "count", Key(position)});
}

void put(Outlet& outlet, const PairRow& row) {
  if (!row.valid()) return;
  put_pair_head(outlet, row.relation, row.newest);
  put_unread(outlet, row.small, row.big, row.small_unread);
  put_unread(outlet, row.big, row.small, row.big_unread);
}

void put(Outlet& outlet, const GroupRow& row) { put_group_head(outlet, row.group, row.newest); }

void put(Outlet& outlet, const MemberRow& row) {
  const auto [group, user] = row.key;
  const Key muted_field(user, "_1");
  if (row.in) {
    outlet.to(Pool::group_member)
        .add({"HSET", Key("group_member_", group), Key(user), Key(row.joined)});
    put_position(outlet, row.key, row.read_to());
  } else {
    outlet.to(Pool::group_member).add({"HDEL", Key("group_member_", group), Key(user)});
  }
  if (row.in && row.muted)
    outlet.to(Pool::group_set).add({"HSET", Key("group_set_", group), muted_field, "1"});
  else
    outlet.to(Pool::group_set).add({"HDEL", Key("group_set_", group), muted_field});
}

// 1. what stands at device_<user>  2. whose the token there is, if it is not his any more  3. all keys in one
// command: a flush or a refusal between two would leave a token behind that nobody knows of.
bool write_tokens(Outlet& outlet, std::span<const TokenRow> rows) {
  RT_ASSERT(outlet.commands() == 0);
  Pipeline& to       = outlet.to(Pool::token);
  const auto replies = [&]() -> const std::vector<Reply>& { return outlet.replies(Pool::token); };
  for (const TokenRow& row : rows) to.add({"GET", Key("device_", row.user)});
  if (!outlet.send()) return false;

  struct Step {
    const TokenRow* row;
    std::string old;  // a token that he had and has no more
  };
  std::vector<Step> steps;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Reply& found = replies()[i];
    const bool none    = found.fault == Fault::none && (found.nil || found.text.empty());
    if (none && rows[i].token.token.empty()) continue;
    Step step{&rows[i], {}};
    if (found.fault == Fault::none) step.old = token_of(found.text);
    if (step.old == rows[i].token.token || looks_like_user(step.old)) step.old.clear();
    steps.push_back(std::move(step));
  }
  if (steps.empty()) return true;

  for (const Step& step : steps)
    if (!step.old.empty()) to.add({"GET", device_key(step.old)});
  if (!outlet.send()) return false;
  size_t next = 0;
  for (Step& step : steps)
    if (!step.old.empty() && replies()[next++].text != std::string_view(Key(step.row->user)))
      step.old.clear();

  // A key that is named twice has its last value: two may have changed places.
  to.add({"MSET"});
  for (const Step& step : steps)
    if (!step.old.empty()) to.extend({device_key(step.old), ""});
  for (const Step& step : steps) {
    const PushToken& token = step.row->token;
    to.extend({Key("device_", step.row->user), token_value(token)});
    if (!looks_like_user(token.token)) to.extend({device_key(token.token), Key(step.row->user)});
  }
  return outlet.send();
}

}  // namespace ringtalk::store::redis
