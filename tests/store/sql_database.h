// A database of a test's own at the server that RINGTALK_TEST_MYSQL names (host:port:user:password).
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>

#include "store/mysql/connection.h"

namespace ringtalk::store::sql {

// Made by open(), dropped at the end.
class TestDatabase {
 public:
  // nullptr: no server was named, the test is to be skipped.
  static std::unique_ptr<TestDatabase> open() {
    const char* const address = std::getenv("RINGTALK_TEST_MYSQL");
    if (!address) return nullptr;
    std::istringstream words(address);
    std::string port;
    Server server;
    std::getline(words, server.host, ':');
    std::getline(words, port, ':');
    std::getline(words, server.user, ':');
    std::getline(words, server.password);
    server.port = static_cast<uint16_t>(std::stoul(port));
    server.database.clear();
    static int count = 0;
    auto made        = std::unique_ptr<TestDatabase>(new TestDatabase);
    made->name_      = "rt_test_" + std::to_string(::getpid()) + "_" + std::to_string(++count);
    auto connection  = connect(server);
    if (!connection) throw std::runtime_error(connection.error().text);
    made->admin_  = std::move(*connection);
    made->server_ = server;
    made->must("CREATE DATABASE " + made->name_ + " DEFAULT CHARACTER SET utf8");
    made->must("USE " + made->name_);
    made->server_.database = made->name_;
    return made;
  }
  ~TestDatabase() {
    if (admin_) must("DROP DATABASE " + name_);
  }

  const Server& server() const { return server_; }
  Connection& connection() { return *admin_; }

  void must(const std::string& sql) {
    auto done = admin_->run(sql);
    ASSERT_TRUE(done) << sql << ": " << done.error().text;
  }
  // The first column of the first row.
  std::string ask(const std::string& sql) {
    auto rows = admin_->query(sql);
    if (!rows) return "failed: " + rows.error().text;
    if (rows->empty()) return "none";
    const std::string_view text = rows->text(0, 0);
    return text.empty() ? std::to_string(rows->number(0, 0)) : std::string(text);
  }

 private:
  TestDatabase() = default;

  Server server_;
  std::string name_;
  std::unique_ptr<Connection> admin_;
};

}  // namespace ringtalk::store::sql
