// Directory: names of users, as the server's user list (0x0209) or its HTTP interface tells them.
//
// Bound  kRowsMax users; asks over HTTP at most every kRefreshInterval, however many unknown names turn
//        up.
// Why    the chat protocol speaks in ids. Whoever may read the admin token has the names of a server
//        that does not list its users; without either, people are "#12".
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/ids.h"
#include "tools/ctl/http_client.h"

namespace ringtalk::ctl {

class Directory {
 public:
  static constexpr auto kRefreshInterval = std::chrono::seconds(5);

  // Without a client only what was learnt is known.
  explicit Directory(std::unique_ptr<HttpClient> client) : client_(std::move(client)) {}

  bool knows_names() const { return client_ != nullptr || !names_.empty(); }
  void learn(UserId user, std::string_view name, bool gone);

  // A login name, "12" or "#12". A name wins over a number.
  std::optional<UserId> find(std::string_view text);
  // Safe to print.
  std::string name_of(UserId user);
  // Those with the lowest ids.
  std::vector<UserId> users(size_t most) const;

 private:
  void refresh();

  std::unique_ptr<HttpClient> client_;
  std::optional<std::chrono::steady_clock::time_point> refreshed_at_;
  std::map<std::string, UserId, std::less<>> ids_;
  std::map<UserId, std::string> names_;  // escaped
};

}  // namespace ringtalk::ctl
