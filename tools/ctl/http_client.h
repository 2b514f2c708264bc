// HttpClient: the server's JSON interface, with the admin token of its data directory.
//
// Errors  every way to fail ends in Answer::problem, one sentence for the operator.
// Bound   2 s to connect, 30 s for an answer, kUsersMax users in a list.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "tools/ctl/address.h"

namespace ringtalk::ctl {

inline constexpr size_t kUsersMax = 1'000'000;

struct NewUser {
  std::string name;
  std::string password;  // plain
  std::string nick;      // empty: the server's choice
  uint32_t department = 0;
};

struct UserRow {
  uint32_t id = 0;
  std::string name;
  std::string nick;
  uint32_t department = 0;
  uint32_t status     = 0;
};

template <class T>
struct Answer {
  T value{};
  std::string problem;  // empty: value is good
  explicit operator bool() const { return problem.empty(); }
};

class HttpClient {
 public:
  HttpClient(Address address, std::string token);
  ~HttpClient();

  Answer<UserRow> add_user(const NewUser& user);  // value.id and value.name are set
  Answer<std::vector<UserRow>> list_users();      // all pages, by rising id

 private:
  struct Connection;

  std::string place_;  // "http://host:port", for messages
  std::unique_ptr<Connection> connection_;
};

// The text of <data_dir>/admin.token without its newline.
Answer<std::string> read_admin_token(const std::string& data_dir);

}  // namespace ringtalk::ctl
