#include "tests/support/paths.h"

namespace spn::test {
const char* source_dir() { return SPN_SOURCE_PATH; }
const char* binary_dir() { return SPN_BINARY_PATH; }
}  // namespace spn::test
