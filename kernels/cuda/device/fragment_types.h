// Which register of which lane holds which value of a matrix fragment (PTX ISA: mma.sync m16n8k16).
#pragma once

#include "kernels/cuda/device/base.h"

namespace spn::kernels::cuda {

// 16 rows x 16 of depth, bf16; two values a register.
struct FragmentA {
  unsigned r[4];
};
// 16 of depth x 8 columns, bf16.
struct FragmentB {
  unsigned r[2];
};
// 16 rows x 8 columns, f32: v[i] is the value in row fragment_row(i) and column fragment_column(i).
struct FragmentC {
  float v[4];
};
// Unsigned: of a signed remainder nvcc keeps the sign in a register, which made attention_fragments<64> spill.
__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x % kWarp); }
__device__ inline int fragment_row(int i) { return lane_of_warp() / 4 + i / 2 * 8; }
__device__ inline int fragment_column(int i) { return lane_of_warp() % 4 * 2 + i % 2; }

}  // namespace spn::kernels::cuda
