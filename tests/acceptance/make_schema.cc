// make_schema DATABASE: an empty database and our tables in it, at the server that RINGTALK_TEST_MYSQL names
// (host:port:user:password).
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "store/mysql/schema.h"

using namespace ringtalk::store::sql;

int main(int argc, char** argv) {
  const char* const address = std::getenv("RINGTALK_TEST_MYSQL");
  if (argc != 2 || !address) return 2;
  std::istringstream words(address);
  std::string port;
  Server server;
  server.database.clear();
  std::getline(words, server.host, ':');
  std::getline(words, port, ':');
  std::getline(words, server.user, ':');
  std::getline(words, server.password);
  server.port     = static_cast<uint16_t>(std::stoul(port));
  auto connection = connect(server);
  const auto run  = [&](const std::string& sql) -> Answer<void> { return (*connection)->run(sql); };
  Answer<void> done;
  if (!connection)
    done = std::unexpected(connection.error());
  else if (done = run(std::string("CREATE DATABASE ") + argv[1]); !done)
    ;
  else if (done = run(std::string("USE ") + argv[1]); done)
    done = create_schema(**connection);
  if (!done) std::fprintf(stderr, "make_schema: %s\n", done.error().text.c_str());
  return done ? 0 : 1;
}
