// Rungs of the contrastive loss: what becomes of the products.
#include "kernels/cuda/device/contrastive.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/panel_limits.h"
#include "kernels/ladder/ladder.h"

namespace spn::kernels {
namespace {

using namespace cuda;

// One row's statistics by one block, each thread multiplying whole rows of y.
template <class T>
__global__ void statistics_of_row(const T* x, const T* y, const T* scale, std::int64_t n, std::int64_t d, double* lse,
                                  double* positive, double* above) {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  const std::int64_t i = blockIdx.x;
  RunningSum own{kNone, 0, kNone};
  for (std::int64_t j = threadIdx.x; j < n; j += blockDim.x) {
    T dot = 0;
    for (std::int64_t k = 0; k < d; ++k) dot += x[i * d + k] * y[j * d + k];
    const double s = static_cast<double>(dot * *scale);
    own.add(s, 1, i == j ? kNone : s);
    if (i == j && positive != nullptr) positive[i] = s;
  }
  const double most = block_reduce(own.shift, Larger{}, kNone), largest = block_reduce(own.above, Larger{}, kNone);
  const double sum = block_reduce(own.sum == 0 ? 0.0 : own.sum * std::exp(own.shift - most), Sum{}, 0.0);
  if (threadIdx.x != 0) return;
  lse[i] = most + std::log(sum);
  above[i] = largest;
}

// Both directions multiply all over again, on no tensor core.
void product_a_thread(Views v) {
  const std::int64_t n = v[0].dim(0), d = v[0].dim(1);
  const dim3 grid(static_cast<unsigned>(n));
  float *x = v[0].ptr<float>(), *y = v[1].ptr<float>(), *scale = v[2].ptr<float>();
  launch(statistics_of_row<float>, grid, dim3(kBlock), 0, stream(), x, y, scale, n, d, v[3].ptr<double>(),
         v[4].ptr<double>(), v[5].ptr<double>());
  launch(statistics_of_row<float>, grid, dim3(kBlock), 0, stream(), y, x, scale, n, d, v[6].ptr<double>(), nullptr,
         v[7].ptr<double>());
}

// The shipped kernels with other panels.
void with_panels(const PanelLimits& limits, const Ladder& ladder, Views v) {
  const PanelLimits usual = contrastive_panels();
  contrastive_panels() = limits;
  ladder.shipped(v);
  contrastive_panels() = usual;
}
PanelLimits whole(Views v) { return {.rows = v[0].dim(0), .cols = v[0].dim(0), .group = v[0].dim(0)}; }
// All products go to memory and come back.
void whole_fwd(Views v) { with_panels(whole(v), kContrastiveFwdLadder, v); }
void whole_bwd(Views v) { with_panels(whole(v), kContrastiveBwdLadder, v); }
// 256 x 512 stay in the cache, but are too small for the library's products; from 4096 x 8192 on they do not stay.
template <std::int64_t rows, std::int64_t cols>
void panels_fwd(Views v) {
  with_panels({.rows = rows, .cols = cols}, kContrastiveFwdLadder, v);
}
template <std::int64_t rows, std::int64_t cols>
void panels_bwd(Views v) {
  with_panels({.rows = rows, .cols = cols}, kContrastiveBwdLadder, v);
}

}  // namespace

std::span<const Rung> contrastive_fwd_rungs() {
  static const Rung rungs[] = {{"a product a thread", product_a_thread},
                               {"all products in memory", whole_fwd},
                               {"panels of 256 x 512", panels_fwd<256, 512>},
                               {"panels of 1024 x 4096", panels_fwd<1024, 4096>},
                               {"panels of 4096 x 8192", panels_fwd<4096, 8192>}};
  return rungs;
}
std::span<const Rung> contrastive_bwd_rungs() {
  static const Rung rungs[] = {{"all products in memory", whole_bwd},
                               {"panels of 256 x 512", panels_bwd<256, 512>},
                               {"panels of 1024 x 4096", panels_bwd<1024, 4096>},
                               {"panels of 4096 x 8192", panels_bwd<4096, 8192>}};
  return rungs;
}

}  // namespace spn::kernels
