// Where the sources and the build lie. Functions, not macros with paths in them: compiler caches then serve every
// checkout.
#pragma once

namespace spn::test {
const char* source_dir();
const char* binary_dir();
}  // namespace spn::test

#define SPN_SOURCE_DIR (::spn::test::source_dir())
#define SPN_BINARY_DIR (::spn::test::binary_dir())
