// Text from other people's files: is it UTF-8, and without the mark that some editors put before it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace spn {

// Well-formed UTF-8 (Unicode 15, table 3-7): no overlong forms, no surrogates.
bool is_utf8(std::string_view text);
// Data error "[where] path, row N: …" that says how to convert the file, where text is none.
void require_utf8(const char* where, const std::string& path, std::int64_t row, std::string_view text);
// Of a file's first line: without a byte-order mark.
std::string_view without_bom(std::string_view text);

}  // namespace spn
