// Groups and messages of the administration API on a fake ring: each route's answers, what it refuses,
// and what members hear of it.
#include <gtest/gtest.h>

#include "gateway/admin_api.h"
#include "proto/group.pb.h"
#include "proto/text_codec.h"
#include "tests/gateway/http_world.h"

namespace ringtalk::sim {
namespace {

constexpr const char* kGroups   = "/api/v1/groups";
constexpr const char* kMessages = "/api/v1/messages";

class GroupsApi : public HttpTest {
 protected:
  std::string error_of(std::string_view bytes) {
    const auto [status, body] = call(bytes);
    if (!body.contains("error")) return std::to_string(status);
    return std::to_string(status) + " " + body["error"].get<std::string>();
  }
  static std::string path(uint32_t id, std::string_view below = "") {
    return std::string(kGroups) + "/" + std::to_string(id) + std::string(below);
  }
  uint32_t make(std::string_view body) {
    const auto [status, group] = call(post(kGroups, body));
    EXPECT_EQ(status, 201) << body << group;
    return status == 201 ? group["id"].get<uint32_t>() : 0;
  }
  json change(uint32_t id, std::string_view body) {
    const auto [status, answer] = call(post(path(id, "/members"), body));
    EXPECT_EQ(status, 200) << body << answer;
    return answer;
  }
  std::vector<uint32_t> members(uint32_t id, uint32_t limit = 1000) {
    std::vector<uint32_t> found;
    for (uint32_t after = 0;;) {
      const auto page = call(ask(path(id, "/members?limit=" + std::to_string(limit) +
                                              "&after=" + std::to_string(after))))
                            .second;
      EXPECT_LE(page["members"].size(), limit);
      for (const auto& member : page["members"]) found.push_back(member["user"]);
      after = page["next"];
      if (after == 0) return found;
    }
  }
  // The texts that a client was sent in a group, in order.
  static std::vector<std::string> heard(const Client& client, uint32_t group) {
    std::vector<std::string> found;
    for (const Frame* frame : client.all(CommandId::msg_data)) {
      const auto message = frame->as<IM::Message::IMMsgData>();
      if (message.msg_type() != IM::BaseDefine::MSG_TYPE_GROUP_TEXT) continue;
      EXPECT_EQ(message.to_session_id(), group);
      found.push_back(proto::TextCodec().decrypt(message.msg_data()).value_or("?"));
    }
    return found;
  }
  std::vector<std::string> history(Client& client, uint32_t group) {
    IM::Message::IMGetMsgListReq request;
    request.set_user_id(0);
    request.set_session_type(IM::BaseDefine::SESSION_TYPE_GROUP);
    request.set_session_id(group);
    request.set_msg_id_begin(0);
    request.set_msg_cnt(100);
    client.write(frame(CommandId::get_msg_list_request, 0xff02, request));
    world_.settle();
    const auto answers = client.all(CommandId::get_msg_list_response);
    if (answers.empty()) return {"no answer"};
    std::vector<std::string> found;
    const auto page = answers.back()->as<IM::Message::IMGetMsgListRsp>();
    for (const auto& message : page.msg_list())
      found.push_back(proto::TextCodec().decrypt(message.msg_data()).value_or("?"));
    return found;
  }
};

// --- groups -------------------------------------------------------------------------------------------------

TEST_F(GroupsApi, AGroupIsMadeShownChangedAndDismissed) {
  const auto [status, made] = call(
      post(kGroups, R"({"name":"Werk Süd","avatar":"g0/1.png","creator":2,"members":[1,3,3,1]})"));
  ASSERT_EQ(status, 201);
  const uint32_t id = made["id"];
  EXPECT_EQ(made, (json{{"id", id},
                        {"name", "Werk Süd"},
                        {"avatar", "g0/1.png"},
                        {"type", "normal"},
                        {"creator", 2},
                        {"version", 1},
                        {"member_count", 3},
                        {"created", made["created"]}}));
  EXPECT_EQ(call(ask(path(id))).second, made);
  EXPECT_EQ(members(id), (std::vector<uint32_t>{1, 2, 3}));

  const auto named = call(send("PATCH", path(id), R"({"name":"Werk Nord"})"));
  EXPECT_EQ(named.first, 200);
  EXPECT_EQ(named.second["name"], "Werk Nord");
  EXPECT_EQ(named.second["avatar"], "g0/1.png");
  EXPECT_EQ(call(send("PATCH", path(id), R"({"avatar":""})")).second["avatar"], "");
  EXPECT_EQ(call(ask(path(id))).second["name"], "Werk Nord");

  EXPECT_EQ(call(send("DELETE", path(id), "")), (std::pair<int, json>{200, json::object()}));
  EXPECT_TRUE(call(ask(kGroups)).second["groups"].empty());
}

TEST_F(GroupsApi, WhatIsWrongWithAGroup) {
  const auto wrong = [&](const std::string& body) { return error_of(post(kGroups, body)); };
  EXPECT_EQ(wrong("{}"), "400 name: is missing");
  EXPECT_EQ(wrong("[]"), "400 body: must be a JSON object");
  EXPECT_EQ(wrong(R"({"name":""})"), "400 name: 1 to 256 printable characters");
  EXPECT_EQ(wrong(R"({"name":")" + std::string(257, 'n') + "\"}"),
            "400 name: 1 to 256 printable characters");
  EXPECT_EQ(wrong(R"({"name":"a\nb"})"), "400 name: 1 to 256 printable characters");
  EXPECT_EQ(wrong(R"({"name":"a","avatar":")" + std::string(257, 'n') + "\"}"),
            "400 avatar: at most 256 printable characters");
  for (const char* type : {"\"\"", "\"secret\"", "1", "null"})
    EXPECT_EQ(wrong(R"({"name":"a","type":)" + std::string(type) + "}").substr(0, 9), "400 type:")
        << type;
  EXPECT_EQ(wrong(R"({"name":"a","creator":77})"), "400 creator: a user who has not left, or 0");
  EXPECT_EQ(wrong(R"({"name":"a","members":[]})"), "400 members: a list of 1 to 20000 entries");
  EXPECT_EQ(wrong(R"({"name":"a","members":{}})"), "400 members: a list of 1 to 20000 entries");
  for (const char* entry : {"0", "-1", "77", "4294967297", "\"1\"", "1.5", "null", "[1]"})
    EXPECT_EQ(wrong(R"({"name":"a","members":[1,)" + std::string(entry) + "]}"),
              "400 members: each a user who has not left")
        << entry;
  EXPECT_EQ(wrong(R"({"name":"a","version":3})"), "400 version: unknown field");
  ASSERT_EQ(status_of(send("PATCH", "/api/v1/users/4", R"({"disabled":true})")), 200);
  EXPECT_EQ(wrong(R"({"name":"a","members":[4]})"), "400 members: each a user who has not left");
  EXPECT_EQ(wrong(R"({"name":"a","creator":4})"), "400 creator: a user who has not left, or 0");
  EXPECT_TRUE(call(ask(kGroups)).second["groups"].empty()) << "nothing was made";

