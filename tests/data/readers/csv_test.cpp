// Streaming CSV: quoting, line ends, and every way in which a file can be broken.
#include "data/readers/csv.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/temp_folder.h"

namespace spn::data {
namespace {

using test::error_of;
using test::has;

TEST(Csv, QuotedCommasNewlinesAndDoubledQuotes) {
  test::TempFolder folder;
  const CsvTable t(
      folder.put("a.csv", "slide,title,n\r\nA,\"one, two\",1\r\nB,\"he said \"\"no\"\"\nand left\",-2.5e1\r\n"));
  ASSERT_EQ(t.rows(), 2);
  EXPECT_EQ(t.at(0, 1), "one, two");
  EXPECT_EQ(t.at(1, 1), "he said \"no\"\nand left");
  EXPECT_EQ(t.number(1, t.column("N")), -25.0);
  EXPECT_FALSE(t.find("absent"));
}

TEST(Csv, ByteOrderMarkAndEmptyFirstHeaderCell) {
  test::TempFolder folder;
  EXPECT_EQ(CsvTable(folder.put("bom.csv", "\xEF\xBB\xBFx,y\n1,2\n")).header()[0], "x");
  const CsvTable t(folder.put("index.csv", ",yaxis\nspot,3\n"));
  EXPECT_EQ(t.header()[0], "");
  EXPECT_EQ(t.at(0, 0), "spot");
}

TEST(Csv, LongerThanOneReadBuffer) {
  test::TempFolder folder;
  std::string text = "a,b\n";
  for (int i = 0; i < 90000; ++i) text += std::to_string(i) + ",x\n";
  const CsvTable t(folder.put("long.csv", text));
  ASSERT_EQ(t.rows(), 90000);
  EXPECT_EQ(t.at(89999, 0), "89999");
}

TEST(Csv, EveryBrokenFileIsADataErrorWithItsRow) {
  test::TempFolder folder;
  struct Case {
    const char *name, *text, *expect;
  };
  const Case cases[] = {
      {"empty.csv", "", "is empty"},
      {"short.csv", "a,b,c\n1,2,3\n4,5\n6,7,8\n", "row 3: expected 3 cells"},
      {"truncated.csv", "a,b,c\n1,2,3\n4,5", "row 3: expected 3 cells as in the header, got 2 where the file ends"},
      {"long.csv", "a,b\n1,2,3\n", "row 2: expected 2 cells"},
      {"quote.csv", "a,b\n1,\"2\n3,4\n", "row 2: the file ends inside a quoted cell"},
      {"stray.csv", "a,b\n1,2\n3,x\"y\n", "row 3"},
  };
  for (const Case& c : cases) {
    const std::string path = folder.put(c.name, c.text);
    const std::string what = error_of(ErrorKind::data, [&] { CsvTable{path}; });
    EXPECT_TRUE(has(what, c.expect) && has(what, c.name)) << what;
  }
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { CsvTable{folder / "none.csv"}; }), "missing"));
  const CsvTable t(folder.put("text.csv", "a,b\n1,2\n3,nan\n5,x\n"));
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { t.number(1, 1); }), "row 3: expected a finite number in column 'b'"));
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { t.number(2, 1); }), "got 'x'"));
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { t.column("xaxis"); }), "'a', 'b'"));
}

TEST(Csv, NumbersFillTheWholeText) {
  EXPECT_EQ(parse_number("1e3"), 1000.0);
  EXPECT_EQ(parse_number("+2"), 2.0);
  EXPECT_FALSE(parse_number("12a"));
  EXPECT_FALSE(parse_number(""));
}

}  // namespace
}  // namespace spn::data
