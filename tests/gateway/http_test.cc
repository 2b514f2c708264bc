// The HTTP door on a fake ring: requests in every shape and split, floods, bombs and slow clients.
#include <gtest/gtest.h>

#include "tests/gateway/http_world.h"

namespace ringtalk::sim {
namespace {

class Http : public HttpTest {};

TEST_F(Http, Routes) {
  EXPECT_EQ(status_of(get("/healthz")), 200);
  EXPECT_EQ(end_, End::open) << "keep-alive";
  EXPECT_EQ(exchange(get("/healthz"))[0].body, "ok\n");
  EXPECT_EQ(status_of(get("/readyz")), 200);
  EXPECT_EQ(status_of(get("/nowhere")), 404);
  EXPECT_EQ(status_of(get("/")), 404);
  EXPECT_EQ(status_of(post("/healthz", "x")), 405);
  EXPECT_EQ(status_of("DELETE /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 405);
  const auto metrics = exchange(get("/metrics"));
  ASSERT_EQ(metrics.size(), 1u);
  EXPECT_NE(metrics[0].body.find("ringtalk_"), std::string::npos);
  EXPECT_EQ(status_of(get("/healthz", "Connection: close\r\n")), 200);
  EXPECT_EQ(end_, End::finished);
  EXPECT_EQ(status_of("GET /healthz HTTP/1.0\r\n\r\n"), 200);
  EXPECT_EQ(end_, End::finished) << "HTTP/1.0 closes";
  EXPECT_EQ(status_of(get("/healthz?x=y&z")), 200);
  EXPECT_EQ(
      status_of(get("/api/v1/users", "Authorization: Bearer " + std::string(kAdminToken) + "\r\n")),
      200);
}

TEST_F(Http, MetricsNeedTheTokenOffLoopback) {
  const auto ask = [&](const std::string& bytes) {
    auto client = world_.connect_http(0x0a000001);
    client.write(bytes);
    world_.settle();
    std::string text   = client.read();
    const auto answers = take_answers(text);
    client.close();
    return answers.empty() ? 0 : answers[0].status;
  };
  EXPECT_EQ(ask(get("/metrics")), 401);
  EXPECT_EQ(ask(get("/metrics", "Authorization: Bearer " + std::string(kAdminToken) + "\r\n")),
            200);
  EXPECT_EQ(ask(get("/healthz")), 200);
}

TEST_F(Http, TheTokenIsCheckedBeforeAnythingElse) {
  const std::string good(kAdminToken);
  std::string wrong = good;
  wrong.back() ^= 1;
  for (const std::string& field :
       {std::string(), std::string("Authorization: Bearer \r\n"),
        "Authorization: Bearer " + wrong + "\r\n",
        "Authorization: Bearer " + good.substr(1) + "\r\n",
        "Authorization: Bearer " + good + "0\r\n", "Authorization: Basic " + good + "\r\n",
        "Authorization: " + good + "\r\n"}) {
    EXPECT_EQ(status_of(get("/api/v1/users", field)), 401) << field;
    const auto refused = exchange(get("/api/v1/nothing", field));
    ASSERT_EQ(refused.size(), 1u);
    EXPECT_EQ(refused[0].status, 401) << "paths are nobody's business";
    EXPECT_EQ(json::parse(refused[0].body)["error"], "unauthorized");
  }
  for (const char* scheme : {"Bearer ", "bearer ", "BEARER ", "bEaReR   "})
    EXPECT_EQ(status_of(get("/api/v1/users", "Authorization: " + (scheme + good) + "\r\n")), 200)
        << scheme;
  for (const char* scheme : {"Bearer", "Bearer\t", "Bearers ", "xBearer "})
    EXPECT_EQ(status_of(get("/api/v1/users", "Authorization: " + (scheme + good) + "\r\n")), 401)
        << scheme;
  EXPECT_EQ(status_of(post("/api/v1/users", "{\"name\":\"eve\"}", /*token=*/false)), 401);
  EXPECT_EQ(status_of(post("/api/v1/nothing", "{}")), 404);
}

TEST_F(Http, EverySplitGivesTheSameAnswer) {
  const std::string bytes = post("/api/v1/users", "{\"name\":\"two words\"}") + get("/healthz");
  for (size_t split = 1; split < bytes.size(); ++split) {
    auto client = world_.connect_http();
    client.write(bytes.substr(0, split));
    world_.settle();
    client.write(bytes.substr(split));
    world_.settle();
    std::string text   = client.read();
    const auto answers = take_answers(text);
    ASSERT_EQ(answers.size(), 2u) << split;
    EXPECT_EQ(answers[0].status, 400);
    EXPECT_EQ(answers[1].status, 200);
    client.close();
  }
  auto client = world_.connect_http();
  for (const char c : bytes) {
    client.write(std::string_view(&c, 1));
    world_.step();
  }
  world_.settle();
  std::string text = client.read();
  EXPECT_EQ(take_answers(text).size(), 2u);
  client.close();
}

TEST_F(Http, PipeliningKeepsTheOrder) {
  std::string bytes;
  for (int i = 0; i < 200; ++i)
    bytes += i % 3 == 0   ? post("/api/v1/users", "{\"name\":\"pipe" + std::to_string(i) + "\"}")
             : i % 3 == 1 ? get("/healthz")
                          : get("/nowhere");
  const auto answers = exchange(bytes);
  ASSERT_EQ(answers.size(), 200u);
  for (size_t i = 0; i < 200; ++i)
    EXPECT_EQ(answers[i].status, i % 3 == 0 ? 201 : i % 3 == 1 ? 200 : 404);
}

TEST_F(Http, HeadHasNoBody) {
  auto client = world_.connect_http();
  client.write("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + get("/healthz"));
  world_.settle();
  std::string text = client.read();
  const size_t end = text.find("\r\n\r\n");
  ASSERT_NE(end, text.npos);
  EXPECT_NE(text.find("Content-Length: 3"), text.npos);
  EXPECT_TRUE(text.substr(end + 4).starts_with("HTTP/1.1 200"))
      << "a body would be read as the next answer";
  client.close();
}

TEST_F(Http, HeaderBounds) {
  std::string many;
  for (int i = 0; i < 63; ++i) many += "X-" + std::to_string(i) + ": v\r\n";
  EXPECT_EQ(status_of(get("/healthz", many)), 200) << "64 with Host";
  EXPECT_EQ(status_of(get("/healthz", many + "X-last: v\r\n")), 431);
  EXPECT_EQ(end_, End::finished);
  EXPECT_EQ(status_of(get("/healthz", "X: " + std::string(7000, 'v') + "\r\n")), 200);
  EXPECT_EQ(status_of(get("/healthz", "X: " + std::string(8200, 'v') + "\r\n")), 431);
  EXPECT_EQ(status_of(get("/" + std::string(9000, 'p'))), 431);
  // A header that never ends: refused when the bound is passed, not when memory is.
  auto client = world_.connect_http();
  client.write("GET / HTTP/1.1\r\n");
  size_t written = 0;
  for (; written < 200'000 && client.end() == End::open; written += 1000) {
    client.write("X: " + std::string(995, 'v') + "\r\n");
    world_.settle();
  }
  EXPECT_LT(written, 20'000u);
  std::string text = client.read();
  const auto bound = take_answers(text);
  ASSERT_EQ(bound.size(), 1u);
  EXPECT_EQ(bound[0].status, 431);
}

TEST_F(Http, WhatIsAmbiguousOrOldIsRefused) {
  const std::string token = "Authorization: Bearer " + std::string(kAdminToken) + "\r\n";
  const auto with         = [&](const std::string& fields, const std::string& body) {
    return status_of("POST /api/v1/users HTTP/1.1\r\nHost: x\r\n" + token + fields + "\r\n" + body);
  };
  EXPECT_EQ(with("Content-Length: 2\r\nContent-Length: 3\r\n", "{}x"), 400);
  EXPECT_EQ(with("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400);
  EXPECT_EQ(with("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "0\r\n\r\n"), 400);
  EXPECT_EQ(with("Content-Length: -1\r\n", ""), 400);
  EXPECT_EQ(with("Content-Length: 1e3\r\n", ""), 400);
  EXPECT_EQ(with("Content-Length: 99999999999999999999999\r\n", ""), 400);
  EXPECT_EQ(with("Content-Length : 2\r\n", "{}"), 400) << "a blank before the colon smuggles";
  EXPECT_EQ(status_of("GET /healthz\r\n\r\n"), 400) << "HTTP/0.9";
  EXPECT_EQ(status_of("GET /healthz HTTP/2.0\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET /healthz HTTP/9.9\r\n\r\n"), 400);
  EXPECT_EQ(status_of("G\x01T / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET /\x01 HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status_of(std::string("\x16\x03\x01\x02\x00\x01", 6)), 400) << "TLS";
  EXPECT_EQ(status_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 400);
  EXPECT_EQ(status_of(std::string(150, '\0')), 400);
  EXPECT_EQ(end_, End::finished);
}

TEST_F(Http, WhatAnotherReaderMightTakeOtherwise) {
  EXPECT_EQ(status_of("GET /healthz HTTP/1.1\r\n\r\n"), 400) << "no Host";
  EXPECT_EQ(status_of(get("/healthz", "Host: y\r\n")), 400) << "two";
  EXPECT_EQ(status_of("GET /healthz HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n"), 400);
  for (const char* coding :
       {"gzip", "identity", "gzip, chunked", "chunked, gzip", "chunked, chunked", "xchunked", ""})
    EXPECT_EQ(status_of(get("/healthz", "Transfer-Encoding: " + std::string(coding) + "\r\n")), 400)
        << coding;
  EXPECT_EQ(
      status_of(get("/healthz", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
      400);
  EXPECT_EQ(status_of("POST /healthz HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400);
  EXPECT_EQ(status_of(get("/healthz", "Transfer-Encoding: CHUNKED\r\n") + "0\r\n\r\n"), 200);
  EXPECT_EQ(status_of(get("/healthz", "X: a\rb\r\n")), 400);
  EXPECT_EQ(status_of(get("/healthz", std::string("X: a\0b\r\n", 8))), 400);
  EXPECT_EQ(status_of(get(std::string_view("/a\0b", 4))), 400);
  EXPECT_EQ(status_of("GET /healthz\nHost: x\n\n"), 400);
  for (const char* path : {"//healthz", "/%68ealthz", "/healthz/", "/./healthz", "http://x/healthz",
                           "/healthz%00", "/HEALTHZ"})
    EXPECT_EQ(status_of(get(path)), 404) << path;
  // A token twice is nobody's: which of them counts?
  const std::string token = "Authorization: Bearer " + std::string(kAdminToken) + "\r\n";
  EXPECT_EQ(status_of(get("/api/v1/users", token + token)), 401);
}

// RFC 9112 §6.3.
TEST_F(Http, WithoutLengthAndChunksThereIsNoBody) {
  const auto head = [](std::string_view method, std::string_view path) {
    return std::string(method) + " " + std::string(path) +
           " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + std::string(kAdminToken) + "\r\n\r\n";
  };
  EXPECT_EQ(status_of(head("POST", "/api/v1/users/1/token")), 201);
  EXPECT_EQ(end_, End::open) << "nothing was wrong with it";
  for (const char* method : {"POST", "PATCH"}) {
    const auto path    = method[1] == 'O' ? "/api/v1/users" : "/api/v1/users/1";
    const auto answers = exchange(head(method, path));
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].status, 400) << method;
    EXPECT_EQ(json::parse(answers[0].body)["error"], "body: must be a JSON object");
  }
  EXPECT_EQ(status_of("POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 405);
  // What stands behind the header is the next request, not a body.
  const auto both = exchange(head("POST", "/api/v1/users/1/token") + get("/healthz"));
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].status, 201);
  EXPECT_EQ(both[1].status, 200);
  const auto smuggled = exchange(head("POST", "/api/v1/users/1/token") + "{}");
  ASSERT_GE(smuggled.size(), 1u);
  EXPECT_EQ(smuggled[0].status, 201);
}

TEST_F(Http, ContinueIsSaidBeforeABodyIsTaken) {
  const auto ask = [&](std::string_view path, const std::string& fields, std::string_view version) {
    return "POST " + std::string(path) + " HTTP/" + std::string(version) + "\r\nHost: x\r\n" +
           fields + "Content-Length: 16\r\n\r\n";
  };
  const std::string token  = "Authorization: Bearer " + std::string(kAdminToken) + "\r\n";
  const std::string expect = "Expect: 100-Continue\r\n";
  const std::string body   = R"({"name":"later"})";
  ASSERT_EQ(body.size(), 16u);
  auto client = world_.connect_http();
  client.write(ask("/api/v1/users", token + expect, "1.1"));
  world_.settle();
  EXPECT_EQ(client.read(), "HTTP/1.1 100 Continue\r\n\r\n");
  client.write(body);
  world_.settle();
  EXPECT_TRUE(client.read().starts_with("HTTP/1.1 201"));
  client.close();
  // Not when it is there already, not to old clients, not when it would be in vain.
  EXPECT_EQ(status_of(ask("/api/v1/users", token + expect, "1.1") + body), 409);
  auto old = world_.connect_http();
  old.write(ask("/api/v1/users", token + expect, "1.0"));
  world_.settle();
  EXPECT_EQ(old.read(), "");
  old.close();
  EXPECT_EQ(status_of(ask("/api/v1/users", expect, "1.1")), 401);
  EXPECT_EQ(status_of(ask("/api/v1/users", token + "Expect: more\r\n", "1.1")), 417);
  EXPECT_EQ(end_, End::finished);
}

// Else everybody who can connect could make us keep 4 MiB.
TEST_F(Http, AStrangersBodyIsNotWaitedFor) {
  EXPECT_EQ(
      status_of("POST /api/v1/users:bulk HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"),
      401);
  EXPECT_EQ(end_, End::finished);
  EXPECT_EQ(
      status_of("POST /api/v1/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"),
      401);
}

TEST_F(Http, ChunkedBodies) {
  const std::string head = "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " +
                           std::string(kAdminToken) + "\r\nTransfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(status_of(head + "8\r\n{\"name\":\r\na\r\n\"chunked\"}\r\n0\r\n\r\n"), 201);
  EXPECT_EQ(status_of(head + "zz\r\n{}\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(status_of(head + "ffffffffffffffffff\r\n{}"), 400);
  EXPECT_EQ(status_of(head + "20000\r\n" + std::string(0x20000, 'x') + "\r\n0\r\n\r\n"), 413);
  EXPECT_EQ(status_of(head + "1;" + std::string(10'000, 'e')), 400) << "a chunk's head without end";
  // Many small chunks: the sum counts.
  std::string flood = head;
  for (int i = 0; i < 3000; ++i) flood += "20\r\n" + std::string(32, 'y') + "\r\n";
  EXPECT_EQ(status_of(flood), 413);
}

TEST_F(Http, BodiesByTheirDeclaredLength) {
  const std::string head = "POST /api/v1/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " +
                           std::string(kAdminToken) + "\r\nContent-Length: ";
  EXPECT_EQ(status_of(head + "65537\r\n\r\n"), 413) << "before a byte of it came";
  EXPECT_EQ(end_, End::finished);
  EXPECT_EQ(status_of(head + "4000000000\r\n\r\n"), 413);
  EXPECT_EQ(status_of(post("/api/v1/users", std::string(65536, ' '))), 400);
  // Bulk has a bound of its own.
  std::string list;
  for (int i = 0; i < 500; ++i)
    list += std::string(i ? "," : "") + "{\"name\":\"bulk" + std::to_string(i) +
            "\",\"nick\":\"n\"}" + std::string(150, ' ');
  const std::string bulk = "{\"users\":[" + list + "],\"tokens\":true}";
  ASSERT_GT(bulk.size(), 65536u);
  const auto answers = exchange(post("/api/v1/users:bulk", bulk));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 201);
  EXPECT_EQ(json::parse(answers[0].body)["users"].size(), 500u);
  EXPECT_EQ(
      status_of("POST /api/v1/users:bulk HTTP/1.1\r\nHost: x\r\nContent-Length: 4194305\r\n\r\n"),
      413);
}

TEST_F(Http, UsersAreAddedAndReachableAtOnce) {
  const auto made =
      exchange(post("/api/v1/users", R"({"name":"dora","nick":"Dora","token":true})"));
  ASSERT_EQ(made.size(), 1u);
  ASSERT_EQ(made[0].status, 201);
  const auto user = json::parse(made[0].body);
  EXPECT_EQ(user["id"], 5);
  for (uint32_t door = 0; door < 2; ++door) {
    Client& dora = world_.connect(door);
    dora.write(
        login_frame("dora", "token:" + user["token"].get<std::string>(), door ? kPhone : kWindows));
    world_.settle();
    EXPECT_EQ(world_.result_of_login(dora), 0);
  }
  Client& alice = world_.enter(1);
  alice.write(chat_frame(5, "welcome", 1));
  world_.settle();
  EXPECT_EQ(alice.acks().size(), 1u) << "201 means every shard knows";

  EXPECT_EQ(status_of(post("/api/v1/users", R"({"name":"dora"})")), 409);
  const auto listed = exchange(get("/api/v1/users?after=3&limit=1",
                                   "Authorization: Bearer " + std::string(kAdminToken) + "\r\n"));
  ASSERT_EQ(listed.size(), 1u);
  const auto list = json::parse(listed[0].body);
  EXPECT_EQ(list["users"].size(), 1u);
  EXPECT_EQ(list["users"][0]["id"], 4);
  EXPECT_EQ(list["next"], 4);
  // With a password, through the threads.
  EXPECT_EQ(status_of(post("/api/v1/users", R"({"name":"emil","password":"secret"})")), 201);
  Client& emil = world_.connect(1);
  emil.write(login_frame("emil", shard::md5hex_of("secret")));
  world_.settle();
  EXPECT_EQ(world_.result_of_login(emil), 0);
  // All or nothing.
  EXPECT_EQ(status_of(post("/api/v1/users:bulk", R"({"users":[{"name":"f1"},{"name":"dora"}]})")),
            409);
  EXPECT_EQ(status_of(post("/api/v1/users", R"({"name":"f1"})")), 201)
      << "the refused bulk left nothing";
}

TEST_F(Http, BadJsonAndBadFields) {
  const std::string deep(100'000 / 2, '[');
  for (const std::string& body : {std::string(),
                                  std::string("{"),
                                  std::string("[]"),
                                  std::string("null"),
                                  std::string("\"x\""),
                                  deep,
                                  std::string(30'000, '{'),
                                  "{\"a\":" + std::string(17, '[') + std::string(17, ']') + "}",
                                  std::string("{\"name\":\"\"}"),
                                  std::string("{\"name\":\"a b\"}"),
                                  std::string("{\"name\":5}"),
                                  std::string("{\"name\":\"\\u0000\"}"),
                                  std::string("{\"name\":\"a\\nb\"}"),
                                  std::string("{\"name\":\"\xff\"}"),
                                  "{\"name\":\"" + std::string(33, 'n') + "\"}",
                                  std::string(R"({"name":"x","nick":5})"),
                                  std::string(R"({"name":"x","department":-1})"),
                                  std::string(R"({"name":"x","department":4294967296})"),
                                  std::string(R"({"name":"x","password":5})"),
                                  std::string(R"({"name":"x","password":""})"),
                                  R"({"name":"x","password":")" + std::string(1025, 'p') + "\"}"}) {
    const auto answers = exchange(post("/api/v1/users", body));
    ASSERT_EQ(answers.size(), 1u) << body.substr(0, 60);
    EXPECT_EQ(answers[0].status, 400) << body.substr(0, 60);
    EXPECT_TRUE(json::parse(answers[0].body).contains("error"));
  }
  for (const std::string& body :
       {std::string(R"({"users":[]})"), std::string(R"({"users":5})"),
        std::string(R"({"users":[5]})"), std::string(R"({"users":[{"name":"x","password":"p"}]})"),
        std::string(R"({"users":[{"name":"x"},{}]})")})
    EXPECT_EQ(status_of(post("/api/v1/users:bulk", body)), 400) << body;
  const std::string token = "Authorization: Bearer " + std::string(kAdminToken) + "\r\n";
  for (const char* query : {"after=x", "limit=0", "limit=-1", "after=99999999999", "limit=1x"})
    EXPECT_EQ(status_of(get("/api/v1/users?" + std::string(query), token)), 400) << query;
}

TEST_F(Http, SlowClientsAreToldAndClosed) {
  auto silent = world_.connect_http();
  auto head   = world_.connect_http();
  auto drip   = world_.connect_http();
  auto body   = world_.connect_http();
  head.write("GET /healthz HT");
  body.write(post("/api/v1/users", std::string(1000, 'x')).substr(0, 300));
  for (int s = 0; s < 7; ++s) {
    if (drip.end() == End::open) drip.write("G");
    world_.advance_s(1);
  }
  EXPECT_NE(silent.end(), End::open);
  for (auto* client : {&head, &body}) {
    std::string text   = client->read();
    const auto answers = take_answers(text);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].status, 408);
    EXPECT_NE(client->end(), End::open);
  }
  EXPECT_NE(drip.end(), End::open) << "a byte a second does not keep a header open";
  // Idle after a request: a minute.
  auto idle = world_.connect_http();
  idle.write(get("/healthz"));
  world_.advance(55 * kNsPerS, 500 * kNsPerMs);
  EXPECT_EQ(idle.end(), End::open);
  world_.advance(8 * kNsPerS, 500 * kNsPerMs);
  EXPECT_NE(idle.end(), End::open);
}

// Who asks and asks and never reads must not fill memory.
TEST_F(Http, AnswersNobodyReadsStopTheQuestions) {
  auto greedy = world_.connect_http();  // a window of 64 KiB
  std::string flood;
  for (int i = 0; i < 5000; ++i) flood += get("/metrics");
  greedy.write(flood);
  world_.settle();
  EXPECT_LT(world_.seat(0).loop->blocks().out_bytes(), 4 * kMiB);
  // Reading goes on where it stopped; every question is answered.
  std::string text;
  size_t answers = 0;
  for (int i = 0; i < 10'000 && answers < 5000; ++i) {
    text += greedy.read();
    answers += take_answers(text).size();
    world_.settle();
  }
  EXPECT_EQ(answers, 5000u);
  greedy.close();
  world_.settle();
  auto stuck = world_.connect_http();
  stuck.write(flood);
  world_.settle();
  world_.advance(70 * kNsPerS, 500 * kNsPerMs);
  EXPECT_NE(stuck.end(), End::open);
}

TEST_F(Http, MetricsOfManyShardsAreWrittenOverTurns) {
  World world({.shards = 40, .users = 4, .http = true});
  auto first = world.connect_http(), gone = world.connect_http(), last = world.connect_http();
  for (auto* client : {&first, &gone, &last}) client->write(get("/metrics") + get("/healthz"));
  world.settle();
  EXPECT_EQ(first.read(), "");
  gone.close();
  std::string texts[2];
  for (int i = 0; i < 100; ++i) {
    world.advance(10 * kNsPerMs);
    texts[0] += first.read();
    texts[1] += last.read();
  }
  for (std::string& text : texts) {
    const auto answers = take_answers(text);
    ASSERT_EQ(answers.size(), 2u);
    EXPECT_GT(answers[0].body.size(), 200u << 10);
    EXPECT_NE(answers[0].body.find("ringtalk_loop_turns_total{shard=\"39\"}"), std::string::npos);
    EXPECT_TRUE(answers[0].body.ends_with("} 1\n")) << "the version comes last";
    EXPECT_EQ(answers[1].body, "ok\n");
  }
  first.close();
  auto stopped = world.connect_http();  // its answer is half written when the world ends
  stopped.write(get("/metrics"));
  world.settle();
}

TEST_F(Http, TooManyConnectionsAreClosedAtOnce) {
  std::vector<engine::FakeClient> clients;
  for (size_t i = 0; i < gateway::HttpGateway::kConnectionsMax + 10; ++i)
    clients.push_back(world_.connect_http());
  world_.settle();
  size_t closed = 0;
  for (auto& client : clients) closed += client.end() != End::open;
  EXPECT_EQ(closed, 10u);
  for (auto& client : clients) client.close();
  world_.settle();
  EXPECT_EQ(status_of(get("/healthz")), 200);
}

TEST_F(Http, TheQuietestMakesRoomAndWhoWaitsForAnAnswerStays) {
  world_.run_store_workers = false;
  auto waits               = world_.connect_http();
  waits.write(ask("/api/v1/users/1"));
  world_.settle();
  world_.advance(kNsPerMs);
  auto quiet = world_.connect_http();
  world_.settle();
  std::vector<engine::FakeClient> clients;
  for (size_t i = 2; i < gateway::HttpGateway::kConnectionsMax; ++i) {
    world_.clock.advance(kNsPerMs);
    clients.push_back(world_.connect_http());
    world_.settle();
  }
  EXPECT_EQ(quiet.end(), End::open);
  EXPECT_EQ(world_.seat(0).metrics.value(engine::Gauge::http_connections),
            static_cast<int64_t>(gateway::HttpGateway::kConnectionsMax));
  auto late = world_.connect_http();
  world_.settle();
  EXPECT_NE(quiet.end(), End::open);
  EXPECT_EQ(waits.end(), End::open);
  late.write(get("/healthz"));
  world_.settle();
  EXPECT_TRUE(late.read().starts_with("HTTP/1.1 200"));
  world_.run_store_workers = true;
  world_.settle();
  EXPECT_TRUE(waits.read().starts_with("HTTP/1.1 200"));
  for (auto& client : clients) client.close();
  late.close();
  waits.close();
  world_.settle();
  EXPECT_EQ(world_.seat(0).metrics.value(engine::Gauge::http_connections), 0);
}

TEST_F(Http, AClientThatLeavesDuringItsAnswer) {
  world_.run_store_workers = false;
  auto reset               = world_.connect_http();
  auto halfway             = world_.connect_http();
  reset.write(post("/api/v1/users", R"({"name":"gone"})"));
  halfway.write(post("/api/v1/users", R"({"name":"half"})"));
  world_.settle();
  reset.reset();
  halfway.finish();
  world_.settle();
  world_.run_store_workers = true;
  world_.settle();
  std::string text   = halfway.read();
  const auto answers = take_answers(text);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 201);
  EXPECT_EQ(halfway.end(), End::finished);
  EXPECT_EQ(status_of(post("/api/v1/users", R"({"name":"gone"})")), 409)
      << "it was done all the same";
}

// A monitor keeps its connection for the next request and does not close it: nothing to wait for.
TEST_F(Http, AStopDoesNotWaitForAConnectionThatIsKeptAlive) {
  auto monitor = world_.connect_http();
  monitor.write(get("/healthz"));
  world_.settle();
  std::string text = monitor.read();
  ASSERT_EQ(take_answers(text).size(), 1u);
  const uint64_t began = world_.clock.now_ns();
  EXPECT_TRUE(world_.stop());
  EXPECT_LT(world_.clock.now_ns() - began, kNsPerS);
  EXPECT_NE(monitor.end(), End::open);
}

TEST_F(Http, RandomBytes) {
  engine::SeededRandom random(8);
  const std::string seed = post("/api/v1/users", R"({"name":"mutant","nick":"x"})");
  for (int i = 0; i < 1500; ++i) {
    std::string bytes = seed;
    for (uint64_t n = 1 + random.below(5); n > 0; --n)
      bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    bytes.resize(1 + random.below(bytes.size()));
    auto client = world_.connect_http();
    client.write(bytes);
    world_.settle();
    client.close();
    world_.settle();
  }
  EXPECT_EQ(status_of(get("/healthz")), 200);
}

}  // namespace
}  // namespace ringtalk::sim
