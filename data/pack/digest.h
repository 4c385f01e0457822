// SHA-256 of bytes, as 64 hex digits.
#pragma once

#include <string>
#include <string_view>

namespace spn::data {

std::string sha256_hex(std::string_view bytes);

}  // namespace spn::data
