// Batch norm's four passes: dtypes, channels in packs and one by one, one and several column blocks, absent views,
// results over their inputs.
#include <string>
#include <vector>

#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

class CudaBatchNorm : public test::Twin {
 protected:
  struct Case {
    std::int64_t n, c, h, w;  // h = 0: [n, c]
    Shape shape() const { return h == 0 ? Shape{n, c} : Shape{n, c, h, w}; }
    std::int64_t rows() const { return h == 0 ? n : n * h * w; }
  };
  static constexpr Case kCases[] = {{1, 1, 0, 0},  {7, 3, 5, 3},   {33, 8, 0, 0},   {257, 7, 0, 0}, {3, 16, 4, 5},
                                    {2, 64, 7, 9}, {5, 257, 2, 1}, {9, 1000, 1, 1}, {1031, 4, 0, 0}};

  static DType side(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }
  static Tensor activation(const Case& k, std::uint64_t stream, DType t) {
    const Tensor x = random(k.shape(), stream, t);
    return k.h == 0 ? x : x.channels_last();
  }
  static Out like(const Case& k, DType t, std::int64_t terms = 8) { return {k.shape(), t, terms, k.h != 0}; }
  static Out vector(const Case& k, DType t, std::int64_t terms = 8) { return {{k.c}, side(t), terms}; }

  template <class F>
  static void each(F&& f) {
    for (const DType t : test::kFloats)
      for (const Case& k : kCases) {
        SCOPED_TRACE(std::string(name_of(t)) + " " + k.shape().str());
        f(t, k);
      }
  }
};

TEST_F(CudaBatchNorm, Statistics) {
  each([&](DType t, const Case& k) {
    const Tensor x = activation(k, 1, t);
    compare_all([&](const auto& at,
                    const std::vector<Tensor>& out) { run<&Table::batch_norm_stats>({.x = at(x), .sums = out[0]}); },
                {{{2, k.c}, DType::f64, k.rows()}});
  });
}

TEST_F(CudaBatchNorm, ApplyWithBatchStatistics) {
  each([&](DType t, const Case& k) {
    if (k.rows() < 2) return;
    const Tensor x = activation(k, 1, t), residual = activation(k, 2, t);
    const Tensor w = random({k.c}, 3, side(t), 0.5, 2), b = random({k.c}, 4, side(t));
    const Tensor mean = random({k.c}, 5, side(t)), var = random({k.c}, 6, side(t), 0.5, 2);
    const Tensor sums = Tensor::empty({2, k.c}, DType::f64);
    run<&Table::batch_norm_stats>({.x = x, .sums = sums});
    if (k.c > 2 && t == DType::f64) {  // a channel whose batch is not finite leaves the running statistics
      const Tensor wrong = sums.clone();
      wrong.data<double>()[1] = NAN;
      compare_all(
          [&](const auto& at, const std::vector<Tensor>& out) {
            out[0].copy_from(at(mean));
            out[1].copy_from(at(var));
            const Tensor y = at(x.clone()), m = at(mean.clone()), r = at(var.clone());
            run<&Table::batch_norm_apply>({.x = at(x),
                                           .sums = at(wrong),
                                           .running_mean = out[0],
                                           .running_var = out[1],
                                           .w = at(w),
                                           .b = at(b),
                                           .y = y,
                                           .mean = m,
                                           .rstd = r,
                                           .count = static_cast<double>(k.rows()),
                                           .update_running = true});
          },
          {vector(k, t), vector(k, t)});
    }
    for (const bool relu : {false, true})
      for (const bool add : {false, true})
        for (const bool update : {false, true})
          compare_all(
              [&](const auto& at, const std::vector<Tensor>& out) {
                out[3].copy_from(at(mean));
                out[4].copy_from(at(var));
                run<&Table::batch_norm_apply>({.x = at(x),
                                               .sums = at(sums),
                                               .running_mean = update ? out[3] : Tensor(),
                                               .running_var = update ? out[4] : Tensor(),
                                               .w = at(w),
                                               .b = at(b),
                                               .residual = add ? at(residual) : Tensor(),
                                               .y = out[0],
                                               .mean = out[1],
                                               .rstd = out[2],
                                               .count = static_cast<double>(k.rows()),
                                               .momentum = 0.3,
                                               .update_running = update,
                                               .relu = relu});
              },
              {like(k, t), vector(k, t), vector(k, t), vector(k, t), vector(k, t)});
  });
}

