// The schema against a server, in the forms that there are in the field.
#include "store/mysql/schema.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/store/sql_database.h"

namespace ringtalk::store::sql {
namespace {

class Schema : public testing::Test {
 protected:
  void SetUp() override {
    database_ = TestDatabase::open();
    if (!database_) GTEST_SKIP() << "RINGTALK_TEST_MYSQL names no server";
  }

  Inspection look() {
    auto seen = inspect(database_->connection());
    EXPECT_TRUE(seen) << seen.error().text;
    return seen ? *seen : Inspection{};
  }
  // What the original's schema file makes: none of our tables, columns and keys.
  void make_original(bool lower_case = false) {
    for (TableDef def : table_defs()) {
      if (def.ours || def.name == "IMTransmitFile") continue;
      std::erase_if(def.columns, [](const ColumnDef& c) { return c.name.starts_with("rt"); });
      std::erase_if(def.keys, [](const KeyDef& key) { return key.ours; });
      for (std::string name : names_of(def)) {
        if (lower_case) std::ranges::transform(name, name.begin(), ::tolower);
        database_->must(create_statement(def, name));
      }
    }
  }
  // As migrate does where there is nothing to settle.
  void bring_up_to_date() {
    const Inspection seen = look();
    auto made             = create_tables(database_->connection(), seen);
    ASSERT_TRUE(made) << made.error().text;
    for (const TableGap& gap : seen.gaps)
      database_->must(alter_statement(gap, seen.names.real(gap.table), true));
  }
  void finish() { ASSERT_TRUE(write_version(database_->connection())); }
  // Every column and key there is, in an order that does not depend on when it came.
  std::multiset<std::string> everything() {
    std::multiset<std::string> all;
    for (const char* sql :
         {"SELECT CONCAT_WS(' ', TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT,"
          " EXTRA, COLLATION_NAME) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()",
          "SELECT CONCAT_WS(' ', TABLE_NAME, INDEX_NAME, NON_UNIQUE, SEQ_IN_INDEX, COLUMN_NAME,"
          " SUB_PART) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()"}) {
      auto rows = database_->connection().query(sql);
      EXPECT_TRUE(rows);
      for (size_t i = 0; i < rows->size(); ++i) all.emplace(rows->text(i, 0));
    }
    return all;
  }

