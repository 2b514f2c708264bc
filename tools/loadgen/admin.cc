#include "tools/loadgen/admin.h"

#include <fmt/format.h>
#include <httplib.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace ringtalk::loadgen {
namespace {

constexpr time_t kConnectSeconds = 2;
constexpr time_t kAnswerSeconds  = 60;
constexpr size_t kReasonBytesMax = 300;

}  // namespace

struct Admin::Connection {
  explicit Connection(const engine::Address& address) : client(address.host, address.port) {}
  httplib::Client client;
};

Admin::Admin(const engine::Address& address, std::string token)
    : place_("http://" + address.text()), connection_(std::make_unique<Connection>(address)) {
  httplib::Client& client = connection_->client;
  client.set_connection_timeout(kConnectSeconds);
  client.set_read_timeout(kAnswerSeconds);
  client.set_keep_alive(true);
  client.set_tcp_nodelay(true);
  if (!token.empty()) client.set_bearer_token_auth(token);
}

Admin::~Admin() = default;

Answer Admin::take(const void* opaque) {
  const auto& result = *static_cast<const httplib::Result*>(opaque);
  if (!result) {
    return {.problem = fmt::format("cannot reach {}: is ringtalkd running, and is --http its door?",
                                   place_)};
  }
  Answer answer{.value = nlohmann::json::parse(result->body, nullptr, false)};
  if (result->status == 200 || result->status == 201) {
    if (!answer.value.is_object())
      answer.problem = fmt::format("{} does not answer like a ringtalkd", place_);
    return answer;
  }
  std::string reason = fmt::format("HTTP status {}", result->status);
  if (answer.value.is_object() && answer.value.contains("error") &&
      answer.value["error"].is_string())
    reason += ": " + answer.value["error"].get<std::string>().substr(0, kReasonBytesMax);
  if (result->status == 401)
    reason += " (--data-dir or --admin-token-file must be that of the server behind --http)";
  answer.problem = std::move(reason);
  return answer;
}

Answer Admin::get(const std::string& path) {
  const httplib::Result result = connection_->client.Get(path);
  return take(&result);
}

Answer Admin::post(const std::string& path, const std::string& body) {
  const httplib::Result result = connection_->client.Post(path, body, "application/json");
  return take(&result);
}

std::string read_token(const std::string& file, std::string& problem) {
  errno = 0;
  std::ifstream in(file);
  std::string token;
  if (in && std::getline(in, token) && !token.empty() &&
      token.find_first_of("\r\n\t ") == std::string::npos)
    return token;
  problem = fmt::format("{}: {}", file, errno != 0 ? std::strerror(errno) : "holds no token");
  return {};
}

}  // namespace ringtalk::loadgen