TEST_F(CudaBatchNorm, ApplyWithRunningStatistics) {
  each([&](DType t, const Case& k) {
    const Tensor x = activation(k, 1, t);
    const Tensor w = random({k.c}, 3, side(t)), b = random({k.c}, 4, side(t));
    const Tensor mean = random({k.c}, 5, side(t)), var = random({k.c}, 6, side(t), 0.5, 2);
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& out) {
          run<&Table::batch_norm_apply>({.x = at(x),
                                         .running_mean = at(mean),
                                         .running_var = at(var),
                                         .w = at(w),
                                         .b = at(b),
                                         .y = out[0],
                                         .mean = out[1],
                                         .rstd = out[2],
                                         .relu = true});
        },
        {like(k, t), vector(k, t), vector(k, t)});
  });
}

TEST_F(CudaBatchNorm, BackwardStatistics) {
  each([&](DType t, const Case& k) {
    const Tensor x = activation(k, 1, t), y = activation(k, 2, t), dy = activation(k, 3, t);
    const Tensor mean = random({k.c}, 4, side(t)), rstd = random({k.c}, 5, side(t), 0.5, 2);
    const Tensor w = random({k.c}, 6, side(t)), b = random({k.c}, 7, side(t));
    for (const bool relu : {false, true})
      for (const bool from_y : {false, true})
        for (const int g : {0, 1, 2}) {  // absent, apart, over dy
          std::vector<Out> outs = {{{2, k.c}, DType::f64, 64 * k.rows()}};
          if (g != 0) outs.push_back(like(k, t));
          // with g the gradients of w and b too: sums, rounded once
          for (int i = 0; i < 2 && g != 0; ++i) outs.push_back({{k.c}, side(t), 64 * k.rows()});
          compare_all(
              [&](const auto& at, const std::vector<Tensor>& out) {
                if (g == 2) out[1].copy_from(at(dy));
                run<&Table::batch_norm_bwd_stats>({.x = at(x),
                                                   .y = from_y ? at(y) : Tensor(),
                                                   .dy = g == 2 ? out[1] : at(dy),
                                                   .mean = at(mean),
                                                   .rstd = at(rstd),
                                                   .w = at(w),
                                                   .b = at(b),
                                                   .g = g != 0 ? out[1] : Tensor(),
                                                   .sums = out[0],
                                                   .dw = g != 0 ? out[2] : Tensor(),
                                                   .db = g != 0 ? out[3] : Tensor(),
                                                   .relu = relu});
              },
              outs);
        }
  });
}

TEST_F(CudaBatchNorm, BackwardApply) {
  each([&](DType t, const Case& k) {
    const Tensor x = activation(k, 1, t), g = activation(k, 2, t), sums = random({2, k.c}, 3, DType::f64);
    const Tensor mean = random({k.c}, 4, side(t)), rstd = random({k.c}, 5, side(t), 0.5, 2);
    const Tensor w = random({k.c}, 6, side(t)), b = random({k.c}, 7, side(t));
    for (const bool relu : {false, true})
      for (const bool fixed : {false, true})
        for (const bool over : {false, true})
          compare_all(
              [&](const auto& at, const std::vector<Tensor>& out) {
                if (over) out[0].copy_from(at(g));
                run<&Table::batch_norm_bwd_apply>({.x = at(x),
                                                   .g = over ? out[0] : at(g),
                                                   .mean = at(mean),
                                                   .rstd = at(rstd),
                                                   .w = at(w),
                                                   .b = at(b),
                                                   .sums = fixed ? Tensor() : at(sums),
                                                   .dx = out[0],
                                                   .count = 3,
                                                   .fixed_statistics = fixed,
                                                   .relu = relu});
              },
              {like(k, t, 16)});
  });
}

// Rows that do not begin at 16 bytes go one by one.
TEST_F(CudaBatchNorm, Unaligned) {
  const Tensor x = random({20, 4}, 1, DType::bf16).reshape({80});
  compare_all(
      [&](const auto& at, const std::vector<Tensor>& out) {
        run<&Table::batch_norm_stats>({.x = at(x).narrow(0, 4, 72).reshape({9, 8}), .sums = out[0]});
      },
      {{{2, 8}, DType::f64, 9}});
}

TEST_F(CudaBatchNorm, NoRowsSumToZero) {
  const Tensor x = Tensor::empty({0, 5});
  compare_all([&](const auto& at,
                  const std::vector<Tensor>& out) { run<&Table::batch_norm_stats>({.x = at(x), .sums = out[0]}); },
              {{{2, 5}, DType::f64}});
}

}  // namespace
}  // namespace spn::kernels
