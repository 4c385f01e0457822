#include "engine/core/json.h"

#include <istream>

namespace spn {

nlohmann::json parse_json(std::string_view text) { return nlohmann::json::parse(text); }
nlohmann::ordered_json parse_ordered_json(std::string_view text) { return nlohmann::ordered_json::parse(text); }
nlohmann::json try_json(std::string_view text) { return nlohmann::json::parse(text, nullptr, false); }
nlohmann::json try_json(std::istream& in) { return nlohmann::json::parse(in, nullptr, false); }

std::string json_text(const nlohmann::json& j, int indent) { return j.dump(indent); }
std::string json_text(const nlohmann::ordered_json& j, int indent) { return j.dump(indent); }
std::string lenient_json_text(const nlohmann::ordered_json& j, int indent) {
  return j.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}
std::string valid_utf8(const std::string& text) {
  return parse_json(lenient_json_text(nlohmann::ordered_json(text))).get<std::string>();
}

}  // namespace spn
