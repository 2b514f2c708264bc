#include "tools/loadgen/users.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "engine/base/units.h"
#include "engine/clock.h"

namespace ringtalk::loadgen {
namespace {

constexpr uint32_t kBulkUsers = 500;  // what the server takes in one request

bool take(const nlohmann::json& row, Account& account) {
  if (!row.is_object() || !row.contains("id") || !row.contains("name") || !row.contains("token"))
    return false;
  if (!row["id"].is_number_unsigned() || !row["name"].is_string() || !row["token"].is_string())
    return false;
  account = {row["id"].get<uint32_t>(), row["name"].get<std::string>(),
             "token:" + row["token"].get<std::string>()};
  return true;
}

}  // namespace

Accounts make_accounts(Admin& admin, const std::string& prefix, uint32_t count) {
  engine::RealClock clock;
  Accounts accounts{.fresh = true};
  accounts.list.reserve(count);
  const uint64_t began = clock.now_ns();
  while (accounts.list.size() < count) {
    const uint32_t bulk =
        std::min<uint32_t>(kBulkUsers, count - static_cast<uint32_t>(accounts.list.size()));
    // By hand: a JSON tree of the objects would take longer than the request.
    std::string body = R"({"tokens":true,"users":[)";
    for (uint32_t i = 0; i < bulk; ++i)
      fmt::format_to(std::back_inserter(body), R"({}{{"name":"{}{}"}})", i == 0 ? "" : ",", prefix,
                     accounts.list.size() + i);
    body += "]}";
    const Answer answer = admin.post("/api/v1/users:bulk", body);
    if (!answer.ok()) {
      accounts.problem = "making users: " + answer.problem;
      return accounts;
    }
    const auto rows = answer.value.find("users");
    bool good       = rows != answer.value.end() && rows->is_array() && rows->size() == bulk;
    for (size_t i = 0; good && i < rows->size(); ++i) {
      accounts.list.emplace_back();
      good = take((*rows)[i], accounts.list.back());
    }
    if (!good) {
      accounts.problem = "making users: the answer is not that of a ringtalkd";
      return accounts;
    }
  }
  accounts.seconds = static_cast<double>(clock.now_ns() - began) / static_cast<double>(kNsPerS);
  return accounts;
}

Accounts read_accounts(const std::string& file, uint32_t count) {
  Accounts accounts;
  std::ifstream in(file);
  if (!in) {
    accounts.problem = fmt::format("{}: {}", file, std::strerror(errno));
    return accounts;
  }
  std::string line;
  for (uint32_t number = 1; accounts.list.size() < count && std::getline(in, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    Account account;
    if (!(words >> account.id >> account.name >> account.secret) || account.id == 0) {
      accounts.problem = fmt::format("{}:{}: a line is `id name secret`", file, number);
      return accounts;
    }
    accounts.list.push_back(std::move(account));
  }
  if (accounts.list.size() < count)
    accounts.problem =
        fmt::format("{}: holds {} users, {} are wanted", file, accounts.list.size(), count);
  return accounts;
}

std::string write_accounts(const std::string& file, const std::vector<Account>& accounts) {
  std::ofstream out(file, std::ios::trunc);
  out << "# id name secret; whoever reads this can log in as them\n";
  for (const Account& account : accounts)
    out << account.id << ' ' << account.name << ' ' << account.secret << '\n';
  out.close();
  return out ? "" : fmt::format("{}: cannot be written", file);
}

}  // namespace ringtalk::loadgen
