// What the names in a kernel's text stand for: registers, in scopes; constants; places of variables.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/ptx/program.h"

namespace spn::ptx {

class Names {
 public:
  // Fills the kernel's registers.
  explicit Names(Kernel& kernel);

  void open_scope() { scopes_.emplace_back(); }
  void close_scope();
  // .reg .b32 %r<12>, or names one by one.
  void declare_registers(std::string_view statement);
  // .param .b64 param0: of a call. A register here.
  void declare_call_parameter(const std::string& name);
  bool is_call_parameter(std::string_view name) const;
  // A variable's place in its memory, a parameter's in the list.
  void place(const std::string& name, u64 at) { places_[name] = at; }

  // The register that holds an operand: kNoRegister for `_`.
  int operand(std::string_view text);
  // One operand, or those of a vector in braces.
  std::vector<int> operands(std::string_view text);
  // [base + offset]
  struct Address {
    int base;
    s64 offset;
  };
  Address address(std::string_view text);
  int constant(u64 bits);

 private:
  int fresh(u64 bits);
  std::optional<int> declared(std::string_view name) const;

  Kernel& kernel_;
  std::vector<std::map<std::string, int, std::less<>>> scopes_{1};
  std::map<u64, int> constants_;
  std::map<std::string, u64, std::less<>> places_;
  std::set<std::string, std::less<>> call_parameters_;
};

}  // namespace spn::ptx
