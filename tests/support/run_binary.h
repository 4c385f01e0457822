// Runs build/spotniche as a user would, and keeps what it says.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <string>

#include "engine/core/check.h"
#include "tests/support/paths.h"

namespace spn::test {

struct Ran {
  int status = -1;   // exit status; -1 when a signal ended it
  std::string text;  // stdout and stderr together
};

// args as for a shell: quote what needs it. before: words before the binary, such as "mpirun -np 2".
inline Ran run_binary(const std::string& args, const std::string& before = "") {
  const std::string command = before + " '" + SPN_BINARY_DIR + "/spotniche' " + args + " 2>&1";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  check(pipe != nullptr, "test", "cannot run {}", command);
  Ran ran;
  char part[4096];
  for (std::size_t n; (n = std::fread(part, 1, sizeof part, pipe)) > 0;) ran.text.append(part, n);
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) ran.status = WEXITSTATUS(status);
  return ran;
}

}  // namespace spn::test
