// The administration API on a fake ring: each route's answers, what it refuses, and what it does to
// sessions on other shards.
#include "gateway/admin_api.h"

#include <gtest/gtest.h>

#include "tests/gateway/http_world.h"

namespace ringtalk::sim {
namespace {

class Admin : public HttpTest {
 protected:
  std::string error_of(std::string_view bytes) {
    const auto [status, body] = call(bytes);
    if (!body.contains("error")) return std::to_string(status);
    return std::to_string(status) + " " + body["error"].get<std::string>();
  }
  // A connection whose last 0x0107 names the reason; 0: none came.
  static uint32_t kick_reason(const Client& client) {
    const auto kicks = client.all(CommandId::kick_user);
    if (kicks.size() != 1) return 0;
    const auto notice = kicks[0]->as<IM::Login::IMKickUser>();
    EXPECT_EQ(notice.user_id(), client.user);
    return notice.kick_reason();
  }
  int login(std::string_view name, std::string_view secret, uint8_t type = kWindows) {
    Client& client = world_.connect(1);
    client.write(login_frame(name, secret, type));
    world_.settle();
    return world_.result_of_login(client);
  }
};

// --- the table ----------------------------------------------------------------------------------------------

TEST_F(Admin, UnknownPathsAndMethods) {
  for (const char* path :
       {"/api/v1/", "/api/v1/user", "/api/v1/users/", "/api/v1/users/0", "/api/v1/users/01",
        "/api/v1/users/-1", "/api/v1/users/4294967296", "/api/v1/users/1x", "/api/v1/users/1/",
        "/api/v1/users//token", "/api/v1/users/1/token/", "/api/v1//users", "/api/v1/%75sers",
        "/api/v1/users/1%2ftoken", "/api/v1/users:", "/api/v1/sessions:", "/api/v1/../v1/users"})
    EXPECT_EQ(status_of(ask(path)), 404) << path;
  for (const char* method : {"DELETE", "PUT", "TRACE", "OPTIONS", "BREW", "get"}) {
    const auto answers = exchange(send(method, "/api/v1/users", "{}"));
    ASSERT_EQ(answers.size(), 1u) << method;
    EXPECT_EQ(answers[0].status, 405) << method;
    EXPECT_EQ(answers[0].fields.at("Allow"), "GET, HEAD, POST");
  }
  const auto bulk = exchange(ask("/api/v1/users:bulk"));
  ASSERT_EQ(bulk.size(), 1u);
  EXPECT_EQ(bulk[0].status, 405);
  EXPECT_EQ(bulk[0].fields.at("Allow"), "POST");
  EXPECT_EQ(status_of(ask("/api/v1/sessions:kick")), 405);
  EXPECT_EQ(status_of(ask("/api/v1/users/1/token")), 405);
  EXPECT_EQ(status_of(send("DELETE", "/api/v1/users/1", "")), 405);
}

TEST_F(Admin, FieldsThatNobodyKnowsAreNamed) {
  EXPECT_EQ(error_of(post("/api/v1/users", R"({"name":"x","nicht":"y"})")),
            "400 nicht: unknown field");
  EXPECT_EQ(error_of(post("/api/v1/users", R"({"nick":"y"})")), "400 name: is missing");
  EXPECT_EQ(error_of(post("/api/v1/users", R"({"name":"a","name":"b"})")), "400 name: twice");
  EXPECT_EQ(error_of(post("/api/v1/users", R"({"name":"x","token":1})")),
            "400 token: true or false");
  EXPECT_EQ(error_of(post("/api/v1/users:bulk", R"({"users":[{"name":"x"},{"name":"y","id":3}]})")),
            "400 users[1]: id: unknown field");
  EXPECT_EQ(error_of(send("PATCH", "/api/v1/users/1", R"({"name":"new"})")),
            "400 name: unknown field")
      << "login names do not change";
  EXPECT_EQ(error_of(send("PATCH", "/api/v1/users/1", "{}")), "400 body: names no field to change");
  EXPECT_EQ(error_of(ask("/api/v1/users?limit=1&off=3")), "400 off: unknown field");
  EXPECT_EQ(error_of(ask("/api/v1/users?limit=1&limit=2")), "400 limit: twice");
  EXPECT_EQ(error_of(ask("/api/v1/users?name=a&limit=2")), "400 limit: unknown field");
  for (const char* path : {"/api/v1/users", "/api/v1/sessions"}) {
    EXPECT_EQ(status_of(ask(path + std::string("?limit=1000"))), 200);
    for (const char* limit : {"0", "1001", "4294967296"})
      EXPECT_EQ(error_of(ask(path + std::string("?limit=") + limit)),
                "400 limit: a whole number from 1 to 1000");
  }
  EXPECT_EQ(error_of(ask("/api/v1/users?name=%4")), "400 query: bad percent encoding");
  EXPECT_EQ(error_of(ask("/api/v1/status?x")), "400 x: unknown field");
  // What is named back is fit to be shown.
  EXPECT_EQ(error_of(post("/api/v1/users", R"({"name":"x","a\u0000b":1})")),
            "400 a field: unknown field");
}

TEST_F(Admin, BadJsonIsRefusedBeforeItIsBuilt) {
  const auto wrong = [&](const std::string& body) { return error_of(post("/api/v1/users", body)); };
  EXPECT_EQ(wrong("\xef\xbb\xbf{\"name\":\"x\"}"), "400 body: begins with a byte order mark");
  EXPECT_EQ(wrong("{\"name\":" + std::string(16, '[') + std::string(16, ']') + "}"),
            "400 body: nested deeper than 16");
  EXPECT_EQ(wrong("{\"name\":[" + std::string(20'000, ',') + "]}"),
            "400 body: more than 20000 entries in one list");
  for (const char* body :
       {R"({"name":1e999})", R"({"name":"x"}x)", R"({"name":"x"}{})", R"({"name":"\ud800"})",
        "{\"name\":\"\xed\xa0\x80\"}", "{\"name\":\"\xc0\x80\"}", R"({"name":"x",})",
        R"({name:"x"})", R"({"name":'x'})", R"(/**/{"name":"x"})", R"({"name":NaN})"})
    EXPECT_EQ(wrong(body), "400 body: must be a JSON object") << body;
  for (const char* number : {"-1", "1.0", "1e0", "4294967296", "18446744073709551616", "\"1\"",
                             "true", "null", "[]", "{}"})
    EXPECT_EQ(wrong(R"({"name":"x","department":)" + std::string(number) + "}"),
              "400 department: a whole number from 0 to 4294967295")
        << number;
  // A quote that is escaped does not hide brackets, one that is not does.
  EXPECT_EQ(status_of(post("/api/v1/users", R"({"name":"x\"y","nick":"[[[[[[[[[[[[[[[[[[[["})")),
            201);
}

// --- users --------------------------------------------------------------------------------------------------

TEST_F(Admin, AUserIsShown) {
  const auto [status, user] = call(ask("/api/v1/users/2"));
  EXPECT_EQ(status, 200);
  EXPECT_EQ(user["id"], 2);
  EXPECT_EQ(user["name"], "u2");
  EXPECT_EQ(user["status"], 0);
  EXPECT_EQ(user.size(), 13u);
  EXPECT_FALSE(user.contains("password"));
  EXPECT_EQ(error_of(ask("/api/v1/users/77")), "404 not found");
  EXPECT_EQ(status_of(send("HEAD", "/api/v1/users", "").substr(0, 0) + ask("/api/v1/users/2")),
            200);

  ASSERT_EQ(status_of(post("/api/v1/users", R"({"name":"größe&x"})")), 201);
  const auto found = call(ask("/api/v1/users?name=gr%C3%B6%c3%9fe%26x")).second;
  ASSERT_EQ(found["users"].size(), 1u);
  EXPECT_EQ(found["users"][0]["name"], "größe&x");
  EXPECT_TRUE(call(ask("/api/v1/users?name=nobody")).second["users"].empty());
  EXPECT_TRUE(call(ask("/api/v1/users?name=")).second["users"].empty());
  EXPECT_TRUE(call(ask("/api/v1/users?name=%ff%00'%3B--")).second["users"].empty());
}

TEST_F(Admin, EveryFieldOfAUserChanges) {
  ASSERT_EQ(status_of(post("/api/v1/departments", R"({"name":"one"})")), 201);
  const std::string body =
      R"({"nick":"Neu","department":1,"sex":2,"phone":"+4912345678","email":"a@b.example",)"
      R"("avatar":"/g0/x.png","signature":"hallo","domain":"neu"})";
  const uint64_t before     = call(ask("/api/v1/users/1")).second["stamp"];
  const auto [status, user] = call(send("PATCH", "/api/v1/users/1", body));
  ASSERT_EQ(status, 200);
  const auto wanted = json::parse(body);
  for (const auto& [key, value] : wanted.items()) EXPECT_EQ(user[key], value) << key;
  EXPECT_GT(user["stamp"].get<uint64_t>(), before);
  EXPECT_EQ(call(ask("/api/v1/users/1")).second, user);
  EXPECT_EQ(call(ask("/api/v1/users/2")).second["nick"], "u2") << "nobody else";
  EXPECT_EQ(error_of(send("PATCH", "/api/v1/users/77", body)), "404 not found");
  const auto refused = [&](const std::string& fields) {
    return error_of(send("PATCH", "/api/v1/users/1", fields));
  };
  EXPECT_EQ(refused(R"({"sex":3})"), "400 sex: a whole number from 0 to 2");
  EXPECT_EQ(refused(R"({"phone":"123456789012"})"), "400 phone: at most 11 printable characters");
  EXPECT_EQ(refused(R"({"nick":null})"), "400 nick: at most 32 printable characters");
  EXPECT_EQ(refused(R"({"email":"a\nb"})"), "400 email: at most 64 printable characters");
  EXPECT_EQ(refused(R"({"disabled":"yes"})"), "400 disabled: true or false");
  EXPECT_EQ(refused(R"({"password":""})"), "400 password: a text of 1 to 1024 bytes");
  std::string wide;
  for (int i = 0; i < 43; ++i) wide += "漢";
  EXPECT_EQ(refused(R"({"signature":")" + wide + "\"}"),
            "400 signature: at most 128 printable characters, at most 128 bytes");
  EXPECT_EQ(call(ask("/api/v1/users/1")).second, user) << "what is refused changes nothing";
}

// Wherever he is at home, and whatever he holds.
TEST_F(Admin, ADisabledUserIsGoneEverywhere) {
  for (const uint32_t user : {1u, 2u}) {
    Client& pc                = world_.enter(user, kWindows);
    Client& phone             = world_.enter(user, kPhone);
    Client& other             = world_.enter(3);
    const std::string path    = "/api/v1/users/" + std::to_string(user);
    const auto [status, body] = call(send("PATCH", path, R"({"disabled":true})"));
    EXPECT_EQ(status, 200);
    EXPECT_EQ(body["status"], 3);
    EXPECT_EQ(kick_reason(pc), 1u);
    EXPECT_EQ(kick_reason(phone), 1u);
    EXPECT_EQ(kick_reason(other), 0u);
    // He sends no more, nobody reaches him, and he does not come back.
    pc.write(chat_frame(3, "still here?", 1));
    other.write(chat_frame(user, "hello?", 2));
    world_.settle();
    EXPECT_TRUE(pc.acks().empty());
    EXPECT_TRUE(other.acks().empty());
    EXPECT_NE(login(World::name(user), world_.token(user)), 0);
    world_.advance_s(6);
    EXPECT_FALSE(pc.is_open());
    EXPECT_FALSE(phone.is_open());
    EXPECT_EQ(error_of(send("POST", path + "/token", "")), "409 the user is disabled");

    EXPECT_EQ(call(send("PATCH", path, R"({"disabled":false})")).second["status"], 0);
    EXPECT_NE(login(World::name(user), world_.token(user)), 0) << "old tokens are dead";
    const auto token = call(send("POST", path + "/token", ""));
    EXPECT_EQ(token.first, 201);
    EXPECT_EQ(login(World::name(user), "token:" + token.second["token"].get<std::string>()), 0);
    other.write(chat_frame(user, "welcome back", 3));
    world_.settle();
    EXPECT_EQ(other.acks().size(), 1u);
    other.socket.close();
    world_.settle();
  }
}

TEST_F(Admin, ATakenNameStaysTaken) {
  ASSERT_EQ(status_of(send("PATCH", "/api/v1/users/1", R"({"disabled":true})")), 200);
  ASSERT_EQ(status_of(post("/api/v1/users", R"({"name":"u1"})")), 201);
  EXPECT_EQ(error_of(send("PATCH", "/api/v1/users/1", R"({"disabled":false})")),
            "409 name is taken");
  EXPECT_EQ(call(ask("/api/v1/users?name=u1")).second["users"][0]["id"], 5);
  // The one who left gets no token for the account that has his name now.
  EXPECT_EQ(error_of(send("POST", "/api/v1/users/1/token", "")), "409 the user is disabled");
}

TEST_F(Admin, ANewPasswordEndsSessionsAndTokens) {
  Client& pc = world_.enter(2);
  ASSERT_EQ(status_of(send("PATCH", "/api/v1/users/2", R"({"password":"geheim"})")), 200);
  EXPECT_EQ(kick_reason(pc), 1u);
  EXPECT_NE(login("u2", world_.token(2)), 0);
  EXPECT_EQ(login("u2", shard::md5hex_of("geheim")), 0);
  ASSERT_EQ(status_of(send("PATCH", "/api/v1/users/2", R"({"password":"anders"})")), 200);
  EXPECT_NE(login("u2", shard::md5hex_of("geheim")), 0) << "also not from memory";
  EXPECT_EQ(login("u2", shard::md5hex_of("anders")), 0);
}

// The old password was right when it was checked, and its session is on the way home meanwhile.
TEST_F(Admin, ALoginUnderWayDoesNotOutliveItsPassword) {
  ASSERT_EQ(status_of(send("PATCH", "/api/v1/users/2", R"({"password":"alt"})")), 200);
  for (const char* change : {R"({"password":"neu"})", R"({"disabled":true})"}) {
    Client& thief = world_.connect(1);
    thief.write(login_frame("u2", shard::md5hex_of(change[2] == 'p' ? "alt" : "neu")));
    world_.run_passwords = false;
    world_.settle();  // the account is read, the check waits
    world_.clock.advance(kNsPerMs);
    auto operators       = world_.connect_http();
    world_.run_passwords = change[2] == 'p';
    if (change[2] == 'p') {
      // The pool works in order: the thief's check is done first, the new hash behind it.
      operators.write(send("PATCH", "/api/v1/users/2", change));
      world_.settle();
      EXPECT_EQ(world_.seat(world_.home(2)).shard->context().users.find(UserId(2)), nullptr);
    } else {
      operators.write(send("PATCH", "/api/v1/users/2", change));
      world_.settle();
      world_.run_passwords = true;
      world_.settle();
      EXPECT_NE(world_.result_of_login(thief), 0);
    }
    EXPECT_TRUE(operators.read().starts_with("HTTP/1.1 200"));
    operators.close();
    world_.settle();
    EXPECT_TRUE(call(ask("/api/v1/sessions?user=2")).second["sessions"].empty());
  }
}

// --- departments ---------------------------------------------------------------------------------------------

TEST_F(Admin, UsersAreInDepartmentsThatThereAre) {
  ASSERT_EQ(status_of(post("/api/v1/departments", R"({"name":"stays"})")), 201);
  ASSERT_EQ(status_of(post("/api/v1/departments", R"({"name":"goes"})")), 201);
  ASSERT_EQ(status_of(send("DELETE", "/api/v1/departments/2", "")), 200);
  for (const char* nowhere : {"2", "77"}) {
    const std::string department = "\"department\":" + std::string(nowhere) + "}";
    EXPECT_EQ(error_of(send("PATCH", "/api/v1/users/1", "{" + department)),
              "400 department: no such department");
    EXPECT_EQ(error_of(post("/api/v1/users", "{\"name\":\"x\"," + department)),
              "400 department: no such department");
    EXPECT_EQ(
        error_of(post("/api/v1/users:bulk",
                      R"({"users":[{"name":"x","department":1},{"name":"y",)" + department + "]}")),
        "400 users: the department of one does not exist; none was made");
  }
  EXPECT_TRUE(call(ask("/api/v1/users?name=x")).second["users"].empty());
  EXPECT_EQ(status_of(post("/api/v1/users:bulk",
                           R"({"users":[{"name":"x","department":1},{"name":"y"}]})")),
            201);
  EXPECT_EQ(call(ask("/api/v1/users?name=x")).second["users"][0]["department"], 1);
  EXPECT_EQ(status_of(send("PATCH", "/api/v1/users/1", R"({"department":0})")), 200);
}

TEST_F(Admin, Departments) {
  const auto [status, sales] =
      call(post("/api/v1/departments", R"({"name":"Verkauf","priority":3})"));
  ASSERT_EQ(status, 201);
  const uint32_t id = sales["id"];
  EXPECT_EQ(sales,
            (json{{"id", id}, {"name", "Verkauf"}, {"parent", 0}, {"priority", 3}, {"status", 0}}));
  const std::string path = "/api/v1/departments/" + std::to_string(id);
  const auto north =
      call(post("/api/v1/departments", R"({"name":"Nord","parent":)" + std::to_string(id) + "}"));
  ASSERT_EQ(north.first, 201);
  const std::string north_path =
      "/api/v1/departments/" + std::to_string(north.second["id"].get<uint32_t>());
  EXPECT_EQ(call(send("PATCH", north_path, R"({"name":"Nordwest","priority":9})")).second["name"],
            "Nordwest");
  const auto list = call(ask("/api/v1/departments")).second["departments"];
  ASSERT_EQ(list.size(), 2u);

  EXPECT_EQ(status_of(post("/api/v1/departments", R"({"name":"x","parent":999})")), 409);
  EXPECT_EQ(
      status_of(send("PATCH", path,
                     R"({"parent":)" + std::to_string(north.second["id"].get<uint32_t>()) + "}")),
      409)
      << "below itself";
  EXPECT_EQ(error_of(send("PATCH", path, "{}")), "400 body: names no field to change");
  EXPECT_EQ(error_of(send("PATCH", path, R"({"status":1})")), "400 status: unknown field");
  EXPECT_EQ(error_of(send("PATCH", "/api/v1/departments/999", R"({"name":"x"})")), "404 not found");
  EXPECT_EQ(error_of(post("/api/v1/departments", R"({"name":""})")),
            "400 name: 1 to 64 printable characters");

  // Not while somebody is in it.
  ASSERT_EQ(status_of(send(
                "PATCH", "/api/v1/users/1",
                R"({"department":)" + std::to_string(north.second["id"].get<uint32_t>()) + "}")),
            200);
  EXPECT_EQ(status_of(send("DELETE", path, "")), 409) << "a department";
  EXPECT_EQ(status_of(send("DELETE", north_path, "")), 409) << "a user";
  ASSERT_EQ(status_of(send("PATCH", "/api/v1/users/1", R"({"disabled":true})")), 200);
  EXPECT_EQ(status_of(send("DELETE", north_path, "")), 200) << "who has left does not count";
  EXPECT_EQ(status_of(send("DELETE", path, "")), 200);
  EXPECT_EQ(error_of(send("DELETE", "/api/v1/departments/999", "")), "404 not found");
}

// --- sessions ------------------------------------------------------------------------------------------------

TEST_F(Admin, SessionsOfAllShardsArePagedThrough) {
  world_.enter(1, kWindows);
  world_.enter(1, kPhone);
  world_.enter(2, kMac);
  world_.enter(3, kAndroid);
  world_.connect(0);  // a stranger is no session
  world_.settle();
  world_.advance_s(3);
  for (const uint32_t limit : {1u, 2u, 3u, 100u}) {
    std::multiset<std::string> seen;
    uint64_t after = 0;
    int pages      = 0;
    do {
      const auto [status, page] = call(ask("/api/v1/sessions?limit=" + std::to_string(limit) +
                                           "&after=" + std::to_string(after)));
      ASSERT_EQ(status, 200);
      EXPECT_LE(page["sessions"].size(), limit);
      for (const auto& session : page["sessions"]) {
        const uint32_t user = session["user"];
        seen.insert(std::to_string(user) + session["device"].get<std::string>());
        EXPECT_EQ(session["name"], World::name(user));
        EXPECT_EQ(session["shard"], world_.home(user));
        EXPECT_EQ(session["address"], "127.0.0.1");
        EXPECT_EQ(session["idle_s"], 3);
        EXPECT_EQ(session["since"], world_.clock.wall_ns() / kNsPerS - 3);
        EXPECT_EQ(session["queued_bytes"], 0);
      }
      after = page["next"];
      ASSERT_LT(++pages, 20);
    } while (after != 0);
    EXPECT_EQ(seen, (std::multiset<std::string>{"1windows", "1ios", "2mac", "3android"})) << limit;
  }
  for (const uint32_t user : {1u, 2u, 4u}) {
    const auto page = call(ask("/api/v1/sessions?user=" + std::to_string(user))).second;
    EXPECT_EQ(page["sessions"].size(), user == 1 ? 2u : user == 2 ? 1u : 0u);
    EXPECT_EQ(page["next"], 0);
  }
  EXPECT_EQ(call(ask("/api/v1/sessions?after=18446744073709551615")).second["next"], 0);
  EXPECT_EQ(call(ask("/api/v1/sessions?after=4294967295")).first, 200);
  for (const char* query : {"user=0", "user=x", "limit=0", "after=-1", "user=1&after=2"})
    EXPECT_EQ(status_of(ask("/api/v1/sessions?" + std::string(query))), 400) << query;
}

// Both clocks are read in pieces of a second: the difference of two roundings would wander.
TEST_F(Admin, TheTimeOfALoginStaysWhatItIs) {
  world_.advance(500 * kNsPerMs);
  world_.enter(1, kWindows);
  const auto since = [&] {
    return call(ask("/api/v1/sessions?user=1")).second["sessions"][0]["since"].get<uint64_t>();
  };
  const uint64_t first = since();
  for (int i = 0; i < 30; ++i) {
    world_.advance(170 * kNsPerMs);
    EXPECT_EQ(since(), first);
  }
}

TEST_F(Admin, KickedByTheOperator) {
  const auto kick = [&](const std::string& body) {
    return call(post("/api/v1/sessions:kick", body));
  };
  for (const uint32_t user : {1u, 2u}) {  // at home on different shards or not: both are asked
    Client& pc            = world_.enter(user, kWindows);
    Client& phone         = world_.enter(user, kPhone);
    const std::string who = "{\"user\":" + std::to_string(user);
    EXPECT_EQ(kick(who + ",\"device\":\"mobile\"}").second, (json{{"kicked", 1}}));
    EXPECT_EQ(kick_reason(phone), 1u);
    EXPECT_EQ(kick_reason(pc), 0u);
    EXPECT_EQ(kick(who + ",\"device\":\"mobile\"}").second, (json{{"kicked", 0}}))
        << "gone already";
    world_.enter(user, kPhone);
    EXPECT_EQ(kick(who + "}").second, (json{{"kicked", 2}}));
    EXPECT_EQ(kick_reason(pc), 1u);
    EXPECT_TRUE(
        call(ask("/api/v1/sessions?user=" + std::to_string(user))).second["sessions"].empty());
    world_.advance_s(6);
    EXPECT_FALSE(pc.is_open());
    world_.enter(user, kWindows);  // no lock-out: he may come back at once
    EXPECT_EQ(kick(who + ",\"device\":\"pc\"}").second, (json{{"kicked", 1}}));
  }
  EXPECT_EQ(world_.metric(Counter::kicks), 8u);
  EXPECT_EQ(kick("{\"user\":4294967295}").second, (json{{"kicked", 0}}));
  EXPECT_EQ(error_of(post("/api/v1/sessions:kick", "{}")), "400 user: is missing");
  EXPECT_EQ(error_of(post("/api/v1/sessions:kick", R"({"user":0})")),
            "400 user: a whole number from 1 to 4294967295");
  EXPECT_EQ(error_of(post("/api/v1/sessions:kick", R"({"user":1,"device":"fax"})")),
            "400 device: all, pc or mobile");
}

// --- health and status ------------------------------------------------------------------------------------

TEST_F(Admin, StatusAddsUp) {
  world_.enter(1);
  world_.enter(1, kPhone);
  Client& bob = world_.enter(2);
  bob.write(chat_frame(1, "hello", 1));
  world_.settle();
  world_.advance_s(2);
  const auto [status, body] = call(ask("/api/v1/status"));
  ASSERT_EQ(status, 200);
  EXPECT_EQ(body["ready"], true);
  EXPECT_EQ(body["reason"], "");
  EXPECT_GE(body["uptime_s"], 2);
  EXPECT_GT(body["memory"]["rss"], 0);
  EXPECT_EQ(body["limits"]["sends_per_second"], 20);
  ASSERT_EQ(body["shards"].size(), 2u);
  uint64_t sessions = 0, users = 0, connections = 0, messages = 0;
  for (size_t i = 0; i < 2; ++i) {
    const auto& shard = body["shards"][i];
    EXPECT_EQ(shard["shard"], i);
    sessions += shard["sessions"].get<uint64_t>();
    users += shard["users"].get<uint64_t>();
    connections += shard["connections"].get<uint64_t>();
    messages += shard["messages"].get<uint64_t>();
  }
  EXPECT_EQ(sessions, 3u);
  EXPECT_EQ(users, 2u);
  EXPECT_EQ(connections, 3u);
  EXPECT_EQ(messages, 1u);
}

TEST_F(Admin, ReadinessNamesTheReason) {
  const auto readyz = [&] {
    const auto answers = exchange(get("/readyz"));
    return answers.size() == 1 ? std::to_string(answers[0].status) + " " + answers[0].body : "";
  };
  EXPECT_EQ(readyz(), "200 ready\n");
  world_.seat(1).frozen = true;
  world_.clock.advance(3 * kNsPerS);
  EXPECT_EQ(readyz(), "503 shard 1 stalled\n");
  EXPECT_EQ(call(ask("/api/v1/status")).second["reason"], "shard 1 stalled");
  EXPECT_GE(call(ask("/api/v1/status")).second["shards"][1]["loop_lag_ms"], 3000);
  world_.seat(1).frozen = false;
  world_.advance_s(1);
  EXPECT_EQ(readyz(), "200 ready\n");
  world_.seat(0).metrics.set(engine::Gauge::store_out_of_space, 1);
  EXPECT_EQ(readyz(), "503 disk full\n");
  world_.advance_s(1);
  EXPECT_EQ(readyz(), "200 ready\n");
}

// A shard that does not turn answers nothing: the caller is let go, and nobody else waits.
TEST_F(Admin, AStuckShardHoldsOnlyItsOwnQuestions) {
  uint32_t there = 1, here = 1;
  for (uint32_t user = 1; user <= 4; ++user) (world_.home(user) == 1 ? there : here) = user;
  ASSERT_NE(world_.home(there), world_.home(here));
  world_.seat(1).frozen = true;
  auto waits            = world_.connect_http();
  waits.write(ask("/api/v1/sessions?user=" + std::to_string(there)));
  world_.settle();
  EXPECT_EQ(status_of(ask("/api/v1/sessions?user=" + std::to_string(here))), 200);
  EXPECT_EQ(status_of(get("/healthz")), 200);
  for (int i = 0; i < 32; ++i) {
    world_.clock.advance(kNsPerS);
    world_.settle();
  }
  EXPECT_NE(waits.end(), End::open);
  world_.seat(1).frozen = false;
  world_.settle();
  EXPECT_EQ(status_of(ask("/api/v1/sessions?user=" + std::to_string(there))), 200);
}

TEST_F(Admin, ReloadWithoutADeskIsRefused) {
  EXPECT_EQ(error_of(send("POST", "/api/v1/reload", "")), "503 busy");
  EXPECT_EQ(error_of(send("POST", "/api/v1/reload", R"({"force":true})")),
            "400 force: unknown field");
}

}  // namespace
}  // namespace ringtalk::sim
