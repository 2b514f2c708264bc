#include "tools/ctl/line_editor.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "engine/base/bytes.h"
#include "proto/utf8.h"
#include "tools/ctl/printable.h"

namespace ringtalk::ctl {
namespace {

using Lines = std::vector<std::string>;

constexpr std::string_view kLeft = "\x1b[D", kUp = "\x1b[A", kDown = "\x1b[B";

std::string typed(std::string_view bytes) {
  LineEditor editor;
  editor.feed(bytes);
  return editor.text();
}

TEST(LineEditor, EnterGivesTheLine) {
  LineEditor editor;
  EXPECT_EQ(editor.feed("one\rtwo\n\rthree").lines, (Lines{"one", "two", ""}));
  EXPECT_EQ(editor.text(), "three");
}

TEST(LineEditor, EditsInTheMiddle) {
  EXPECT_EQ(typed(std::string("ac") + kLeft.data() + "b"), "abc");
  EXPECT_EQ(typed("bc\x01"
                  "a\x05"
                  "d"),
            "abcd");                                      // ^A, ^E
  EXPECT_EQ(typed("abc\x1b[H\x1b[3~"), "bc");             // Home, Delete
  EXPECT_EQ(typed("abc\x1bOH\x1bOC\x0b"), "a");           // Home, right, ^K
  EXPECT_EQ(typed("abc\x1b[D\x15"), "c");                 // ^U
  EXPECT_EQ(typed("one two  \x17"), "one ");              // ^W
  EXPECT_EQ(typed("\x7f\x08\x17\x15\x0b\x1b[3~x"), "x");  // nothing there to delete
  EXPECT_EQ(typed("ab\x04"), "ab");                       // ^D at the end of a text deletes nothing
  EXPECT_EQ(typed("a\tb"), "a b");
}

TEST(LineEditor, ACharacterIsOneStep) {
  EXPECT_EQ(typed("aü你🙂\x7f\x7f"), "aü");
  EXPECT_EQ(typed("你好\x1b[D\x1b[D\x1b[Dx"), "x你好");
}

TEST(LineEditor, EndsOnControlCAndOnDOfAnEmptyLine) {
  LineEditor editor;
  EXPECT_FALSE(editor.feed("x\x04").ended);
  EXPECT_TRUE(editor.feed("\x7f\x04").ended);
  EXPECT_TRUE(LineEditor().feed("abc\x03").ended);
  const auto result = LineEditor().feed("one\r\x04two\r");
  EXPECT_TRUE(result.ended);
  EXPECT_EQ(result.lines, Lines{"one"});
}

TEST(LineEditor, EarlierLinesComeBackAndTheDraftIsKept) {
  LineEditor editor;
  editor.feed("one\rtwo\rtwo\rdra");
  editor.feed(kUp);
  EXPECT_EQ(editor.text(), "two");
  editor.feed(kUp);
  EXPECT_EQ(editor.text(), "one");  // the repeated line is remembered once
  editor.feed(kUp);
  EXPECT_EQ(editor.text(), "one");
  editor.feed(std::string(kDown) + kDown.data());
  EXPECT_EQ(editor.text(), "dra");
  editor.feed(kDown);
  EXPECT_EQ(editor.text(), "dra");
}

TEST(LineEditor, SwallowsWhatIsNoTextAndNoKey) {
  EXPECT_EQ(typed("a\x1b[99;5~b"), "ab");
  EXPECT_EQ(typed("\x1b[200~pasted\x1b[201~"), "pasted");
  EXPECT_EQ(typed("a\xff\xc0\x80\xed\xa0\x80"
                  "b"),
            "ab");
  EXPECT_EQ(typed("a\xe4\xbd"
                  "b"),
            "ab");  // a character cut short
  EXPECT_EQ(typed("a\xc2\x9b"
                  "b"),
            "ab");                                                      // C1
  EXPECT_EQ(typed("\x1b[" + std::string(100, '1') + "x").size(), 84U);  // an endless sequence ends
}

TEST(LineEditor, OverlongInputRingsAndStops) {
  LineEditor editor;
  EXPECT_FALSE(editor.feed(std::string(kLineBytesMax, 'x')).bell);
  EXPECT_TRUE(editor.feed("y").bell);
  EXPECT_TRUE(editor.feed("ü").bell);
  EXPECT_EQ(editor.text().size(), kLineBytesMax);
}

// Goal: how a terminal's bytes were cut into reads does not matter. Method: every split of one script.
TEST(LineEditor, EverySplitGivesTheSame) {
  const std::string script = "aü\x1b[D你\x1b[3~\x1bOFz\rsecond\x1b[A\x1b[B\x1b[H\x1b[200~🙂\x01q";
  LineEditor whole;
  const auto expected = whole.feed(script);
  for (size_t cut = 0; cut <= script.size(); ++cut) {
    LineEditor editor;
    auto result     = editor.feed(std::string_view(script).substr(0, cut));
    const auto rest = editor.feed(std::string_view(script).substr(cut));
    result.lines.insert(result.lines.end(), rest.lines.begin(), rest.lines.end());
    ASSERT_EQ(result.lines, expected.lines) << cut;
    ASSERT_EQ(editor.text(), whole.text()) << cut;
    ASSERT_EQ(editor.cursor(), whole.cursor()) << cut;
  }
}

TEST(LineEditor, RandomKeysKeepTheTextValid) {
  std::mt19937 random(17);
  for (int round = 0; round < 300; ++round) {
    LineEditor editor;
    for (int i = 0; i < 300; ++i) {
      std::string bytes;
      for (size_t n = 1 + random() % 5; bytes.size() < n;) {
        const auto kind = random() % 4;
        bytes += kind == 0   ? "\x1b["
                 : kind == 1 ? "你"
                             : std::string(1, static_cast<char>(random()));
      }
      if (editor.feed(bytes).ended) continue;
      ASSERT_TRUE(proto::valid_utf8(as_bytes(editor.text())));
      const std::string_view text = editor.text();
      ASSERT_TRUE(proto::valid_utf8(as_bytes(text.substr(0, editor.cursor()))));
      const size_t columns = 5 + random() % 80;
      ASSERT_LT(column_width(editor.redraw("> ", columns)), columns + 12)
          << "escape bytes count too";
    }
  }
}

TEST(LineEditor, RedrawShowsTheCursorInANarrowTerminal) {
  LineEditor editor;
  editor.feed("0123456789");
  EXPECT_EQ(editor.redraw("> ", 40), "\r\x1b[K> 0123456789");
  EXPECT_EQ(editor.redraw("> ", 8), "\r\x1b[K> 56789");
  editor.feed(kLeft);
  EXPECT_EQ(editor.redraw("> ", 40), "\r\x1b[K> 0123456789\x1b[1D");
  editor.feed("\x01");
  EXPECT_EQ(editor.redraw("> ", 8), "\r\x1b[K> 01234\x1b[5D");
  EXPECT_EQ(editor.redraw("a prompt wider than the terminal> ", 8).substr(0, 4), "\r\x1b[K");
  LineEditor wide;
  wide.feed("你好吗");
  EXPECT_EQ(wide.redraw("> ", 8), "\r\x1b[K> 好吗");
}

}  // namespace
}  // namespace ringtalk::ctl
