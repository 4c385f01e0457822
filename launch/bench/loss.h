// How fast the contrastive loss is and what memory it takes: the figures behind `spotniche bench loss`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/dist/comm.h"
#include "kernels/args/contrastive.h"

namespace spn::bench {

struct LossCase {
  std::int64_t global_batch = 4096, width = 128;
  kernels::Negatives negatives = kernels::Negatives::all;
  double radius_um = 200;
  double scale = 10;            // 1/τ
  DType products = DType::f32;  // bf16: what a training step in bf16 lets a device round (kernels/args/contrastive.h)
  int repeats = 3;
  bool profile = false;          // of the repeats after the first, where there are any
  std::int64_t matmul_size = 0;  // of matmul_gflops; 0: 1024 on the CPU, 8192 on a GPU
  Device device;                 // `world` must join the ranks' devices
};

struct LossFigure {
  double loss = 0;
  double seconds = 0, forward_s = 0, backward_s = 0;  // of the fastest repeat: other work on the machine only adds
  double gflops = 0;  // floor of 8·B²·d (four products: S twice, dx, dy) over all ranks, a second
  // Of matmul_size-cubed products of random numbers in `products` (summed in fp32) on all ranks at once: what the
  // machine can do.
  double matmul_gflops = 0;
  std::int64_t matmul_size = 0;
  std::string profile;  // what profile_lines says; empty where nobody asked
  // This rank's memory beyond x, y, dx and dy: of tensors and kernels, and growth of the process (its peak resident
  // set, with what oneDNN and MPI keep). The largest over ranks.
  std::int64_t extra_bytes = 0, rss_growth_bytes = 0;
};

// Random fp32 unit rows, y half way to x, forward and backward with all three gradients. Collective; the same on all
// ranks. Usage error when the batch does not divide.
LossFigure measure_loss(const LossCase& what, dist::Comm& world);

}  // namespace spn::bench
