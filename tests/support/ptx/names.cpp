#include "tests/support/ptx/names.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "engine/core/check.h"
#include "tests/support/ptx/text.h"

namespace spn::ptx {
namespace {

constexpr u64 kPoison = ~u64{0};  // a NaN of either width

// PTX ISA, constants: integers as in C, 0f and 0d with the bits of a float or double.
std::optional<u64> number(std::string_view s) {
  const bool minus = s.front() == '-';
  const std::string digits(s.substr(minus ? 1 : 0));
  if (digits.empty() || std::isdigit(static_cast<unsigned char>(digits[0])) == 0) return std::nullopt;
  const bool bits =
      digits.size() > 2 && digits[0] == '0' && std::string_view("fFdD").find(digits[1]) != std::string_view::npos;
  const u64 v = bits ? std::stoull(digits.substr(2), nullptr, 16) : std::stoull(digits, nullptr, 0);
  return minus ? u64{0} - v : v;
}

}  // namespace

Names::Names(Kernel& kernel) : kernel_(kernel) {
  static constexpr std::array<const char*, kSpecials> specials = {
      "%tid.x",   "%tid.y",   "%tid.z",    "%ntid.x",   "%ntid.y",   "%ntid.z", "%ctaid.x",
      "%ctaid.y", "%ctaid.z", "%nctaid.x", "%nctaid.y", "%nctaid.z", "%laneid"};
  for (const char* name : specials) scopes_[0][name] = fresh(0);
}

void Names::close_scope() {
  check(scopes_.size() > 1, "ptx", "{}: a scope ends that never began", kernel_.name);
  scopes_.pop_back();
}

int Names::fresh(u64 bits) {
  kernel_.registers.push_back(bits);
  return static_cast<int>(kernel_.registers.size()) - 1;
}

int Names::constant(u64 bits) {
  const auto [it, added] = constants_.try_emplace(bits, kNoRegister);
  if (added) it->second = fresh(bits);
  return it->second;
}

void Names::declare_registers(std::string_view statement) {
  const std::string list = trimmed(statement.substr(statement.find_first_of(" \t", statement.find('.', 1))));
  for (const std::string& name : split(list, ',')) {
    const auto open = name.find('<');
    if (open == std::string::npos) {
      scopes_.back()[name] = fresh(kPoison);
      continue;
    }
    for (int n = std::stoi(name.substr(open + 1)), k = 0; k < n; ++k)
      scopes_.back()[name.substr(0, open) + std::to_string(k)] = fresh(kPoison);
  }
}

void Names::declare_call_parameter(const std::string& name) {
  scopes_.back()[name] = fresh(kPoison);
  call_parameters_.insert(name);
}
bool Names::is_call_parameter(std::string_view name) const {
  return call_parameters_.find(name) != call_parameters_.end() && declared(name).has_value();
}

std::optional<int> Names::declared(std::string_view name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
    if (const auto it = scope->find(name); it != scope->end()) return it->second;
  return std::nullopt;
}

int Names::operand(std::string_view text) {
  const std::string s = trimmed(text);
  if (s == "_") return kNoRegister;
  if (const auto r = declared(s)) return *r;
  if (const auto it = places_.find(s); it != places_.end()) return constant(it->second);
  if (!s.empty())
    if (const auto v = number(s)) return constant(*v);
  if (const auto it = kernel_.globals->find(s); it != kernel_.globals->end())
    return constant(reinterpret_cast<u64>(it->second.data()));
  fail("ptx", "{}: expected an operand, got '{}'", kernel_.name, s);
}

std::vector<int> Names::operands(std::string_view text) {
  if (text.empty() || text.front() != '{') return {operand(text)};
  std::vector<int> all;
  for (const std::string& one : split(inside_brackets(text), ',')) all.push_back(operand(one));
  return all;
}

Names::Address Names::address(std::string_view text) {
  check(text.size() > 2 && text.front() == '[', "ptx", "{}: expected an address, got '{}'", kernel_.name, text);
  const std::string_view inside = inside_brackets(text);
  const auto plus = inside.find('+');
  if (plus == std::string_view::npos) return {operand(inside), 0};
  const auto offset = number(trimmed(inside.substr(plus + 1)));
  check(offset.has_value(), "ptx", "{}: expected an address, got '{}'", kernel_.name, text);
  return {operand(inside.substr(0, plus)), static_cast<s64>(*offset)};
}

}  // namespace spn::ptx
