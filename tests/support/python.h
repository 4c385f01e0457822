// Runs a Python script with the interpreter named by SPN_PYTHON, which must have the packages that the test names.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/support/temp_folder.h"

namespace spn::test {

// Null without SPN_PYTHON. With SPN_REQUIRE_PYTHON=1 that is a failure instead of a skip.
inline const char* python() { return std::getenv("SPN_PYTHON"); }

// Exit status of `python script args`; the script is given as text.
inline int run_python(const TempFolder& folder, const std::string& script, const std::string& args) {
  const std::string file = folder / "script.py";
  std::ofstream(file) << script;
  return std::system(("'" + std::string(python()) + "' '" + file + "' " + args).c_str());
}

}  // namespace spn::test

#define SPN_NEED_PYTHON(packages)                                                                        \
  if (spn::test::python() == nullptr) {                                                                  \
    if (std::getenv("SPN_REQUIRE_PYTHON") != nullptr) FAIL() << "SPN_REQUIRE_PYTHON without SPN_PYTHON"; \
    GTEST_SKIP() << "SPN_PYTHON is not set: nothing was compared with Python's " packages;               \
  }
