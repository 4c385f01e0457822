// JSON from text and back. nlohmann's parser and writer are compiled in json.cpp, and in the two readers of ckpt/ that
// watch what they parse: a source that instantiates them takes two to three times as long.
#pragma once

#include <nlohmann/json.hpp>

#include <iosfwd>
#include <string>
#include <string_view>

namespace spn {

// Throws nlohmann::json::parse_error, which says where.
nlohmann::json parse_json(std::string_view text);
nlohmann::ordered_json parse_ordered_json(std::string_view text);
// Text that is no JSON gives a value that is_discarded().
nlohmann::json try_json(std::string_view text);
nlohmann::json try_json(std::istream& in);

// indent < 0: one line. Throws nlohmann::json::type_error where a string is no UTF-8 …
std::string json_text(const nlohmann::json& j, int indent = -1);
std::string json_text(const nlohmann::ordered_json& j, int indent = -1);
// … or puts U+FFFD for each broken sequence of it.
std::string lenient_json_text(const nlohmann::ordered_json& j, int indent = -1);
// Text with such sequences replaced likewise.
std::string valid_utf8(const std::string& text);

}  // namespace spn
