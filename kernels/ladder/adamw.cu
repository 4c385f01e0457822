// Rungs of AdamW: an operation a pass, then one pass a parameter, then 16 bytes a load; the shipped kernel takes all
// parameters in one launch.
#include "kernels/cuda/device/optim.h"
#include "kernels/cuda/launch.h"
#include "kernels/ladder/adamw.h"
#include "kernels/ladder/ladder.h"
#include "kernels/table.h"

namespace spn::kernels {
namespace {

using namespace cuda;
using Update = AdamWUpdate<float>;
using Constants = Update::Constants;

// What every rung begins with: the scalars of the update, and one parameter's constants from them.
template <class F>
void with_scalars(Views v, F&& f) {
  UpdateScalars* s = scratch_of<UpdateScalars>(Scratch::kernel, 1);
  launch(read_rates, dim3(1), dim3(1), 0, stream(), v[4].ptr<double>(), v[6].ptr<double>(), v[5].ptr<double>(), 1.0,
         0.9, 0.999, s);
  over_parameters(v[0].numel(), [&](std::int64_t begin, std::int64_t end) {
    f(s, v[0].ptr<float>() + begin, v[1].ptr<float>() + begin, v[2].ptr<float>() + begin, v[3].ptr<float>() + begin,
      end - begin);
  });
}
__device__ inline Constants constants_of(const UpdateScalars* s) {
  const double scale[2] = {1, 1};
  return Update{0.9, 0.999, 1e-8}.constants(*s, scale);
}

enum class Pass { m, v, w };
template <Pass pass>
__global__ void one_operation(const UpdateScalars* s, float* w, float* m, float* v, const float* grad, std::int64_t n) {
  const Constants c = constants_of(s);
  for (std::int64_t i = global_thread(); i < n; i += all_threads()) {
    const float g = grad[i] * c.scale;
    if constexpr (pass == Pass::m)
      m[i] += c.new1 * (g - m[i]);
    else if constexpr (pass == Pass::v)
      v[i] = v[i] * c.beta2 + c.new2 * g * g;
    else
      w[i] = w[i] * c.keep - c.rate * (m[i] / (std::sqrt(v[i]) / c.root2 + c.eps));
  }
}
template <int V>
__global__ void one_parameter(const UpdateScalars* s, float* w, float* m, float* v, const float* grad, std::int64_t n) {
  const Constants c = constants_of(s);
  for (std::int64_t i = global_thread(); i < n / V; i += all_threads()) {
    float e[4][V];
    load_some<V>(w + i * V, e[0]);
    load_some<V>(m + i * V, e[1]);
    load_some<V>(v + i * V, e[2]);
    load_some<V>(grad + i * V, e[3]);
    for (int j = 0; j < V; ++j) Update::apply(c, e[0][j], e[1][j], e[2][j], e[3][j]);
    store_some<V>(w + i * V, e[0]);
    store_some<V>(m + i * V, e[1]);
    store_some<V>(v + i * V, e[2]);
  }
  const std::int64_t rest = n / V * V + global_thread();
  if (rest < n) Update::apply(c, w[rest], m[rest], v[rest], grad[rest]);
}

void an_operation_a_pass(Views views) {
  with_scalars(views, [](auto* s, float* w, float* m, float* v, const float* g, std::int64_t n) {
    for (auto* kernel : {one_operation<Pass::m>, one_operation<Pass::v>, one_operation<Pass::w>})
      launch(kernel, grid_for(n), dim3(kBlock), 0, stream(), s, w, m, v, g, n);
  });
}
template <int V>
void one_pass(Views views) {
  with_scalars(views, [](auto* s, float* w, float* m, float* v, const float* g, std::int64_t n) {
    launch(one_parameter<V>, grid_for(n / V + 1), dim3(kBlock), 0, stream(), s, w, m, v, g, n);
  });
}

// Rounds in a second pass.
void update_then_round(Views v) {
  kAdamWLadder.shipped(v);
  run<&Table::copy>({.x = v[0], .y = v[7]});
}

}  // namespace

std::span<const Rung> adamw_copy_rungs() {
  static const Rung rungs[] = {{"a pass for the copy", update_then_round}};
  return rungs;
}
std::span<const Rung> adamw_rungs() {
  static const Rung rungs[] = {{"an operation a pass", an_operation_a_pass},
                               {"one pass, a launch a parameter", one_pass<1>},
                               {"the same, 16 bytes a load", one_pass<4>}};
  return rungs;
}

}  // namespace spn::kernels
