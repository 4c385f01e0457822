#include "engine/core/text.h"

#include "engine/core/check.h"
#include "engine/core/json.h"

namespace spn {

bool is_utf8(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0U; };
  for (std::size_t i = 0; i < s.size();) {
    const unsigned first = byte(i);
    if (first < 0x80) {
      ++i;
      continue;
    }
    const int more = first >= 0xC2 && first <= 0xDF   ? 1
                     : (first & 0xF0U) == 0xE0        ? 2
                     : first >= 0xF0 && first <= 0xF4 ? 3
                                                      : 0;
    if (more == 0) return false;
    // the second byte's range shuts out overlong forms, surrogates, and what is beyond U+10FFFF
    const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (byte(i + 1) < low || byte(i + 1) > high) return false;
    for (int k = 2; k <= more; ++k)
      if ((byte(i + static_cast<std::size_t>(k)) & 0xC0U) != 0x80) return false;
    i += static_cast<std::size_t>(more) + 1;
  }
  return true;
}

void require_utf8(const char* where, const std::string& path, std::int64_t row, std::string_view text) {
  if (!is_utf8(text))
    fail_data(where, "{}, row {}: expected UTF-8, got '{}'; convert the file, as with iconv -f latin1 -t utf8", path,
              row, valid_utf8(std::string(text)));
}

std::string_view without_bom(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return text;
}

}  // namespace spn
