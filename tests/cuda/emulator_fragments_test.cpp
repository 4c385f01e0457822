// Matrix fragments on the host mean what the PTX ISA says: products of whole tiles, loaded every way, and copies that
// arrive when they may. Only the emulated binary has this file.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "engine/core/check.h"
#include "engine/core/philox.h"
#include "kernels/cuda/device/fragments.h"
#include "kernels/cuda/launch.h"

namespace spn::emulator {
namespace {

using namespace kernels::cuda;

constexpr int kApart = 24;  // elements between rows of a tile in shared memory

std::vector<bf16> values(std::size_t n, std::uint32_t stream) {
  std::vector<bf16> v;
  for (std::size_t i = 0; i < n; ++i)
    v.emplace_back(static_cast<float>(philox(9, static_cast<std::uint32_t>(i), stream, 0, 0).v[0] % 256) / 64.0F - 2);
  return v;
}

// C [16,16] = A [16,16] · B; b holds B's rows, or its columns as rows.
template <bool columns>
void product(const bf16* a, const bf16* b, float* c) {
  SPN_SHARED(bf16, left, 16 * kApart);
  SPN_SHARED(bf16, right, 16 * kApart);
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += kWarp) {
    left[i / 16 * kApart + i % 16] = a[i];
    right[i / 16 * kApart + i % 16] = b[i];
  }
  __syncwarp();
  FragmentB factor[2];
  if constexpr (columns)
    load_b_of_columns(place_in_columns(right, kApart), factor);
  else
    load_b_of_rows(place_in_rows(right, kApart), factor);
  for (int n = 0; n < 2; ++n) {
    FragmentC sum = {};
    multiply_add(sum, load_a(place_in_rows(left, kApart)), factor[n]);
    multiply_add(sum, load_a(place_in_rows(left, kApart)), factor[n]);  // it adds
    for (int i = 0; i < 4; ++i) c[fragment_row(i) * 16 + n * 8 + fragment_column(i)] = sum.v[i] / 2;
  }
}

TEST(EmulatedFragments, AreProductsOfTiles) {
  const std::vector<bf16> a = values(256, 1), b = values(256, 2);
  for (const bool columns : {false, true}) {
    std::vector<float> c(256);
    launch(columns ? product<true> : product<false>, dim3(1), dim3(kWarp), 0, stream(), a.data(), b.data(), c.data());
    for (std::size_t i = 0; i < 16; ++i)
      for (std::size_t j = 0; j < 16; ++j) {
        double want = 0;
        for (std::size_t k = 0; k < 16; ++k)
          want += static_cast<double>(static_cast<float>(a[i * 16 + k])) *
                  static_cast<double>(static_cast<float>(columns ? b[j * 16 + k] : b[k * 16 + j]));
        EXPECT_EQ(c[i * 16 + j], want) << i << ", " << j << (columns ? " of columns" : " of rows");  // exact in f32
      }
  }
}

// (A · B) · C with the first result as the left factor of the second product.
void chain(const bf16* a, const bf16* b, const bf16* c, float* out) {
  SPN_SHARED(bf16, left, 16 * kApart);
  SPN_SHARED(bf16, middle, 16 * kApart);
  SPN_SHARED(bf16, right, 16 * kApart);
  for (int i = static_cast<int>(threadIdx.x); i < 256; i += kWarp) {
    left[i / 16 * kApart + i % 16] = a[i];
    middle[i / 16 * kApart + i % 16] = b[i];
    right[i / 16 * kApart + i % 16] = c[i];
  }
  __syncwarp();
  FragmentB factor[2];
  load_b_of_rows(place_in_rows(middle, kApart), factor);
  FragmentC first[2] = {};
  for (int n = 0; n < 2; ++n) multiply_add(first[n], load_a(place_in_rows(left, kApart)), factor[n]);
  load_b_of_rows(place_in_rows(right, kApart), factor);
  for (int n = 0; n < 2; ++n) {
    FragmentC sum = {};
    multiply_add(sum, as_left(first[0], first[1]), factor[n]);
    for (int i = 0; i < 4; ++i) out[fragment_row(i) * 16 + n * 8 + fragment_column(i)] = sum.v[i];
  }
}

TEST(EmulatedFragments, AResultIsRoundedToAFactor) {
  const std::vector<bf16> a = values(256, 1), b = values(256, 2), c = values(256, 3);
  std::vector<float> got(256);
  launch(chain, dim3(1), dim3(kWarp), 0, stream(), a.data(), b.data(), c.data(), got.data());
  const auto at = [](const std::vector<bf16>& v, std::size_t i, std::size_t j) {
    return static_cast<double>(static_cast<float>(v[i * 16 + j]));
  };
  for (std::size_t i = 0; i < 16; ++i)
    for (std::size_t j = 0; j < 16; ++j) {
      double want = 0;
      for (std::size_t m = 0; m < 16; ++m) {
        double first = 0;
        for (std::size_t k = 0; k < 16; ++k) first += at(a, i, k) * at(b, k, m);
        want += static_cast<double>(static_cast<float>(bf16(static_cast<float>(first)))) * at(c, m, j);
      }
      EXPECT_NEAR(got[i * 16 + j], want, 1e-3) << i << ", " << j;
    }
}

// Copies row `from` beside the work, and reads its first value before and after it has waited for all but `kept`.
template <int kept>
void copy_a_row(const bf16* from, float* out) {
  SPN_SHARED(bf16, row, 16);
  row[0] = bf16(7.0F);
  copy_async(place_of(row), from, true);
  copies_commit();
  copy_async(place_of(row) + 8, from, false);
  copies_commit();
  out[0] = load(row[0]);
  copies_wait<kept>();
  out[1] = load(row[0]);
  out[2] = load(row[15]);
  copies_wait<0>();
}

void leave_a_copy(const bf16* from, float*) {
  SPN_SHARED(bf16, row, 8);
  copy_async(place_of(row), from, true);
  copies_commit();
}

// Eight values at 16 bytes.
struct alignas(16) Row {
  bf16 v[8] = {bf16(3.0F), bf16(3.0F), bf16(3.0F), bf16(3.0F), bf16(3.0F), bf16(3.0F), bf16(3.0F), bf16(3.0F)};
};

std::vector<float> run_copies(void (*kernel)(const bf16*, float*), Order order) {
  const Row from;
  std::vector<float> out(3);
  set_order(order);
  launch(kernel, dim3(1), dim3(1), 0, stream(), &from.v[0], out.data());
  set_order(Order::forward);
  return out;
}

TEST(EmulatedFragments, CopiesArriveBetweenTheirBeginningAndTheirWait) {
  const std::vector<float> late = run_copies(copy_a_row<0>, Order::forward),
                           early = run_copies(copy_a_row<0>, Order::backward);
  EXPECT_EQ(late, (std::vector<float>{7, 3, 0}));
  EXPECT_EQ(early, (std::vector<float>{3, 3, 0}));
  // one group may stay under way: the zeros
  const std::vector<float> one = run_copies(copy_a_row<1>, Order::forward);
  EXPECT_EQ(one[1], 3.0F);
  EXPECT_TRUE(std::isnan(one[2]));
  EXPECT_EQ(run_copies(copy_a_row<2>, Order::forward)[1], 7.0F);
  // by Philox: the copy of each thread may come early or late
  const std::vector<float> any = run_copies(copy_a_row<0>, Order::shuffled);
  EXPECT_TRUE(any[0] == 7 || any[0] == 3) << any[0];
  EXPECT_EQ(any[1], 3.0F);
  EXPECT_EQ(any[2], 0.0F);
}

TEST(EmulatedFragments, CopiesAreAwaited) {
  try {
    run_copies(leave_a_copy, Order::forward);
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("not awaited"), std::string::npos) << e.what();
  }
}

void load_off_the_grid(float*) {
  SPN_SHARED(bf16, tile, 16 * kApart);
  FragmentB b[2];
  load_b_of_rows(place_in_rows(tile, kApart) + 4, b);
}

TEST(EmulatedFragments, RowsBeginAt16Bytes) {
  try {
    launch(load_off_the_grid, dim3(1), dim3(kWarp), 0, stream(), static_cast<float*>(nullptr));
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("16 bytes"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace spn::emulator