  const uint32_t id  = make(R"({"name":"a"})");
  const auto refused = [&](const std::string& body) {
    return error_of(send("PATCH", path(id), body));
  };
  EXPECT_EQ(refused("{}"), "400 body: names no field to change");
  EXPECT_EQ(refused(R"({"type":"temporary"})"), "400 type: unknown field");
  EXPECT_EQ(refused(R"({"name":""})"), "400 name: 1 to 256 printable characters");
  EXPECT_EQ(refused(R"({"avatar":null})"), "400 avatar: at most 256 printable characters");
}

TEST_F(GroupsApi, MethodsPathsAndBodies) {
  const uint32_t id  = make(R"({"name":"a"})");
  const auto allowed = [&](std::string_view method, const std::string& where) {
    const auto answers = exchange(send(method, where, "{}"));
    if (answers.size() != 1 || answers[0].status != 405) return std::string("no 405");
    return answers[0].fields.at("Allow");
  };
  EXPECT_EQ(allowed("PUT", kGroups), "GET, HEAD, POST");
  EXPECT_EQ(allowed("POST", path(id)), "GET, HEAD, PATCH, DELETE");
  EXPECT_EQ(allowed("DELETE", path(id, "/members")), "GET, HEAD, POST");
  EXPECT_EQ(allowed("GET", path(id, "/members:everybody")), "POST");
  EXPECT_EQ(allowed("GET", kMessages), "POST");
  for (const char* nowhere :
       {"/api/v1/groups/", "/api/v1/groups/0", "/api/v1/groups/01", "/api/v1/groups/1/",
        "/api/v1/groups/1/member", "/api/v1/groups/1/members:all", "/api/v1/groups/members"})
    EXPECT_EQ(status_of(ask(nowhere)), 404) << nowhere;
  const auto declares = [&](const std::string& where, size_t length) {
    return "POST " + where + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + kAdminToken +
           "\r\nContent-Length: " + std::to_string(length) + "\r\n\r\n";
  };
  // Long lists get through, though GET of the same path takes no long body.
  const std::string blanks(100'000, ' ');
  EXPECT_EQ(status_of(post(path(id, "/members"), blanks + R"({"add":[1]})")), 200);
  EXPECT_EQ(status_of(post(kGroups, blanks + R"({"name":"b"})")), 201);
  EXPECT_EQ(status_of(send("PATCH", path(id), blanks + R"({"name":"b"})")), 413);
  EXPECT_EQ(status_of(send("GET", kGroups, blanks)), 413);
  EXPECT_EQ(status_of(declares(kMessages, 65537)), 413);
  EXPECT_EQ(status_of(declares(path(id, "/members:everybody"), 65537)), 413);
  EXPECT_EQ(status_of(declares(path(id, "/members"), (4 << 20) + 1)), 413);
  EXPECT_EQ(status_of(declares(kGroups, (4 << 20) + 1)), 413);
  for (const char* where : {kGroups, kMessages})
    EXPECT_EQ(status_of(post(where, "{}", /*token=*/false)), 401) << where;
}

TEST_F(GroupsApi, GroupsArePagedThrough) {
  std::vector<std::string> wanted;
  for (int i = 0; i < 7; ++i) {
    wanted.push_back("g" + std::to_string(i));
    make(R"({"name":")" + wanted.back() + "\"}");
  }
  for (const uint32_t limit : {1u, 3u, 7u, 100u}) {
    std::vector<std::string> seen;
    uint32_t after = 0;
    do {
      const auto page = call(ask(std::string(kGroups) + "?limit=" + std::to_string(limit) +
                                 "&after=" + std::to_string(after)))
                            .second;
      EXPECT_LE(page["groups"].size(), limit);
      for (const auto& group : page["groups"]) seen.push_back(group["name"]);
      after = page["next"];
    } while (after != 0 && seen.size() < 100);
    EXPECT_EQ(seen, wanted) << limit;
  }
  for (const std::string& where : {std::string(kGroups), path(1, "/members")}) {
    for (const char* limit : {"0", "1001", "x"})
      EXPECT_EQ(error_of(ask(where + "?limit=" + limit)),
                "400 limit: a whole number from 1 to 1000");
    EXPECT_EQ(error_of(ask(where + "?off=1")), "400 off: unknown field");
    EXPECT_EQ(call(ask(where + "?after=4294967295")).second["next"], 0);
  }
}

