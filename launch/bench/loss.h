// How fast the contrastive loss is and what memory it takes: the figures behind `spotniche bench loss`.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/dist/comm.h"
#include "kernels/args/contrastive.h"

namespace spn::bench {

struct LossCase {
  std::int64_t global_batch = 4096, width = 128;
  kernels::Negatives negatives = kernels::Negatives::all;
  double radius_um = 200;
  double scale = 10;  // 1/τ
  int repeats = 3;
  Device device;  // `world` must join the ranks' devices
};

struct LossFigure {
  double loss = 0;
  double seconds = 0, forward_s = 0, backward_s = 0;  // of the fastest repeat: other work on the machine only adds
  double gflops = 0;         // floor of 8·B²·d (four products: S twice, dx, dy) over all ranks, a second
  double matmul_gflops = 0;  // of 1024 x 1024 x 1024 products on all ranks at once: what the machine can do
  // This rank's memory beyond x, y, dx and dy: of tensors and kernels, and growth of the process (its peak resident
  // set, with what oneDNN and MPI keep). The largest over ranks.
  std::int64_t extra_bytes = 0, rss_growth_bytes = 0;
};

// Random unit rows, y half way to x, fp32, forward and backward with all three gradients. Collective; the same on all
// ranks. Usage error when the batch does not divide.
LossFigure measure_loss(const LossCase& what, dist::Comm& world);

}  // namespace spn::bench
