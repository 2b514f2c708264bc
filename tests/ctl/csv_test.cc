#include "tools/ctl/csv.h"

#include <gtest/gtest.h>

#include <random>

namespace ringtalk::ctl {
namespace {

using Rows   = std::vector<CsvReader::Row>;
using Fields = std::vector<std::string>;

Rows read_all(std::string_view text, size_t piece = SIZE_MAX) {
  CsvReader reader;
  Rows rows;
  for (size_t at = 0; at < text.size(); at += std::min(piece, text.size() - at)) {
    for (auto& row : reader.feed(text.substr(at, piece))) rows.push_back(std::move(row));
  }
  for (auto& row : reader.finish()) rows.push_back(std::move(row));
  return rows;
}

TEST(CsvReader, PlainRows) {
  const Rows rows = read_all("a,b\r\nc,,\n\n\r\nlast,one");
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].fields, (Fields{"a", "b"}));
  EXPECT_EQ(rows[1].fields, (Fields{"c", "", ""}));
  EXPECT_EQ(rows[2].fields, (Fields{"last", "one"}));
  EXPECT_EQ(rows[0].line, 1U);
  EXPECT_EQ(rows[1].line, 2U);
  EXPECT_EQ(rows[2].line, 5U);
}

TEST(CsvReader, QuotedFieldsHoldAnything) {
  const Rows rows = read_all("\"a,b\",\"he said \"\"no\"\"\",\"two\r\nlines\"\r\n\"\",x\n");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].fields, (Fields{"a,b", "he said \"no\"", "two\r\nlines"}));
  EXPECT_EQ(rows[1].fields, (Fields{"", "x"}));
  EXPECT_EQ(rows[1].line, 3U) << "the row before is two lines long";
}

TEST(CsvReader, AByteOrderMarkIsNoText) {
  EXPECT_EQ(read_all("\xef\xbb\xbfname\n").at(0).fields, (Fields{"name"}));
  EXPECT_EQ(read_all("\xef\xbbname\n").at(0).fields, (Fields{"\xef\xbbname"}));
  EXPECT_EQ(read_all("\xef").at(0).fields, (Fields{"\xef"}));
  EXPECT_TRUE(read_all("\xef\xbb\xbf").empty());
}

TEST(CsvReader, ABadRowSpoilsNoOther) {
  for (const char* bad : {"a\"b,c", "\"a\"b,c", "\"a\" ,c"}) {
    const Rows rows = read_all("x,y\n" + std::string(bad) + "\nz,w\n");
    ASSERT_EQ(rows.size(), 3U) << bad;
    EXPECT_FALSE(rows[1].problem.empty()) << bad;
    EXPECT_EQ(rows[1].line, 2U);
    EXPECT_EQ(rows[2].fields, (Fields{"z", "w"})) << bad;
    EXPECT_EQ(rows[2].line, 3U);
  }
}

TEST(CsvReader, AnOpenQuotationMarkAtTheEnd) {
  const Rows rows = read_all("a\n\"never closed\nb\nc");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1].line, 2U);
  EXPECT_NE(rows[1].problem.find("never closed"), std::string::npos);
}

TEST(CsvReader, LongRowsAreCutOff) {
  const std::string line(CsvReader::kRowBytesMax + 1, 'x');
  const Rows rows = read_all("a\n" + line + "\nb\n\"" + line + "\nc\n");
  ASSERT_EQ(rows.size(), 5U);
  EXPECT_FALSE(rows[1].problem.empty());
  EXPECT_TRUE(rows[1].fields.empty());
  EXPECT_EQ(rows[2].fields, (Fields{"b"}));
  EXPECT_FALSE(rows[3].problem.empty());
  EXPECT_EQ(rows[4].fields, (Fields{"c"}));
}

TEST(CsvReader, ManyFieldsAreNone) {
  const Rows rows = read_all(std::string(CsvReader::kFieldsMax, ',') + "\n" +
                             std::string(CsvReader::kFieldsMax - 1, ',') + "\n");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_FALSE(rows[0].problem.empty());
  EXPECT_EQ(rows[1].fields.size(), CsvReader::kFieldsMax);
}

// Whatever the bytes and wherever reads cut them, the rows are the same.
TEST(CsvReader, EverySplitGivesTheSameRows) {
  std::mt19937 random(11);
  constexpr std::string_view kBytes = "ab,\"\r\n\xef\xbb\xbf";
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (unsigned i = random() % 40; i > 0; --i) text += kBytes[random() % kBytes.size()];
    const Rows whole = read_all(text);
    for (const size_t piece : {1U, 2U, 3U, 7U}) {
      const Rows cut = read_all(text, piece);
      ASSERT_EQ(cut.size(), whole.size());
      for (size_t i = 0; i < cut.size(); ++i) {
        ASSERT_EQ(cut[i].fields, whole[i].fields);
        ASSERT_EQ(cut[i].line, whole[i].line);
        ASSERT_EQ(cut[i].problem, whole[i].problem);
      }
    }
  }
}

}  // namespace
}  // namespace ringtalk::ctl