TEST_F(GroupsApi, ADismissedGroupIsNowhere) {
  Client& member    = world_.enter(1);
  const uint32_t id = make(R"({"name":"a","members":[1,2]})");
  ASSERT_EQ(status_of(send("DELETE", path(id), "")), 200);
  const auto gone = member.all(CommandId::group_change_member_notify);
  ASSERT_EQ(gone.size(), 1u);
  const auto notice = gone[0]->as<IM::Group::IMGroupChangeMemberNotify>();
  EXPECT_EQ(notice.change_type(), IM::BaseDefine::GROUP_MODIFY_TYPE_DEL);
  EXPECT_EQ(notice.chg_user_id_list_size(), 2);
  for (const uint32_t where : {id, 77u, 4294967295u}) {
    EXPECT_EQ(error_of(ask(path(where))), "404 not found");
    EXPECT_EQ(error_of(send("PATCH", path(where), R"({"name":"x"})")), "404 not found");
    EXPECT_EQ(error_of(send("DELETE", path(where), "")), "404 not found");
    EXPECT_EQ(error_of(ask(path(where, "/members"))), "404 not found");
    EXPECT_EQ(error_of(post(path(where, "/members"), R"({"add":[3]})")), "404 not found");
    EXPECT_EQ(error_of(post(path(where, "/members"), R"({"remove":[1]})")), "404 not found");
    EXPECT_EQ(error_of(post(path(where, "/members:everybody"), "")), "404 not found");
    const std::string message = R"({"from":1,"text":"x","group":)" + std::to_string(where) + "}";
    EXPECT_EQ(error_of(post(kMessages, message)),
              "404 no such user or group, or the sender is not in it");
  }
  EXPECT_EQ(make(R"({"name":"b"})"), id + 1) << "its id is not given again";
}

