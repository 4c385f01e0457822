// JSON from text and back.
#include "engine/core/json.h"

#include <gtest/gtest.h>

#include <sstream>

namespace spn {
namespace {

TEST(Json, KeysAreSortedOrAsTheyCame) {
  const std::string text = R"({"b":1,"a":[true,null,"x"]})";
  EXPECT_EQ(json_text(parse_json(text)), R"({"a":[true,null,"x"],"b":1})");
  EXPECT_EQ(json_text(parse_ordered_json(text)), text);
  EXPECT_EQ(json_text(parse_ordered_json(R"({"b":1})"), 2), "{\n  \"b\": 1\n}");
}

TEST(Json, WhatIsNoneThrowsOrIsDiscarded) {
  EXPECT_THROW(parse_json(R"({"b":)"), nlohmann::json::parse_error);
  EXPECT_TRUE(try_json(R"({"b":)").is_discarded());
  EXPECT_TRUE(try_json("").is_discarded());
  std::istringstream torn(R"({"b":)"), whole(R"({"b":2})");
  EXPECT_TRUE(try_json(torn).is_discarded());
  EXPECT_EQ(try_json(whole).at("b").get<int>(), 2);
}

TEST(Json, BytesThatAreNoUtf8) {
  const nlohmann::ordered_json j = {{"name",
                                     "a\xff"
                                     "b"}};
  EXPECT_THROW(json_text(j), nlohmann::json::type_error);
  EXPECT_EQ(lenient_json_text(j),
            "{\"name\":\"a\xEF\xBF\xBD"
            "b\"}");
  EXPECT_EQ(valid_utf8("a\xff"
                       "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(valid_utf8("a\xE2\x82"  // two bytes of three
                       "b\xff\xff"),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(valid_utf8("M\xC3\xBCller \"x\"\n"), "M\xC3\xBCller \"x\"\n");
}

}  // namespace
}  // namespace spn
