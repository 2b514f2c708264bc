// HttpClient: the server's JSON interface, with the admin token of its data directory.
//
// Errors  every way to fail ends in Answer::problem, one sentence for the operator that says what to do.
//         Answer::status is the HTTP status behind it, 0 if there was no answer.
// Bound   2 s to connect, 30 s for an answer, kAnswerBytesMax of it, kRowsMax rows in a list.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/units.h"
#include "tools/ctl/address.h"

namespace ringtalk::ctl {

using Json = nlohmann::json;

inline constexpr size_t kRowsMax        = 1'000'000;
inline constexpr size_t kAnswerBytesMax = 64 * kMiB;

template <class T>
struct Answer {
  T value{};
  std::string problem;  // empty: value is good
  int status = 0;
  explicit operator bool() const { return problem.empty(); }
};

class HttpClient {
 public:
  enum class Method : uint8_t { get, post, patch, remove };

  HttpClient(Address address, std::string token);
  ~HttpClient();

  // The JSON object of an answer 200 or 201. body: sent if it is an object.
  Answer<Json> call(Method method, const std::string& path, const Json& body = nullptr);
  Answer<std::string> text(const std::string& path);  // 200 only

  // All pages of `path` ("…/users"), whose rows stand under `key`; every row is an object that `good` likes.
  Answer<std::vector<Json>> list(const std::string& path, const char* key,
                                 const std::function<bool(const Json&)>& good);
  Answer<std::vector<Json>> list_users();
  // By login name, or by id as #12.
  Answer<Json> find_user(std::string_view who);

 private:
  struct Connection;

  std::string place_;  // "http://host:port", for messages
  std::unique_ptr<Connection> connection_;
};

// The text of <data_dir>/admin.token without its newline.
Answer<std::string> read_admin_token(const std::string& data_dir);

// ---- fields of foreign objects: false and untouched if missing or of another type ----
bool read_number(const Json& from, const char* key, uint32_t& to);
bool read_text(const Json& from, const char* key, std::string& to);
// Whatever stands there as it would be shown; "" if nothing does.
std::string field_text(const Json& from, const char* key);

// For a query or a path: everything but letters, digits and -_.~ as %XX.
std::string url_encoded(std::string_view text);

}  // namespace ringtalk::ctl
