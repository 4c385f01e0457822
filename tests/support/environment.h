// A variable of the environment that has another value, or none, for a while.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

namespace spn::test {

class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {  // null: none
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;
  ~ScopedVariable() { set(before_ ? before_->c_str() : nullptr); }
  void set(const char* value) const {
    if (value != nullptr)
      setenv(name_, value, 1);
    else
      unsetenv(name_);
  }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

}  // namespace spn::test
