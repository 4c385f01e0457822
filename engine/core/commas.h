// Numbers for people.
#pragma once

#include <cstdint>
#include <string>

namespace spn {

// 570144 -> "570,144"; not for negative numbers.
inline std::string with_commas(std::int64_t n) {
  std::string s = std::to_string(n);
  for (int i = static_cast<int>(s.size()) - 3; i > 0; i -= 3) s.insert(static_cast<std::size_t>(i), ",");
  return s;
}

}  // namespace spn
