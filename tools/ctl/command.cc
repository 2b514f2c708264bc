#include "tools/ctl/command.h"

#include <fmt/format.h>

#include <cstdio>

#include "tools/ctl/http_client.h"
#include "tools/ctl/printable.h"

namespace ringtalk::ctl {

void complain(std::string_view text) { fmt::print(stderr, "ringtalkctl: {}\n", escaped(text)); }

int fail_with(std::string_view problem) {
  complain(problem);
  return kExitFailed;
}

void print_json(const Json& value) {
  fmt::print("{}\n", value.dump(2, ' ', false, Json::error_handler_t::replace));
}

int with_server(const Context& context, const std::function<int(HttpClient&)>& action) {
  const auto address = parse_address(context.http);
  if (!address) {
    complain(fmt::format("--http wants HOST:PORT, not {}", context.http));
    return kExitUsage;
  }
  const auto token = read_admin_token(context.data_dir);
  if (!token) return fail_with(token.problem);
  HttpClient client(*address, token.value);
  return action(client);
}

}  // namespace ringtalk::ctl
