#include "tools/ctl/table.h"

#include <gtest/gtest.h>

namespace ringtalk::ctl {
namespace {

TEST(Table, ColumnsLineUpWhateverTheScript) {
  Table table({"ID>", "NAME", "NICK"});
  table.add({"1", "李雷", ""});
  table.add({"1200", "bob", "Bob B."});
  EXPECT_EQ(table.text(),
            "  ID  NAME  NICK\n"
            "   1  李雷\n"
            "1200  bob   Bob B.\n");
}

TEST(Table, ForeignTextCannotMoveTheCursor) {
  Table table({"NAME", "X"});
  table.add({"\x1b[2Jred\nline", "y"});
  EXPECT_EQ(table.text(),
            "NAME              X\n"
            "\\x1b[2Jred\\nline  y\n");
}

TEST(Table, Numbers) {
  EXPECT_EQ(counted(0, "session"), "0 sessions");
  EXPECT_EQ(counted(1, "session"), "1 session");
  EXPECT_EQ(counted(1'000'000, "session"), "1000000 sessions");
  EXPECT_EQ(short_number(0), "0");
  EXPECT_EQ(short_number(999), "999");
  EXPECT_EQ(short_number(999.6), "1.0k");
  EXPECT_EQ(short_number(1234), "1.2k");
  EXPECT_EQ(short_number(123'456), "123k");
  EXPECT_EQ(short_number(5'200'000), "5.2M");
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(3.0 * (1 << 30)), "3.0 GiB");
  EXPECT_EQ(duration_text(-5), "0 s");
  EXPECT_EQ(duration_text(59), "59 s");
  EXPECT_EQ(duration_text(600), "10 min");
  EXPECT_EQ(duration_text(3 * 3600 + 300), "3 h 05 min");
  EXPECT_EQ(duration_text(10 * 86'400), "10 d 00 h");
}

}  // namespace
}  // namespace ringtalk::ctl
