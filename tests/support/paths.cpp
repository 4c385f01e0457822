#include "tests/support/paths.h"

#include <cstdlib>

namespace spn::test {
namespace {
// What was compiled in, unless the files were taken elsewhere since (launch/local/bundle.sh).
const char* place(const char* variable, const char* built) {
  const char* moved = std::getenv(variable);
  return moved != nullptr && *moved != '\0' ? moved : built;
}
}  // namespace

const char* source_dir() { return place("SPN_SOURCE_DIR", SPN_SOURCE_PATH); }
const char* binary_dir() { return place("SPN_BINARY_DIR", SPN_BINARY_PATH); }
}  // namespace spn::test
