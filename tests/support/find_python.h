// A Python that can import what a test compares with: SPN_PYTHON, else python3. Skips are loud; SPN_REQUIRE_PYTHON=1
// turns them into failures.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace spn::test {

// Quoted for the shell; empty when neither can import the modules ("h5py, numpy").
inline std::string find_python(const std::string& modules) {
  const char* named = std::getenv("SPN_PYTHON");
  for (const std::string& candidate : {std::string(named ? named : ""), std::string("python3")}) {
    if (candidate.empty()) continue;
    const std::string quoted = "'" + candidate + "'";
    if (std::system((quoted + " -c 'import " + modules + "' 2>/dev/null >&2").c_str()) == 0) return quoted;
  }
  return "";
}

// Ends the test: skipped, loudly, or failed.
inline void no_python(const std::string& modules) {
  if (std::getenv("SPN_REQUIRE_PYTHON") != nullptr) FAIL() << "no Python here imports " << modules;
  GTEST_SKIP() << "neither SPN_PYTHON nor python3 imports " << modules << ": nothing was compared with Python there";
}

}  // namespace spn::test

// A string of that name in a test's body; the test ends where there is no such Python.
#define SPN_FIND_PYTHON(variable, modules)                        \
  const std::string variable = spn::test::find_python((modules)); \
  if ((variable).empty()) return spn::test::no_python((modules))
