// Directory: names of users, as far as the server's HTTP interface tells them.
//
// Bound  asks the server at most every kRefreshInterval, however many unknown names turn up.
// Why    the chat protocol speaks in ids; without a readable admin token people are "#12".
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "proto/ids.h"
#include "tools/ctl/http_client.h"

namespace ringtalk::ctl {

class Directory {
 public:
  static constexpr auto kRefreshInterval = std::chrono::seconds(5);

  // Without a client only ids are known.
  explicit Directory(std::unique_ptr<HttpClient> client) : client_(std::move(client)) {}

  bool knows_names() const { return client_ != nullptr; }

  // A login name, "12" or "#12". A name wins over a number.
  std::optional<UserId> find(std::string_view text);
  // Safe to print.
  std::string name_of(UserId user);

 private:
  void refresh();

  std::unique_ptr<HttpClient> client_;
  std::optional<std::chrono::steady_clock::time_point> refreshed_at_;
  std::map<std::string, UserId, std::less<>> ids_;
  std::map<UserId, std::string> names_;  // escaped
};

}  // namespace ringtalk::ctl
