// Launches of the emulated device that run from PTX. Only the emulated binary has this file.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "kernels/cuda/launch.h"
#include "kernels/table.h"
#include "tests/cuda/twin.h"
#include "tests/support/emulator/emulator.h"
#include "tests/support/ptx/small_kernel.h"
#include "tests/support/temp_folder.h"

namespace spn::ptx_launch {

// On the host it says 1, in the PTX below 2; `two` has no PTX. Names that the linker exports.
template <int n>
void who(int* out, unsigned char, double) {
  *out = n;
}
void two(int* out) { *out = 22; }

namespace {

using kernels::cuda::launch;
using kernels::cuda::stream;

const char* const kText = R"(
.visible .entry _ZN3spn10ptx_launch3whoILi1EEEvPihd(.param .u64 a, .param .u8 b, .param .f64 c)
{
  .reg .b64 %d<2>; .reg .b32 %r<4>; .reg .f64 %f<2>;
  ld.param.u64 %d0, [a];
  ld.param.u8 %r0, [b];
  ld.param.f64 %f0, [c];
  cvt.rzi.s32.f64 %r1, %f0;
  add.s32 %r2, %r0, %r1;
  st.global.u32 [%d0], %r2;
  ret;
}
)";

class FromPtx : public testing::Test {
 protected:
  void use(const std::string& text) {
    folder_.put("made.ptx", text);
    emulator::use_ptx(folder_.path());
  }
  void TearDown() override {
    const char* given = std::getenv("SPN_PTX");
    emulator::use_ptx(given != nullptr ? given : "");
  }

  test::TempFolder folder_;
};

TEST_F(FromPtx, KernelsAreFoundByTheirNames) {
  use(kText);
  int out = 0;
  const std::int64_t all = emulator::launches(), before = emulator::launches_from_ptx();
  launch(who<1>, dim3(1), dim3(1), 0, stream(), &out, 200, 7.5);
  EXPECT_EQ(out, 207);
  launch(who<3>, dim3(1), dim3(1), 0, stream(), &out, 200, 7.5);
  EXPECT_EQ(out, 3);
  launch(two, dim3(1), dim3(1), 0, stream(), &out);
  EXPECT_EQ(out, 22);
  EXPECT_EQ(emulator::launches(), all + 3);
  EXPECT_EQ(emulator::launches_from_ptx(), before + 1);
  emulator::use_ptx("");
  launch(who<1>, dim3(1), dim3(1), 0, stream(), &out, 200, 7.5);
  EXPECT_EQ(out, 1);
}

TEST_F(FromPtx, OthersOfTheNameAreRefused) {
  const auto replaced = [](std::string text, const char* from, const char* to) {
    return text.replace(text.find(from), std::string_view(from).size(), to);
  };
  int out = 0;
  const auto go = [&] { launch(who<1>, dim3(1), dim3(1), 0, stream(), &out, 200, 7.5); };
  use(replaced(kText, ".u8 b", ".u32 b"));
  EXPECT_NE(ptx::error_of(go).find("expected 4 bytes for parameter 1, got 1"), std::string::npos) << ptx::error_of(go);
  use(replaced(kText, ", .param .f64 c", ""));
  EXPECT_NE(ptx::error_of(go).find("expected a"), std::string::npos) << ptx::error_of(go);
  use(kText + replaced(kText, "EEEvPihd", "EEEvPihf"));
  EXPECT_NE(ptx::error_of(go).find("expected one kernel spn::ptx_launch::who<1> in PTX, got 2"), std::string::npos)
      << ptx::error_of(go);
}

TEST_F(FromPtx, AFolderWithoutAnyIsRefused) {
  EXPECT_NE(ptx::error_of([&] { emulator::use_ptx(folder_.path()); }).find("expected .ptx files"), std::string::npos);
}

// With the PTX of the kernels that hold instructions written by hand (the test cuda_ptx): they run from it, all of
// them.
class FromNvcc : public test::Twin {
 protected:
  void SetUp() override {
    Twin::SetUp();
    if (emulator::has_ptx()) return;
    const char* required = std::getenv("SPN_REQUIRE_PTX");  // by the test cuda_ptx
    if (required != nullptr && std::string(required) == "1") FAIL() << "expected PTX, got none; set SPN_PTX";
    GTEST_SKIP() << "no PTX: set SPN_PTX to the folder ptx of a build with nvcc";
  }
};

TEST_F(FromNvcc, AttentionMultipliesFragmentsThatAreCopiedBesideTheWork) {
  const Tensor x = Tensor::zeros({1, 64, 64}, DType::bf16, test::kGpu);
  const Tensor o = Tensor::zeros({1, 64, 64}, DType::bf16, test::kGpu);
  const Tensor lse = Tensor::zeros({1, 1, 64}, DType::f32, test::kGpu);
  const auto heads = [](const Tensor& t) { return t.reshape({1, 64, 1, 64}).transpose(1, 2); };
  const std::int64_t all = emulator::launches(), before = emulator::launches_from_ptx(),
                     copies = emulator::copies_begun(), products = emulator::products_from_ptx();
  kernels::run<&kernels::Table::attention_fwd>(
      {.q = heads(x), .k = heads(x), .v = heads(x), .o = heads(o), .lse = lse, .scale = 1, .dropout = {}});
  EXPECT_GT(emulator::launches(), all);
  EXPECT_EQ(emulator::launches_from_ptx() - before, emulator::launches() - all);
  EXPECT_GT(emulator::copies_begun(), copies);
  EXPECT_GT(emulator::products_from_ptx(), products);
}

TEST_F(FromNvcc, Contrastive) {
  const Tensor x = Tensor::full({8, 4}, 0.5, DType::f32, test::kGpu),
               scale = Tensor::full({1}, 2, DType::f32, test::kGpu);
  const auto sums = [] { return Tensor::zeros({8}, DType::f64, test::kGpu); };
  const Tensor row_lse = sums(), col_lse = sums(), dx = Tensor::zeros({8, 4}, DType::f32, test::kGpu);
  const std::int64_t before = emulator::launches_from_ptx();
  kernels::run<&kernels::Table::contrastive_fwd>({.x = x,
                                                  .y = x,
                                                  .scale = scale,
                                                  .first_row = 0,
                                                  .rule = {},
                                                  .products = DType::bf16,
                                                  .row_lse = row_lse,
                                                  .positive = sums(),
                                                  .row_above = sums(),
                                                  .col_lse = col_lse,
                                                  .col_above = sums()});
  EXPECT_GT(emulator::launches_from_ptx(), before);
  const std::int64_t between = emulator::launches_from_ptx();
  kernels::run<&kernels::Table::contrastive_bwd>({.x = x,
                                                  .y = x,
                                                  .scale = scale,
                                                  .row_lse = row_lse,
                                                  .col_lse = col_lse,
                                                  .dloss = scale,
                                                  .mul = 1,
                                                  .first_row = 0,
                                                  .rule = {},
                                                  .products = DType::bf16,
                                                  .dx = dx,
                                                  .dy = Tensor(),
                                                  .dscale = Tensor()});
  EXPECT_GT(emulator::launches_from_ptx(), between);
}

}  // namespace
}  // namespace spn::ptx_launch