  std::unique_ptr<TestDatabase> database_;
};

TEST_F(Schema, EmptyIsRefusedUntilMade) {
  EXPECT_NE(ready(look()).find("has no TeamTalk tables"), std::string::npos) << ready(look());
  ASSERT_TRUE(create_schema(database_->connection()));
  const Inspection seen = look();
  EXPECT_EQ(ready(seen), "");
  EXPECT_TRUE(seen.missing.empty());
  EXPECT_TRUE(seen.gaps.empty());
  EXPECT_EQ(seen.version, kSchemaVersion);
  EXPECT_EQ(seen.signature_chars, 128u);
  EXPECT_TRUE(seen.push_shield);
  EXPECT_FALSE(create_schema(database_->connection())) << "not empty any more";
}

TEST_F(Schema, TheOriginalsBecomesTheSameAsOneOfOurs) {
  make_original();
  const Inspection before = look();
  EXPECT_NE(ready(before).find("ringtalkctl migrate"), std::string::npos) << ready(before);
  EXPECT_EQ(before.gap_of("IMMessage_5")->columns.size(), 3u);
  EXPECT_EQ(before.gap_of("IMGroupMessage_0")->columns.size(), 2u);
  EXPECT_TRUE(before.gap_of("IMRelationShip")->adds_unique());
  EXPECT_EQ(before.gap_of("IMAdmin"), nullptr);
  EXPECT_FALSE(before.has("IMTransmitFile"));
  bring_up_to_date();
  EXPECT_NE(ready(look()).find("completely"), std::string::npos) << ready(look());
  finish();
  EXPECT_EQ(ready(look()), "");
  const auto grown = everything();
  database_->must("SET @name = DATABASE()");
  for (const TableDef& def : table_defs())
    for (const std::string& name : names_of(def)) database_->must("DROP TABLE " + name);
  ASSERT_TRUE(create_schema(database_->connection()));
  EXPECT_EQ(grown, everything());
}

TEST_F(Schema, OlderUserTable) {
  make_original();
  database_->must(
      "ALTER TABLE IMUser DROP COLUMN push_shield_status,"
      " MODIFY sign_info varchar(32) DEFAULT NULL");
  database_->must(
      "INSERT INTO IMUser (name, departId, created, updated, sign_info)"
      " VALUES ('a', 1, 1, 1, NULL), ('b', 1, 1, 1, 'hello')");
  const Inspection before = look();
  EXPECT_FALSE(before.push_shield);
  EXPECT_EQ(before.signature_chars, 32u);
  bring_up_to_date();
  finish();
  const Inspection after = look();
  EXPECT_EQ(ready(after), "");
  EXPECT_EQ(after.signature_chars, 128u);
  EXPECT_TRUE(after.push_shield);
  EXPECT_EQ(database_->ask("SELECT COUNT(*) FROM IMUser WHERE sign_info IS NULL"), "1");
  EXPECT_EQ(database_->ask("SELECT sign_info FROM IMUser WHERE name = 'b'"), "hello");
}

TEST_F(Schema, WithoutASignatureAtAll) {
  make_original();
  database_->must("ALTER TABLE IMUser DROP COLUMN sign_info");
  EXPECT_EQ(look().signature_chars, 0u);
  bring_up_to_date();
  EXPECT_EQ(look().signature_chars, 128u);
}

TEST_F(Schema, LowerCaseNames) {
  if (database_->ask("SELECT @@lower_case_table_names") != "0")
    GTEST_SKIP() << "names have no case";
  make_original(/*lower_case=*/true);
  const Inspection before = look();
  EXPECT_TRUE(before.teamtalk);
  EXPECT_EQ(before.names.real("IMMessage_3"), "immessage_3");
  EXPECT_EQ(before.names.in("SELECT 1 FROM {IMUser}, {RTLane}"),
            "SELECT 1 FROM `imuser`, `RTLane`");
  bring_up_to_date();
  finish();
  EXPECT_EQ(ready(look()), "");
  EXPECT_EQ(database_->ask("SELECT COUNT(*) FROM information_schema.TABLES"
                           " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE BINARY 'IM%'"),
            "0")
      << "IMTransmitFile follows the others";
}

TEST_F(Schema, NamesThatDifferInCaseOnlyAreOneTable) {
  if (database_->ask("SELECT @@lower_case_table_names") != "0")
    GTEST_SKIP() << "names have no case";
  make_original();
  database_->must("CREATE TABLE imuser (id int)");
  EXPECT_TRUE(look().foreign.empty()) << look().foreign.front();
  EXPECT_EQ(look().names.real("IMUser"), "IMUser");
}

TEST_F(Schema, HandMadeFileTableIsLeftAlone) {
  make_original();
  database_->must("CREATE TABLE IMTransmitFile (id int, userId int, toUserId int, fsize int)");
  const Inspection seen = look();
  EXPECT_TRUE(seen.own_files);
  EXPECT_EQ(seen.gap_of("IMTransmitFile"), nullptr);
  bring_up_to_date();
  finish();
  EXPECT_EQ(ready(look()), "");
  EXPECT_EQ(database_->ask("SELECT COUNT(*) FROM information_schema.COLUMNS WHERE"
                           " TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'IMTransmitFile'"),
            "4");
}

TEST_F(Schema, AColumnThatCannotBeGuessedIsForeign) {
  make_original();
  database_->must("ALTER TABLE IMMessage_2 CHANGE fromId sender int");
  EXPECT_EQ(look().foreign, std::vector<std::string>{"IMMessage_2 has no column fromId"});
  EXPECT_NE(ready(look()).find("IMMessage_2 has no column fromId"), std::string::npos);
}

TEST_F(Schema, KeysCountByTheirColumns) {
  ASSERT_TRUE(create_schema(database_->connection()));
  database_->must("ALTER TABLE IMRelationShip RENAME INDEX rt_pair TO somebody_elses");
  EXPECT_EQ(ready(look()), "");
  database_->must("ALTER TABLE IMRelationShip DROP INDEX somebody_elses");
  database_->must("ALTER TABLE IMRelationShip ADD INDEX rt_pair (smallId, bigId)");
  EXPECT_EQ(ready(look()),
            "IMRelationShip has no index on (smallId, bigId): run `ringtalkctl migrate`");
}

TEST_F(Schema, NewerAndHandedBackAreRefused) {
  ASSERT_TRUE(create_schema(database_->connection()));
  database_->must("UPDATE RTSchema SET value = value + 1");
  EXPECT_NE(ready(look()).find("newer version"), std::string::npos);
  database_->must("UPDATE RTSchema SET name = 'handed_back'");
  EXPECT_NE(ready(look()).find("handed back"), std::string::npos);
  database_->must("DELETE FROM RTSchema");
  EXPECT_NE(ready(look()).find("completely"), std::string::npos);
}

TEST_F(Schema, ServerIsDescribed) {
  const Inspection seen = look();
  EXPECT_FALSE(seen.server.empty());
  EXPECT_EQ(seen.flush, 1u);
  EXPECT_FALSE(seen.read_only);
  EXPECT_EQ(seen.bulk, seen.mariadb) << "every MariaDB that a test meets has it";
}

// The queries that the engine asks at its start are answered from an index.
TEST_F(Schema, NewestOfEveryConversationIsALooseScan) {
  ASSERT_TRUE(create_schema(database_->connection()));
  for (int i = 1; i <= 40; ++i) {
    std::string sql =
        "INSERT INTO IMMessage_0 (relateId, fromId, toId, msgId, rtSeq, updated, created) VALUES ";
    for (int seq = 1; seq <= 50; ++seq)
      sql += (seq > 1 ? ", (" : "(") + std::to_string(i * 8) + ", 1, 2, " + std::to_string(seq) +
             ", " + std::to_string(seq) + ", 1, 1)";
    database_->must(sql);
  }
  database_->must("ANALYZE TABLE IMMessage_0");
  auto rows = database_->connection().query(
      "EXPLAIN SELECT relateId, MAX(rtSeq) FROM IMMessage_0 GROUP BY relateId");
  ASSERT_TRUE(rows) << rows.error().text;
  EXPECT_EQ(rows->text(0, 9), "Using index for group-by");
}

}  // namespace
}  // namespace ringtalk::store::sql
