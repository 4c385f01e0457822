// An instruction's text to the function that carries it out. What is not understood, an opcode or one of its modifiers,
// becomes an instruction that fails when it is carried out.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/ptx/names.h"

namespace spn::ptx {

struct Opcode {
  std::string base;                    // add
  std::vector<std::string> modifiers;  // rn, f32
  const std::string& type() const { return modifiers.empty() ? base : modifiers.back(); }
  bool has(std::string_view modifier) const;
  // No modifiers but these, beside the type at the end.
  bool only(std::initializer_list<std::string_view> known) const;
};

struct Decoded {
  Instruction instruction;
  std::string label;  // that a branch goes to
};
Decoded decode(const std::string& text, Names& names);

// Arithmetic, comparisons, conversions, moves within registers: null where it is not understood. Fixes nothing but
// what it needs beside the operands in order (to[0], from[0] …).
Operation scalar_operation(const Opcode& op);
Operation conversion(const Opcode& op);

// For the type of this name among T: f.template operator()<T>(); null where there is none.
template <class T>
bool is_called(std::string_view name) {
  const char kind = name.empty() ? '?' : name[0];
  const bool fits = std::is_floating_point_v<T> ? kind == 'f'
                    : std::is_signed_v<T>       ? kind == 's'
                                                : kind == 'u' || kind == 'b';
  return fits && name.substr(1) == (sizeof(T) == 1 ? "8" : sizeof(T) == 2 ? "16" : sizeof(T) == 4 ? "32" : "64");
}
template <class... T, class F>
Operation choose(std::string_view name, F f) {
  Operation chosen = nullptr;
  const auto take = [&]<class One>() {
    if (is_called<One>(name)) chosen = f.template operator()<One>();
  };
  (take.template operator()<T>(), ...);
  return chosen;
}
template <class F>
Operation choose_integer(std::string_view name, F f) {
  return choose<s32, u32, s64, u64, s16, u16>(name, f);
}
template <class F>
Operation choose_float(std::string_view name, F f) {
  return choose<float, double>(name, f);
}
template <class F>
Operation choose_any(std::string_view name, F f) {
  return choose<s32, u32, s64, u64, s16, u16, float, double>(name, f);
}

}  // namespace spn::ptx
