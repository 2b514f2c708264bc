// UserImport: accounts out of a CSV file, in portions.
//
//   name,nick,department,password        a heading row names the columns, in any order; name is needed
//   alice,"Alice, A.",Sales,             nick, department (id or name) and password may be empty
//
// Bound   kPortionRows rows are held at a time; names seen are remembered (to find repeats in the file).
// Errors  a bad row is reported with its line and left out, the others go in. What ends it at once (no
//         server, no heading row) is in `fatal`.
// Why     rows without a password go in by hundreds; a password costs the server 20 ms of argon2id, so
//         those go one by one. Names that exist are asked for once, before: a run that was cut short can
//         simply be repeated.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tools/ctl/csv.h"
#include "tools/ctl/http_client.h"

namespace ringtalk::ctl {

class UserImport {
 public:
  static constexpr size_t kPortionRows = 500;

  struct Trouble {
    uint64_t line = 0;
    std::string name;
    std::string problem;
  };
  struct Report {
    uint64_t rows  = 0;  // without the heading
    uint64_t added = 0;  // with dry_run: would have been
    std::vector<Trouble> existing;
    std::vector<Trouble> bad;
    std::string fatal;
  };

  UserImport(HttpClient& client, bool dry_run) : client_(client), dry_run_(dry_run) {}

  // read() gives the next bytes, none at the end; progress() is called after each portion.
  Report run(const std::function<std::string()>& read,
             const std::function<void(const Report&)>& progress);

 private:
  struct Entry {
    uint64_t line = 0;
    std::string name;
    std::string nick;
    uint32_t department = 0;
    std::string password;
  };

  bool learn_server();
  bool read_heading(const CsvReader::Row& row);
  void take(const CsvReader::Row& row);
  std::string read_entry(const CsvReader::Row& row, Entry& entry);
  void flush();
  void add_portion(std::vector<Entry> entries);
  void add_one(const Entry& entry);
  Answer<Json> post(const std::string& path, const Json& body);

  HttpClient& client_;
  const bool dry_run_;
  Report report_;
  std::map<std::string, size_t, std::less<>> columns_;
  std::set<std::string, std::less<>> existing_;
  std::map<std::string, uint64_t, std::less<>> seen_;         // name → line
  std::map<std::string, uint32_t, std::less<>> departments_;  // by name
  std::optional<std::set<uint32_t>> department_ids_;          // if the server told
  std::vector<Entry> portion_;
};

}  // namespace ringtalk::ctl