// Clients keep what they know of a group, and ask whether there is something newer.
TEST_F(GroupsApi, ANewNameReachesClientsThatKnowTheOldOne) {
  Client& member     = world_.enter(2);
  const uint32_t id  = make(R"({"name":"old","members":[1,2]})");
  const auto name_in = [&](uint32_t version) {
    IM::Group::IMGroupInfoListReq request;
    request.set_user_id(0);
    auto& known = *request.add_group_version_list();
    known.set_group_id(id);
    known.set_version(version);
    member.write(frame(CommandId::group_info_list_request, 7, request));
    world_.settle();
    const auto answers = member.all(CommandId::group_info_list_response);
    if (answers.empty()) return std::string("no answer");
    const auto answer = answers.back()->as<IM::Group::IMGroupInfoListRsp>();
    return answer.group_info_list_size() == 1 ? answer.group_info_list(0).group_name() : "";
  };
  EXPECT_EQ(name_in(0), "old");
  EXPECT_EQ(name_in(1), "") << "nothing newer";
  const auto renamed = call(send("PATCH", path(id), R"({"name":"new"})")).second;
  EXPECT_EQ(renamed["version"], 2);
  EXPECT_EQ(name_in(1), "new");
  EXPECT_EQ(name_in(2), "");
  EXPECT_EQ(change(id, R"({"add":[3]})")["version"], 3);
}

// --- members ------------------------------------------------------------------------------------------------

