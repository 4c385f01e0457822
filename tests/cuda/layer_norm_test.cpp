// Layer norm against the CPU: rows of a warp, of a block and streamed, parameters in f32 beside bf16 rows.
#include "kernels/cuda/context.h"
#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

// Off and on 16 bytes; registers of a warp (few, many), of a block, and beyond them.
constexpr std::int64_t kLengths[] = {1, 7, 8, 12, 31, 33, 64, 257, 264, 548, 1000, 1024, 1028, 1032, 3001, 8200};

struct Types {
  DType rows, parameters;
};
constexpr Types kTypes[] = {
    {DType::f32, DType::f32}, {DType::bf16, DType::bf16}, {DType::bf16, DType::f32}, {DType::f64, DType::f64}};
DType statistics(DType t) { return t == DType::bf16 ? DType::f32 : t; }

class CudaLayerNorm : public test::Twin {
 protected:
  void forward(const Types& t, const Shape& shape, double low = -1, double high = 1) {
    const std::int64_t n = shape[shape.ndim() - 1], rows = n == 0 ? 0 : shape.numel() / n;
    const Tensor x = random(shape, 1, t.rows, low, high), w = random({n}, 2, t.parameters, 0.5, 1.5),
                 b = random({n}, 3, t.parameters);
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& out) {
          run<&Table::layer_norm_fwd>(
              {.x = at(x), .w = at(w), .b = at(b), .y = out[0], .mean = out[1], .rstd = out[2]});
        },
        {{shape, t.rows, 16}, {{rows}, statistics(t.rows), 4}, {{rows}, statistics(t.rows), 16}});
  }
  // want: which of dx, dw, db.
  void backward(const Types& t, const Shape& shape, int want = 7) {
    const std::int64_t n = shape[shape.ndim() - 1], rows = n == 0 ? 0 : shape.numel() / n;
    const Tensor x = random(shape, 1, t.rows), dy = random(shape, 4, t.rows),
                 w = random({n}, 2, t.parameters, 0.5, 1.5);
    Tensor y = Tensor::empty(shape, t.rows), mean = Tensor::empty({rows}, statistics(t.rows)),
           rstd = Tensor::empty({rows}, statistics(t.rows));
    run<&Table::layer_norm_fwd>({.x = x, .w = w, .b = w, .y = y, .mean = mean, .rstd = rstd});
    if (n == 1) rstd.fill(1.5);  // 300 by the formula: nothing but rounding would be compared
    std::vector<Out> outs;
    if ((want & 1) != 0) outs.push_back({shape, t.rows, 16});
    // a running sum is rounded at its own size, which grows: over thousands of rows by their number, not its root
    const std::int64_t terms = rows * std::max<std::int64_t>(4, rows / 64);
    if ((want & 2) != 0) outs.push_back({{n}, t.parameters, terms});
    if ((want & 4) != 0) outs.push_back({{n}, t.parameters, terms});
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& out) {
          const Tensor xs = at(x), ws = at(w), ms = at(mean), rs = at(rstd), gs = at(dy);  // must outlive the call
          LayerNormBwd a{.x = xs, .w = ws, .mean = ms, .rstd = rs, .dy = gs};
          std::size_t next = 0;
          if ((want & 1) != 0) a.dx = out[next++];
          if ((want & 2) != 0) a.dw = out[next++];
          if ((want & 4) != 0) a.db = out[next++];
          run<&Table::layer_norm_bwd>(a);
        },
        outs);
  }
};

TEST_F(CudaLayerNorm, Forward) {
  for (const Types& t : kTypes)
    for (const std::int64_t n : kLengths) forward(t, {n < 1000 ? 9 : 5, n});
}

TEST_F(CudaLayerNorm, MeansFarFromZero) {
  for (const std::int64_t n : {257, 1024, 8200}) forward(kTypes[0], {3, n}, 29, 31);
}

// x + gate ⊙ branch on the way: the sum is rounded alike, and normalised as it is written.
TEST_F(CudaLayerNorm, AddsABranch) {
  for (const Types& t : kTypes)
    for (const std::int64_t n : kLengths)
      for (const bool gated : {false, true}) {
        const std::int64_t rows = n < 1000 ? 9 : 5;
        const Tensor x = random({rows, n}, 1, t.rows), branch = random({rows, n}, 5, t.rows),
                     gate = gated ? random({n}, 6, t.rows) : Tensor(), w = random({n}, 2, t.parameters, 0.5, 1.5),
                     b = random({n}, 3, t.parameters);
        compare_all(
            [&](const auto& at, const std::vector<Tensor>& out) {
              const Tensor xs = at(x), os = at(branch), gs = at(gate);
              run<&Table::layer_norm_fwd>({.x = xs,
                                           .w = at(w),
                                           .b = at(b),
                                           .y = out[0],
                                           .mean = out[1],
                                           .rstd = out[2],
                                           .branch = os,
                                           .gate = gs,
                                           .sum = out[3]});
            },
            {{{rows, n}, t.rows, 16},
             {{rows}, statistics(t.rows), 4},
             {{rows}, statistics(t.rows), 16},
             {{rows, n}, t.rows, 2}});
        compare(
            [&](const auto& at, const Tensor& sum) {
              const Tensor xs = at(x), os = at(branch), gs = at(gate);
              run<&Table::layer_norm_fwd>({.x = xs, .branch = os, .gate = gs, .sum = sum});
            },
            {rows, n}, t.rows, 2);
        // the same bits beside a norm and alone, also where the norm's w keeps rows from registers
        const auto sum_with = [&](const Tensor& weight) {
          const auto on = [](const Tensor& v) { return v ? v.to(test::kGpu) : v; };
          const Tensor sum = poisoned({{rows, n}, t.rows}, test::kGpu), xs = on(x), os = on(branch), gs = on(gate);
          LayerNormFwd call{.x = xs, .branch = os, .gate = gs, .sum = sum};
          const Tensor many = on(weight), shift = on(b), y = poisoned({{rows, n}, t.rows}, test::kGpu),
                       mean = poisoned({{rows}, statistics(t.rows)}, test::kGpu),
                       rstd = poisoned({{rows}, statistics(t.rows)}, test::kGpu);
          if (weight) {
            call.w = many.narrow(0, many.numel() - n, n);
            call.b = shift, call.y = y, call.mean = mean, call.rstd = rstd;
          }
          run<&Table::layer_norm_fwd>(call);
          return sum.to(Device{});
        };
        const Tensor alone = sum_with({});
        EXPECT_TRUE(test::close(sum_with(w), alone, {0, 0})) << n;
        EXPECT_TRUE(test::close(sum_with(random({n + 1}, 2, t.parameters)), alone, {0, 0})) << n;
      }
}

