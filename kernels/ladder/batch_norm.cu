// Rungs of batch norm: how channels lie on threads.
#include "kernels/cuda/device/batch_norm.h"
#include "kernels/cuda/launch.h"
#include "kernels/ladder/ladder.h"

namespace spn::kernels {
namespace {

using namespace cuda;

template <class T>
__global__ void sums_of_channel(double* sums, const T* x, std::int64_t rows, std::int64_t channels) {
  double s = 0, q = 0;
  for (std::int64_t r = threadIdx.x; r < rows; r += blockDim.x) {
    const double v = static_cast<double>(load(x[r * channels + blockIdx.x]));
    s += v;
    q += v * v;
  }
  s = block_reduce(s, Sum{}, 0.0);
  q = block_reduce(q, Sum{}, 0.0);
  if (threadIdx.x != 0) return;
  sums[blockIdx.x] = s;
  sums[channels + blockIdx.x] = q;
}

template <class T>
__global__ void apply_elements(T* y, const T* x, const T* residual, const double* sums, const float* w, const float* b,
                               float* mean, float* rstd, double count, std::int64_t channels, std::int64_t n) {
  for (std::int64_t i = global_thread(); i < n; i += all_threads()) {
    const std::int64_t c = i % channels;
    const double m = sums[c] / count, var = sums[channels + c] / count - m * m;
    const double r = 1 / std::sqrt((var > 0 ? var : 0) + 1e-5);
    const float v = (load(x[i]) - static_cast<float>(m)) * static_cast<float>(r) * w[c] + b[c] + load(residual[i]);
    y[i] = convert<T>(v > 0 ? v : 0.0F);
    if (i < channels) {
      mean[c] = static_cast<float>(m);
      rstd[c] = static_cast<float>(r);
    }
  }
}

// Neighbours read addresses a row apart.
void block_a_channel(Views v) {
  launch(sums_of_channel<bf16>, dim3(static_cast<unsigned>(v[0].dim(1))), dim3(kBlock), 0, stream(), v[1].ptr<double>(),
         v[0].ptr<bf16>(), v[0].dim(0), v[0].dim(1));
}

// Single values, 32 channels a block.
constexpr int kAcross = kWarp;
dim3 column_grid(Views v, int blocks) {
  return dim3(static_cast<unsigned>(multiprocessors() * blocks), static_cast<unsigned>(v[0].dim(1) / kAcross));
}
Columns columns(Views v) { return {v[0].dim(0), v[0].dim(1), kAcross, kColumnThreads / kAcross}; }

void value_a_thread(Views v) {
  const dim3 grid = column_grid(v, 1);
  auto* partial = scratch_of<double>(Scratch::kernel, static_cast<std::size_t>(2 * v[0].dim(1)) * grid.x);
  launch(batch_norm_sums<bf16, 1>, grid, dim3(kColumnThreads), 0, stream(), partial, v[0].ptr<bf16>(), columns(v));
  launch(batch_norm_fold<float>, dim3(static_cast<unsigned>((v[0].dim(1) + kWarp - 1) / kWarp)), dim3(kWarp * kWarp), 0,
         stream(), v[1].ptr<double>(), partial, static_cast<int>(grid.x), v[0].dim(1), BatchNormFold<float>{});
}

// Each element works out its channel's mean and deviation again.
void element_a_thread(Views v) {
  launch(apply_elements<bf16>, grid_for(v[0].numel()), dim3(kBlock), 0, stream(), v[5].ptr<bf16>(), v[0].ptr<bf16>(),
         v[4].ptr<bf16>(), v[1].ptr<double>(), v[2].ptr<float>(), v[3].ptr<float>(), v[6].ptr<float>(),
         v[7].ptr<float>(), static_cast<double>(v[0].dim(0)), v[0].dim(1), v[0].numel());
}

// A thread keeps to a channel; 2 bytes a load.
void value_a_thread_apply(Views v) {
  const BatchNormVectors<float> vectors{v[1].ptr<double>(), nullptr,           nullptr,          v[2].ptr<float>(),
                                        v[3].ptr<float>(),  v[6].ptr<float>(), v[7].ptr<float>()};
  const BatchNormNumbers numbers{static_cast<double>(v[0].dim(0)), 1e-5, 0.1, false, true};
  launch(batch_norm_map<bf16, 1>, column_grid(v, 2), dim3(kColumnThreads), 0, stream(), v[5].ptr<bf16>(),
         v[0].ptr<bf16>(), v[4].ptr<bf16>(), vectors, numbers, columns(v));
}

}  // namespace

std::span<const Rung> batch_norm_stats_rungs() {
  static const Rung rungs[] = {{"a block a channel", block_a_channel}, {"a value a load", value_a_thread}};
  return rungs;
}
std::span<const Rung> batch_norm_apply_rungs() {
  static const Rung rungs[] = {{"element by element", element_a_thread}, {"a value a load", value_a_thread_apply}};
  return rungs;
}

}  // namespace spn::kernels
