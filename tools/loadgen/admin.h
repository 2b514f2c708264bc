// Admin: the server's JSON interface, as far as a load generator needs it.
//
// Errors       Answer::problem, one sentence; never an exception.
// Bound        2 s to connect, 60 s for an answer: 20,000 users at once take a while on a slow disk.
// Thread rule  One thread; blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/config.h"

namespace ringtalk::loadgen {

struct Answer {
  nlohmann::json value;
  std::string problem;
  bool ok() const { return problem.empty(); }
};

class Admin {
 public:
  Admin(const engine::Address& address, std::string token);
  ~Admin();

  Answer get(const std::string& path);
  Answer post(const std::string& path, const std::string& body);
  const std::string& place() const { return place_; }

 private:
  struct Connection;
  Answer take(const void* result);
  std::string place_;
  std::unique_ptr<Connection> connection_;
};

// The first line of the file; nothing and the reason otherwise.
std::string read_token(const std::string& file, std::string& problem);

}  // namespace ringtalk::loadgen