TEST_F(GroupsApi, MembersComeAndGo) {
  Client& one       = world_.enter(1);
  Client& two       = world_.enter(2);
  const uint32_t id = make(R"({"name":"a","members":[1]})");
  EXPECT_EQ(change(id, R"({"add":[2,3,2,1,3]})"), (json{{"version", 2}, {"changed", {2, 3}}}));
  EXPECT_EQ(members(id), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_EQ(members(id, 1), (std::vector<uint32_t>{1, 2, 3}));
  for (const Client* client : {&one, &two}) {
    const auto notices = client->all(CommandId::group_change_member_notify);
    ASSERT_EQ(notices.size(), 1u);
    const auto notice = notices[0]->as<IM::Group::IMGroupChangeMemberNotify>();
    EXPECT_EQ(notice.user_id(), 0u) << "nobody of theirs did it";
    EXPECT_EQ(notice.change_type(), IM::BaseDefine::GROUP_MODIFY_TYPE_ADD);
    EXPECT_EQ(notice.cur_user_id_list_size(), 3);
    EXPECT_EQ(notice.chg_user_id_list_size(), 2);
  }
  EXPECT_EQ(change(id, R"({"remove":[2,2,77,4]})")["changed"], json::array({2}));
  EXPECT_EQ(members(id), (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ(two.count(CommandId::group_change_member_notify), 2u) << "who goes is told";
  EXPECT_EQ(call(ask(path(id))).second["member_count"], 2);

  // Who has left stays in it, and can be put out.
  ASSERT_EQ(status_of(send("PATCH", "/api/v1/users/3", R"({"disabled":true})")), 200);
  EXPECT_EQ(members(id), (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ(change(id, R"({"remove":[3]})")["changed"], json::array({3}));

  const auto wrong = [&](const std::string& body) {
    return error_of(post(path(id, "/members"), body));
  };
  EXPECT_EQ(wrong("{}"), "400 body: either add or remove");
  EXPECT_EQ(wrong(R"({"add":[1],"remove":[2]})"), "400 body: either add or remove");
  EXPECT_EQ(wrong(R"({"add":[3]})"), "400 add: each a user who has not left");
  EXPECT_EQ(wrong(R"({"add":[2,77]})"), "400 add: each a user who has not left");
  EXPECT_EQ(wrong(R"({"add":[]})"), "400 add: a list of 1 to 20000 entries");
  EXPECT_EQ(wrong(R"({"remove":["1"]})"), "400 remove: each a user's id");
  EXPECT_EQ(wrong(R"({"remove":[4294967296]})"), "400 remove: each a user's id");
  EXPECT_EQ(wrong(R"({"add":[1],"why":1})"), "400 why: unknown field");
  EXPECT_EQ(members(id), std::vector<uint32_t>{1}) << "what is refused changes nothing";
}

TEST_F(GroupsApi, Everybody) {
  std::string body = R"({"users":[)";
  for (int i = 0; i < 400; ++i)
    body += std::string(i ? "," : "") + R"({"name":"many)" + std::to_string(i) + "\"}";
  ASSERT_EQ(status_of(post("/api/v1/users:bulk", body + "]}")), 201);
  ASSERT_EQ(status_of(send("PATCH", "/api/v1/users/2", R"({"disabled":true})")), 200);
  const uint32_t id          = make(R"({"name":"all","members":[1,3]})");
  const auto everybody       = [&] { return call(post(path(id, "/members:everybody"), "")); };
  const auto [status, first] = everybody();
  EXPECT_EQ(status, 200);
  EXPECT_EQ(first["added"], 401) << "of 404, two were in it and one has left";
  const auto found = members(id, 100);
  EXPECT_EQ(found.size(), 403u);
  EXPECT_TRUE(std::ranges::find(found, 2u) == found.end());
  EXPECT_EQ(everybody().second["added"], 0);
  EXPECT_EQ(status_of(post(path(id, "/members:everybody"), "{}")), 200);
  EXPECT_EQ(error_of(post(path(id, "/members:everybody"), R"({"but":[1]})")),
            "400 but: unknown field");
}

TEST_F(GroupsApi, TheCreatorCountsAmongThoseOfOneCall) {
  std::string users = R"({"users":[)", members = R"({"name":"big","creator":1,"members":[)";
  for (uint32_t i = 0; i < store::kMembersPerCall; ++i) {
    users +=
        (users.back() == '[' ? "" : ",") + std::string(R"({"name":"m)") + std::to_string(i) + "\"}";
    members += (i ? "," : "") + std::to_string(i + 5);
    if ((i + 1) % 500 != 0) continue;
    ASSERT_EQ(status_of(post("/api/v1/users:bulk", users + "]}")), 201);
    users = R"({"users":[)";
  }
  EXPECT_EQ(error_of(post(kGroups, members + "]}")),
            "400 members: with the creator, more than 20000");
}

// --- messages -----------------------------------------------------------------------------------------------

TEST_F(GroupsApi, AMessageToAGroupIsDeliveredAndKept) {
  Client& author     = world_.enter(1);
  Client& phone      = world_.enter(2, kPhone);
  Client& stranger   = world_.enter(4);
  const uint32_t id  = make(R"({"name":"a","members":[1,2,3]})");
  const auto post_in = [&](uint32_t from, const std::string& text) {
    return call(post(kMessages, json{{"from", from}, {"group", id}, {"text", text}}.dump()));
  };
  const auto [status, sent] = post_in(1, "grüße\nan alle");
  EXPECT_EQ(status, 201);
  EXPECT_EQ(sent["msg_id"], 1);
  EXPECT_EQ(sent["time"], world_.clock.wall_ns() / kNsPerS);
  EXPECT_EQ(sent.size(), 2u);
  EXPECT_EQ(heard(phone, id), std::vector<std::string>{"grüße\nan alle"});
  EXPECT_EQ(heard(author, id), heard(phone, id)) << "on the devices of its author, too";
  EXPECT_TRUE(heard(stranger, id).empty());
  EXPECT_EQ(post_in(1, "grüße\nan alle").second["msg_id"], 2) << "the same again is another one";
  EXPECT_EQ(post_in(3, std::string(proto::kPlainTextBytesMax, 'x')).second["msg_id"], 3)
      << "of somebody who is not here, as long as it may be";
  EXPECT_EQ(history(phone, id).size(), 3u);
  EXPECT_EQ(history(phone, id).back(), "grüße\nan alle");

  EXPECT_EQ(post_in(4, "may I?").first, 404) << "not in it";
  change(id, R"({"remove":[1]})");
  EXPECT_EQ(post_in(1, "still?").first, 404);
  EXPECT_EQ(post_in(77, "who?").first, 404);
  ASSERT_EQ(status_of(send("PATCH", "/api/v1/users/3", R"({"disabled":true})")), 200);
  EXPECT_EQ(post_in(3, "gone").first, 404);
  EXPECT_EQ(history(phone, id).size(), 3u);

  // Who comes later does not see what was said before.
  change(id, R"({"add":[4]})");
  EXPECT_TRUE(history(stranger, id).empty());
  EXPECT_EQ(post_in(2, "welcome").second["msg_id"], 4);
  EXPECT_EQ(history(stranger, id), std::vector<std::string>{"welcome"});
}

TEST_F(GroupsApi, AMessageToOneUser) {
  Client& bob    = world_.enter(2);
  const auto one = call(post(kMessages, R"({"from":1,"user":2,"text":"hello"})"));
  EXPECT_EQ(one.first, 201);
  EXPECT_EQ(one.second["msg_id"], 1);
  ASSERT_EQ(bob.deliveries().size(), 1u);
  EXPECT_EQ(bob.deliveries()[0].from, 1u);
  EXPECT_EQ(proto::TextCodec().decrypt(bob.deliveries()[0].text), "hello");
  ASSERT_EQ(world_.history(bob, 1).size(), 1u);

  const auto wrong = [&](const std::string& body) { return error_of(post(kMessages, body)); };
  const std::string nobody = "404 no such user or group, or the sender is not in it";
  EXPECT_EQ(wrong(R"({"from":1,"user":77,"text":"x"})"), nobody);
  EXPECT_EQ(wrong(R"({"from":77,"user":1,"text":"x"})"), nobody);
  EXPECT_EQ(wrong(R"({"from":1,"user":1,"text":"x"})"), "400 user: is the sender");
  EXPECT_EQ(wrong(R"({"from":1,"text":"x"})"), "400 user: either user or group");
  EXPECT_EQ(wrong(R"({"from":1,"user":2,"group":1,"text":"x"})"), "400 user: either user or group");
  EXPECT_EQ(wrong(R"({"user":2,"text":"x"})"), "400 from: is missing");
  EXPECT_EQ(wrong(R"({"from":1,"user":2})"), "400 text: is missing");
  EXPECT_EQ(wrong(R"({"from":1,"user":2,"text":""})"), "400 text: a text of 1 to 3068 bytes");
  EXPECT_EQ(wrong(R"({"from":1,"user":2,"text":")" + std::string(3069, 'x') + "\"}"),
            "400 text: a text of 1 to 3068 bytes");
  EXPECT_EQ(wrong("{\"from\":1,\"user\":2,\"text\":\"\xff\"}"), "400 body: must be a JSON object");
  EXPECT_EQ(wrong(R"({"from":0,"user":2,"text":"x"})"),
            "400 from: a whole number from 1 to 4294967295");
  EXPECT_EQ(wrong(R"({"from":1,"user":0,"text":"x"})"),
            "400 user: a whole number from 1 to 4294967295");
  EXPECT_EQ(wrong(R"({"from":1,"user":2,"text":"x","type":2})"), "400 type: unknown field");
  EXPECT_EQ(world_.history(bob, 1).size(), 1u);
}

// A full disk refuses as the shard does a message to oneself: neither may be taken for the other.
TEST_F(GroupsApi, AFullDiskIsToldAsThat) {
  const uint32_t group = make(R"({"name":"a","members":[1,2]})");
  world_.log_disk.set_space(world_.log_disk.space_used());
  const std::string text(proto::kPlainTextBytesMax, 'x');
  for (const json& to : {json{{"user", 2}}, json{{"group", group}}}) {
    json message = {{"from", 1}, {"text", text}};
    message.update(to);
    std::string said = "201";
    for (int i = 0; i < 3000 && said == "201"; ++i) {
      said = error_of(post(kMessages, message.dump()));
      world_.clock.advance(kNsPerMs);
    }
    EXPECT_EQ(said, "503 disk full") << to;
  }
  world_.log_disk.set_space(~uint64_t{0});
  world_.advance_s(3);
  EXPECT_EQ(status_of(post(kMessages, R"({"from":1,"user":2,"text":"room again"})")), 201);
}

}  // namespace
}  // namespace ringtalk::sim
