#include "tools/ctl/user_import.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>
#include <utility>

#include "engine/base/bytes.h"
#include "proto/utf8.h"
#include "tools/ctl/password.h"
#include "tools/ctl/table.h"

namespace ringtalk::ctl {

namespace {

constexpr const char* kColumns[]     = {"name", "nick", "department", "password"};
constexpr size_t kLabelCharactersMax = 32;
constexpr size_t kTroublesMax        = 10'000;  // a file that is none has a trouble in each line
constexpr int kBusyRetriesMax        = 20;
constexpr auto kBusyPause            = std::chrono::milliseconds(250);
constexpr uint32_t kStatusLeft       = 3;

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// The server's rule, so that --dry-run finds what the server would refuse.
bool is_label(std::string_view text, size_t characters_min) {
  const auto characters = proto::count_utf8_characters(as_bytes(text));
  return characters && *characters >= characters_min && *characters <= kLabelCharactersMax &&
         std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// "users[12]: nick: …" → 12 and the rest.
bool split_row_problem(std::string_view problem, size_t& index, std::string& rest) {
  constexpr std::string_view kHead = "users[";
  if (!problem.starts_with(kHead)) return false;
  problem.remove_prefix(kHead.size());
  const auto [end, error] = std::from_chars(problem.data(), problem.data() + problem.size(), index);
  if (error != std::errc{}) return false;
  problem.remove_prefix(static_cast<size_t>(end - problem.data()));
  if (!problem.starts_with("]: ")) return false;
  rest = problem.substr(3);
  return true;
}

}  // namespace

UserImport::Report UserImport::run(const std::function<std::string()>& read,
                                   const std::function<void(const Report&)>& progress) {
  if (!learn_server()) return std::move(report_);
  CsvReader csv;
  bool ended = false;
  while (!ended && report_.fatal.empty()) {
    const std::string bytes = read();
    ended                   = bytes.empty();
    for (const CsvReader::Row& row : ended ? csv.finish() : csv.feed(bytes)) {
      if (columns_.empty()) {
        if (!read_heading(row)) break;
        continue;
      }
      take(row);
      if (portion_.size() == kPortionRows) {
        flush();
        progress(report_);
      }
      if (!report_.fatal.empty()) break;
    }
  }
  if (report_.fatal.empty() && columns_.empty()) report_.fatal = "the file has no heading row";
  if (report_.fatal.empty()) flush();
  return std::move(report_);
}

bool UserImport::learn_server() {
  const auto users = client_.list_users();
  if (!users) {
    report_.fatal = users.problem;
    return false;
  }
  for (const Json& user : users.value) {
    if (user["status"].get<uint32_t>() != kStatusLeft) existing_.insert(user["name"]);
  }
  // Names of departments are a comfort: without them ids still work.
  const auto answer = client_.call(HttpClient::Method::get, "/api/v1/departments");
  if (!answer || !answer.value.contains("departments")) return true;
  department_ids_.emplace();
  for (const Json& entry : answer.value["departments"]) {
    uint32_t id = 0, status = 0;
    std::string name;
    if (read_number(entry, "id", id) && read_text(entry, "name", name) &&
        (!read_number(entry, "status", status) || status == 0)) {
      departments_.emplace(name, id);
      department_ids_->insert(id);
    }
  }
  return true;
}

bool UserImport::read_heading(const CsvReader::Row& row) {
  const auto refuse = [&](std::string why) {
    report_.fatal =
        fmt::format("line {}: {}; the columns are name, nick, department, password", row.line, why);
    columns_.clear();
    return false;
  };
  if (!row.problem.empty()) return refuse(row.problem);
  for (size_t i = 0; i < row.fields.size(); ++i) {
    const std::string name = lower(trimmed(row.fields[i]));
    if (std::ranges::find(kColumns, name) == std::end(kColumns))
      return refuse(fmt::format("no column is called \"{}\"", row.fields[i]));
    if (!columns_.emplace(name, i).second) return refuse(fmt::format("two columns \"{}\"", name));
  }
  return columns_.contains("name") || refuse("there is no column \"name\"");
}

// What is wrong with the row, or empty.
std::string UserImport::read_entry(const CsvReader::Row& row, Entry& entry) {
  if (!row.problem.empty()) return row.problem;
  if (row.fields.size() != columns_.size())
    return fmt::format("{}, the heading has {}", counted(row.fields.size(), "field"),
                       columns_.size());
  const auto field = [&](std::string_view column) -> std::string {
    const auto at = columns_.find(column);
    return at == columns_.end() ? std::string() : row.fields[at->second];
  };
  entry.name = trimmed(field("name"));
  entry.nick = trimmed(field("nick"));
  if (!is_label(entry.name, 1) || entry.name.find(' ') != std::string::npos)
    return "name: 1 to 32 printable characters without blanks";
  if (!is_label(entry.nick, 0)) return "nick: at most 32 printable characters";
  const std::string department(trimmed(field("department")));
  const char* end = department.data() + department.size();
  const auto read = std::from_chars(department.data(), end, entry.department);
  if (!department.empty() && (read.ec != std::errc{} || read.ptr != end)) {
    const auto known = departments_.find(department);
    if (known == departments_.end())
      return fmt::format("department: no department is called \"{}\"", department);
    entry.department = known->second;
  }
  if (entry.department != 0 && department_ids_ && !department_ids_->contains(entry.department))
    return fmt::format("department: there is no department {}", entry.department);
  entry.password = field("password");
  if (entry.password.size() > kPasswordBytesMax) return "password: at most 1024 bytes";
  return {};
}

void UserImport::take(const CsvReader::Row& row) {
  ++report_.rows;
  Entry entry{.line = row.line};
  std::string problem = read_entry(row, entry);
  if (problem.empty()) {
    const auto [at, first] = seen_.emplace(entry.name, row.line);
    if (!first) problem = fmt::format("name: line {} has the same", at->second);
  }
  if (!problem.empty()) {
    report_.bad.push_back({row.line, entry.name, problem});
    if (report_.bad.size() == kTroublesMax) report_.fatal = "too many bad rows: is this the file?";
    return;
  }
  if (existing_.contains(entry.name)) {
    report_.existing.push_back({row.line, entry.name, "exists"});
    return;
  }
  portion_.push_back(std::move(entry));
}

void UserImport::flush() {
  std::vector<Entry> bulk;
  for (Entry& entry : std::exchange(portion_, {})) {
    if (dry_run_) {
      ++report_.added;
    } else if (entry.password.empty()) {
      bulk.push_back(std::move(entry));
    } else if (report_.fatal.empty()) {
      add_one(entry);
    }
  }
  if (!bulk.empty() && report_.fatal.empty()) add_portion(std::move(bulk));
}

// A busy server is asked again for a while.
Answer<Json> UserImport::post(const std::string& path, const Json& body) {
  Answer<Json> answer;
  for (int i = 0; i < kBusyRetriesMax; ++i) {
    answer = client_.call(HttpClient::Method::post, path, body);
    if (answer.status != 503) break;
    std::this_thread::sleep_for(kBusyPause);
  }
  const bool about_rows = answer.status == 400 || answer.status == 409;
  if (!answer && !about_rows) report_.fatal = answer.problem;
  return answer;
}

void UserImport::add_portion(std::vector<Entry> entries) {
  while (!entries.empty()) {
    Json users = Json::array();
    for (const Entry& entry : entries) {
      Json user = {{"name", entry.name}, {"department", entry.department}};
      if (!entry.nick.empty()) user["nick"] = entry.nick;
      users.push_back(std::move(user));
    }
    const auto answer = post("/api/v1/users:bulk", Json{{"users", std::move(users)}});
    if (answer) {
      report_.added += entries.size();
      return;
    }
    if (!report_.fatal.empty()) return;
    size_t index = 0;
    std::string rest;
    if (split_row_problem(answer.problem, index, rest) && index < entries.size()) {
      report_.bad.push_back({entries[index].line, entries[index].name, rest});
      entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(index));
      continue;
    }
    // All or nothing, and the answer does not say who stands in the way: somebody made since we asked.
    if (entries.size() == 1) return add_one(entries.front());
    const auto half = entries.begin() + static_cast<std::ptrdiff_t>(entries.size() / 2);
    add_portion({std::make_move_iterator(entries.begin()), std::make_move_iterator(half)});
    entries.erase(entries.begin(), half);
    if (!report_.fatal.empty()) return;
  }
}

void UserImport::add_one(const Entry& entry) {
  Json user = {{"name", entry.name}, {"department", entry.department}};
  if (!entry.nick.empty()) user["nick"] = entry.nick;
  if (!entry.password.empty()) user["password"] = entry.password;
  const auto answer = post("/api/v1/users", user);
  if (answer) {
    ++report_.added;
  } else if (answer.status == 409) {
    report_.existing.push_back({entry.line, entry.name, "exists"});
  } else if (report_.fatal.empty()) {
    report_.bad.push_back({entry.line, entry.name, answer.problem});
  }
}

}  // namespace ringtalk::ctl
