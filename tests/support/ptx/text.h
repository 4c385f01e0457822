// Pieces of PTX text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace spn::ptx {

inline std::string trimmed(std::string_view s) {
  const auto first = s.find_first_not_of(" \t\n\r");
  if (first == std::string_view::npos) return "";
  return std::string(s.substr(first, s.find_last_not_of(" \t\n\r") - first + 1));
}

// At `by`, outside brackets; pieces trimmed, empty ones left out.
inline std::vector<std::string> split(std::string_view s, char by) {
  std::vector<std::string> pieces;
  std::string piece;
  int depth = 0;
  const auto end = [&] {
    if (std::string t = trimmed(piece); !t.empty()) pieces.push_back(std::move(t));
    piece.clear();
  };
  for (const char c : s) {
    if (c == '{' || c == '[' || c == '(') ++depth;
    if (c == '}' || c == ']' || c == ')') --depth;
    if (c == by && depth == 0)
      end();
    else
      piece += c;
  }
  end();
  return pieces;
}

inline std::vector<std::string> words(std::string_view s) {
  std::string spaced(s);
  for (char& c : spaced)
    if (c == '\t' || c == '\n' || c == '\r') c = ' ';
  return split(spaced, ' ');
}

inline std::string_view inside_brackets(std::string_view s) { return s.substr(1, s.size() - 2); }

// Of a type's name: u32, f64, b8.
inline int bits_of(std::string_view type) {
  int bits = 0;
  for (const char c : type)
    if (c >= '0' && c <= '9') bits = bits * 10 + (c - '0');
  return bits;
}

// .param .align 8 .b8 name[240], .param .u64 name; .shared, .local and .global likewise. name[] has no bytes.
struct Variable {
  std::string name;
  std::size_t align = 0, bytes = 0, unit = 0;  // unit: bytes of one of its values
};
Variable declaration(std::string_view text);

}  // namespace spn::ptx
