// Text from other people's files.
#include "engine/core/text.h"

#include <gtest/gtest.h>

#include "engine/core/check.h"

namespace spn {
namespace {

TEST(Text, Utf8) {
  for (const char* good : {"", "plain", "M\xC3\xBCller", "\xE2\x82\xAC", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const char* bad : {"M\xFCller", "\xC3", "\xC3(", "\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xE2\x82",
                          "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

TEST(Text, WhatIsNoneIsNamedWithItsRow) {
  try {
    require_utf8("counts", "a.csv", 7, "g\xE9");
    FAIL() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    for (const char* word : {"a.csv, row 7", "UTF-8", "iconv", "g\xEF\xBF\xBD"})
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
  }
}

TEST(Text, ByteOrderMark) {
  EXPECT_EQ(without_bom("\xEF\xBB\xBF"
                        "A"),
            "A");
  EXPECT_EQ(without_bom("A\xEF\xBB\xBF"), "A\xEF\xBB\xBF");
  EXPECT_EQ(without_bom(""), "");
}

}  // namespace
}  // namespace spn
