// What a site's dbproxyserver.conf says about its servers.
#include "tools/ctl/teamtalk/dbproxy_conf.h"

#include <gtest/gtest.h>

#include <toml++/toml.h>
#include <stdexcept>

namespace ringtalk::ctl {
namespace {

constexpr std::string_view kFile =
    "ListenIP=127.0.0.1\r\n"
    "#teamtalk_master_host=10.0.0.1\r\n"
    " teamtalk_master_host = db.example.org \r\n"
    "teamtalk_master_port=3307\n"
    "teamtalk_master_dbname=teamtalk\n"
    "teamtalk_master_username=te\"st\n"
    "teamtalk_master_password=p=w\n"
    "teamtalk_slave_host=replica.example.org\n"
    "teamtalk_slave_port=3308\n"
    "unread_host=cache.example.org\nunread_port=6380\nunread_db=1\nunread_maxconncnt=16\n"
    "group_member_db=5\n";

TEST(DbproxyConf, Servers) {
  const auto conf = DbproxyConf::parse(kFile);
  store::sql::Server server;
  conf.apply(server);
  EXPECT_EQ(server.host, "db.example.org");
  EXPECT_EQ(server.port, 3307);
  EXPECT_EQ(server.user, "te\"st");
  EXPECT_EQ(server.password, "p=w");
  RedisSettings redis;
  conf.apply(redis);
  EXPECT_EQ(redis[Pool::unread].host, "cache.example.org");
  EXPECT_EQ(redis[Pool::unread].port, 6380);
  EXPECT_EQ(redis[Pool::group_member].db, 5u);
  EXPECT_EQ(redis[Pool::token].host, "127.0.0.1") << "not in the file";
}

TEST(DbproxyConf, SectionsAreToml) {
  const auto text  = DbproxyConf::parse(kFile).as_toml();
  const auto table = toml::parse(text);
  EXPECT_EQ(table["mysql"]["user"].value<std::string>(), "te\"st");
  EXPECT_EQ(table["mysql"]["read_port"].value<int>(), 3308);
  EXPECT_EQ(table["redis"]["unread_port"].value<int>(), 6380);
  EXPECT_EQ(table["redis"]["group_member_db"].value<int>(), 5);
  EXPECT_EQ(text.find("p=w"), std::string::npos) << "no password";
}

TEST(DbproxyConf, WhatIsNone) {
  EXPECT_THROW(DbproxyConf::parse("<xml/>"), std::runtime_error);
  EXPECT_THROW(DbproxyConf::read_file("/nonexistent/file"), std::runtime_error);
  store::sql::Server server;
  EXPECT_THROW(DbproxyConf::parse("teamtalk_master_port=99999").apply(server), std::runtime_error);
  EXPECT_THROW(DbproxyConf::parse("teamtalk_master_port=").apply(server), std::runtime_error);
}

}  // namespace
}  // namespace ringtalk::ctl
