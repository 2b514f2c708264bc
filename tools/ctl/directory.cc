#include "tools/ctl/directory.h"

#include <fmt/format.h>

#include <charconv>

#include "tools/ctl/printable.h"

namespace ringtalk::ctl {

namespace {

std::optional<UserId> read_id(std::string_view text) {
  if (text.starts_with('#')) text.remove_prefix(1);
  uint32_t id             = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc{} || end != text.data() + text.size() || id == 0) return std::nullopt;
  return UserId(id);
}

}  // namespace

void Directory::learn(UserId user, std::string_view name, bool gone) {
  if (names_.size() >= kRowsMax && !names_.contains(user)) return;
  const auto same = ids_.find(name);
  // The name of somebody who left may belong to another by now.
  if (!gone || same == ids_.end()) ids_.insert_or_assign(std::string(name), user);
  names_.insert_or_assign(user, escaped(name));
}

std::vector<UserId> Directory::users(size_t most) const {
  std::vector<UserId> out;
  for (const auto& [user, name] : names_) {
    if (out.size() == most) break;
    out.push_back(user);
  }
  return out;
}

void Directory::refresh() {
  const auto now = std::chrono::steady_clock::now();
  if (!client_ || (refreshed_at_ && now - *refreshed_at_ < kRefreshInterval)) return;
  refreshed_at_    = now;
  const auto users = client_->list_users();
  if (!users) return;
  for (const Json& user : users.value) {
    learn(UserId(user["id"].get<uint32_t>()), user["name"].get<std::string>(),
          user["status"].get<uint32_t>() == 3);
  }
}

std::optional<UserId> Directory::find(std::string_view text) {
  if (text.starts_with('#')) {
    if (const auto id = read_id(text)) return id;
  }
  if (!ids_.contains(text)) refresh();
  if (const auto found = ids_.find(text); found != ids_.end()) return found->second;
  return read_id(text);
}

std::string Directory::name_of(UserId user) {
  if (!names_.contains(user)) refresh();
  const auto found = names_.find(user);
  return found != names_.end() ? found->second : fmt::format("#{}", raw(user));
}

}  // namespace ringtalk::ctl
