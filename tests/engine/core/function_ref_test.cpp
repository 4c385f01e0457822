// A callable by reference.
#include "engine/core/function_ref.h"

#include <gtest/gtest.h>

namespace spn {
namespace {

int total(FunctionRef<int(int)> f) { return f(1) + f(2); }

TEST(FunctionRef, CallsWhatItWasMadeFrom) {
  int calls = 0;
  const auto count = [&](int v) {
    ++calls;
    return 10 * v;
  };
  EXPECT_EQ(total(count), 30);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(total([sum = 0](int v) mutable { return sum += v; }), 1 + 3);  // its state stays between calls
  EXPECT_EQ(total(+[](int v) { return v; }), 3);                           // a function pointer
}

}  // namespace
}  // namespace spn