TEST_F(CudaLayerNorm, RefusesHalfABranch) {
  for (const Device device : {Device{}, test::kGpu}) {
    const Tensor x = random({4, 8}, 1, DType::f32).to(device), w = random({8}, 2, DType::f32).to(device),
                 s = Tensor::empty({4}, DType::f32, device), y = Tensor::empty({4, 8}, DType::f32, device);
    EXPECT_THROW(run<&Table::layer_norm_fwd>({.x = x, .w = w, .b = w, .y = y, .mean = s, .rstd = s, .branch = x}),
                 Error);
    EXPECT_THROW(run<&Table::layer_norm_fwd>({.x = x, .w = w, .b = w, .y = y, .mean = s, .rstd = s, .gate = w}), Error);
    EXPECT_THROW(run<&Table::layer_norm_fwd>({.x = x, .w = w, .b = w, .y = y, .mean = s, .rstd = s, .sum = y}), Error);
    EXPECT_THROW(run<&Table::layer_norm_fwd>({.x = x, .w = w, .b = w, .mean = s, .rstd = s}), Error);
  }
}

TEST_F(CudaLayerNorm, Backward) {
  for (const Types& t : kTypes)
    for (const std::int64_t n : kLengths) backward(t, {n < 1000 ? 9 : 5, n});
}

TEST_F(CudaLayerNorm, MoreRowsThanTheGridHas) {
  for (const Types& t : kTypes)
    for (const std::int64_t n : {5, 64}) {
      forward(t, {cuda::multiprocessors(), 97, n});
      backward(t, {cuda::multiprocessors(), 97, n});
    }
}

// Rows in registers of which a warp or a block takes several: the next one is on its way, parameters are held, and sums
// of columns grow from row to row. A multiprocessor has 12 rows at a time (backward: 8) where warps work on them, and
// one where 256 threads do. Only here do the layouts of bf16 for many packs, for halves of packs and for blocks loop.
TEST_F(CudaLayerNorm, SeveralRowsAGroup) {
  for (const Types& t : kTypes)
    for (const std::int64_t n : {548, 1024, 8192}) {
      const std::int64_t rows = (n < 8192 ? 29 : 3) * cuda::multiprocessors() + 1;
      forward(t, {rows, n});
      backward(t, {rows, n});
    }
}

TEST_F(CudaLayerNorm, AbsentGradients) {
  for (const Types& t : {kTypes[0], kTypes[2]})
    for (const std::int64_t n : {33, 64, 2048})
      for (const int want : {1, 2, 4, 6}) backward(t, {11, n}, want);
}

TEST_F(CudaLayerNorm, NoRowsGiveNoGradient) {
  for (const Types& t : kTypes) {
    forward(t, {0, 8});
    backward(t, {0, 8});
  }
}

// Rows that begin off 16 bytes are streamed.
TEST_F(CudaLayerNorm, Unaligned) {
  const Tensor x = random({4 * 64 + 1}, 1, DType::f32), w = random({64}, 2, DType::f32),
               b = random({64}, 3, DType::f32);
  compare_all(
      [&](const auto& at, const std::vector<Tensor>& out) {
        run<&Table::layer_norm_fwd>({.x = at(x).narrow(0, 1, 256).reshape({4, 64}),
                                     .w = at(w),
                                     .b = at(b),
                                     .y = out[0],
                                     .mean = out[1],
                                     .rstd = out[2]});
      },
      {{{4, 64}, DType::f32, 16}, {{4}, DType::f32, 4}, {{4}, DType::f32, 16}});
}

TEST_F(CudaLayerNorm, RefusesGapsAndOtherTypes) {
  const Tensor x = random({4, 8}, 1, DType::f32).to(test::kGpu), w = random({8}, 2, DType::f64).to(test::kGpu),
               s = Tensor::empty({4}, DType::f32, test::kGpu);
  EXPECT_THROW(run<&Table::layer_norm_fwd>({.x = x, .w = w, .b = w, .y = x, .mean = s, .rstd = s}), Error);
  const Tensor t = random({8, 4}, 1, DType::f32).to(test::kGpu).transpose(0, 1), v = w.to(DType::f32);
  EXPECT_THROW(run<&Table::layer_norm_fwd>({.x = t, .w = v, .b = v, .y = x, .mean = s, .rstd = s}), Error);
}

}  // namespace
}  // namespace spn::kernels
