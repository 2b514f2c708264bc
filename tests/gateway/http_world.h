// HttpTest: scripted HTTP clients against a World's shard 0.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/shard/harness.h"

namespace ringtalk::sim {

using End = engine::FakeClient::End;
using nlohmann::json;

struct Answer {
  int status = 0;
  std::map<std::string, std::string> fields;
  std::string body;
};

// Takes whole answers off the front of `text`. head: answers carry no body.
inline std::vector<Answer> take_answers(std::string& text, bool head = false) {
  std::vector<Answer> found;
  for (;;) {
    const size_t end = text.find("\r\n\r\n");
    if (end == text.npos) return found;
    Answer answer;
    EXPECT_TRUE(text.starts_with("HTTP/1.1 ")) << text.substr(0, 80);
    answer.status = std::stoi(text.substr(9, 3));
    size_t at     = text.find("\r\n") + 2;
    while (at < end) {
      const size_t eol                           = text.find("\r\n", at);
      const size_t colon                         = text.find(": ", at);
      answer.fields[text.substr(at, colon - at)] = text.substr(colon + 2, eol - colon - 2);
      at                                         = eol + 2;
    }
    const size_t length = head ? 0 : std::stoul(answer.fields.at("Content-Length"));
    if (text.size() < end + 4 + length) return found;
    answer.body = text.substr(end + 4, length);
    text.erase(0, end + 4 + length);
    found.push_back(std::move(answer));
  }
}

class HttpTest : public testing::Test {
 protected:
  HttpTest() : world_({.shards = 2, .users = 4, .http = true}) {}

  std::vector<Answer> exchange(std::string_view bytes) {
    auto client = world_.connect_http();
    client.write(bytes);
    world_.settle();
    std::string text;
    for (std::string some = client.read(); !some.empty(); some = client.read()) {
      text += some;
      world_.settle();
    }
    end_         = client.end();
    auto answers = take_answers(text);
    EXPECT_TRUE(text.empty()) << text.substr(0, 200);
    if (end_ == End::open) client.close();
    world_.settle();
    return answers;
  }
  int status_of(std::string_view bytes) {
    const auto answers = exchange(bytes);
    return answers.size() == 1 ? answers[0].status : -static_cast<int>(answers.size());
  }
  static std::string get(std::string_view path, std::string_view more = "") {
    return "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(more) + "\r\n";
  }
  static std::string post(std::string_view path, std::string_view body, bool token = true) {
    return "POST " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" +
           (token ? "Authorization: Bearer " + std::string(kAdminToken) + "\r\n" : "") +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
  }

  // With a body and the token.
  static std::string send(std::string_view method, std::string_view path, std::string_view body) {
    return std::string(method) + post(path, body).substr(4);
  }
  static std::string ask(std::string_view path) {
    return get(path, "Authorization: Bearer " + std::string(kAdminToken) + "\r\n");
  }
  // Status and JSON of the one answer.
  std::pair<int, json> call(std::string_view bytes) {
    const auto answers = exchange(bytes);
    EXPECT_EQ(answers.size(), 1u);
    if (answers.size() != 1) return {0, {}};
    return {answers[0].status, json::parse(answers[0].body, nullptr, false)};
  }

  World world_;
  End end_ = End::open;
};

}  // namespace ringtalk::sim
