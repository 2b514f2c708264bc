// Users: who logs in: read from a file, or made in bulk through the server's admin API.
//
// File    One user a line, `id name secret`; the secret goes into the login's password field, so it is
//         `token:…` or an md5hex of a password. Lines that begin with # are skipped.
// Bound   kBulkUsers a request; the server makes tokens without hashing a password for them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/loadgen/admin.h"

namespace ringtalk::loadgen {

struct Account {
  uint32_t id = 0;
  std::string name;
  std::string secret;
};

struct Accounts {
  std::vector<Account> list;
  bool fresh     = false;  // made just now: nobody ever wrote to them
  double seconds = 0;      // it took to make them
  std::string problem;     // not empty: there are none
};

// Users named <prefix><number>.
Accounts make_accounts(Admin& admin, const std::string& prefix, uint32_t count);
// The first `count` of the file.
Accounts read_accounts(const std::string& file, uint32_t count);
// A file that read_accounts() understands; empty: written.
std::string write_accounts(const std::string& file, const std::vector<Account>& accounts);

}  // namespace ringtalk::loadgen
