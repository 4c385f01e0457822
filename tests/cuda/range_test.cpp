// The names that Nsight shows.
#include "kernels/cuda/range.h"

#include <gtest/gtest.h>

namespace spn::kernels::cuda {
namespace {

TEST(Range, NamesAreTheEntries) {
  EXPECT_EQ(
      entry_of("static void spn::kernels::cuda::Named<f>::entry(const A&) [with A = spn::kernels::Dropout; void (* f)"
               "(const A&) = spn::kernels::cuda::dropout]"),
      "dropout");
  EXPECT_EQ(entry_of("static void spn::kernels::cuda::Named<spn::kernels::cuda::gemm>::entry(const A &) [A = "
                     "spn::kernels::Gemm, f = &spn::kernels::cuda::gemm]"),
            "gemm");
}

}  // namespace
}  // namespace spn::kernels::cuda
