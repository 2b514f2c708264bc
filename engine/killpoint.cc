#include "engine/killpoint.h"

#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdlib>

namespace ringtalk::engine {
namespace {

constinit KillpointSite* newest_site = nullptr;  // sites register before main, on one thread

struct Target {
  std::string_view name;
  uint64_t passage = 1;  // 0: the text is malformed
};

Target parse_target() {
  const char* text = std::getenv("RINGTALK_KILLPOINT");
  if (text == nullptr) return {};
  Target target{.name = text};
  const size_t colon = target.name.find(':');
  if (colon == std::string_view::npos) return target;
  const std::string_view count = target.name.substr(colon + 1);
  target.name                  = target.name.substr(0, colon);
  target.passage               = 0;
  const auto [end, error] =
      std::from_chars(count.data(), count.data() + count.size(), target.passage);
  if (error != std::errc{} || end != count.data() + count.size()) target.passage = 0;
  return target;
}

}  // namespace

KillpointSite::KillpointSite(const char* name) : name_(name), next_(newest_site) {
  newest_site         = this;
  const Target target = parse_target();
  if (target.name == name) armed_at_ = target.passage;
}

void KillpointSite::count() noexcept {
  if (passages_.fetch_add(1, std::memory_order_relaxed) + 1 != armed_at_) return;
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

std::vector<std::string_view> list_killpoints() {
  std::vector<std::string_view> names;
  for (const KillpointSite* site = newest_site; site != nullptr; site = site->next_)
    names.emplace_back(site->name_);
  std::sort(names.begin(), names.end());
  return names;
}

std::string killpoint_problem() {
  const Target target = parse_target();
  if (target.name.empty()) return {};
  const std::string given = "RINGTALK_KILLPOINT=" + std::string(target.name);
  if (target.passage == 0) return given + ": the count after ':' must be a number from 1";
  for (std::string_view name : list_killpoints())
    if (name == target.name) return {};
  return given + ": no such kill-point in this build (ringtalkd --list-killpoints)";
}

}  // namespace ringtalk::engine
