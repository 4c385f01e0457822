// Attention forward and backward against the CPU: the short kernel and the tiled one at their edges, layouts of the
// model (packed qkv, cross attention), dropout, absent gradients.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

struct Case {
  std::int64_t batch, heads, tq, tk, width;
  std::string str() const {
    return std::to_string(batch) + " x " + std::to_string(heads) + ", " + std::to_string(tq) + " by " +
           std::to_string(tk) + ", width " + std::to_string(width);
  }
};

// [B, T, H·Dh] as [B, H, T, Dh], as the model stores it.
Tensor by_head(const Tensor& t, std::int64_t heads) {
  return t.reshape({t.dim(0), t.dim(1), heads, t.dim(2) / heads}).transpose(1, 2);
}

struct Wants {
  bool dq = true, dk = true, dv = true;
};

class CudaAttention : public test::Twin {
 protected:
  // heads_first: heads lie one after the other in memory, not interleaved in rows.
  void both(const Case& c, DType t, const DropoutKey& key, const Wants& wants = {}, bool heads_first = false) {
    SCOPED_TRACE(std::string(name_of(t)) + " " + c.str() + ", dropout " + std::to_string(key.p));
    const DType side = t == DType::f64 ? DType::f64 : DType::f32;
    const std::int64_t e = c.heads * c.width, terms = 64 * (c.tk + c.width);
    const Shape queries{c.batch, c.tq, e}, keys{c.batch, c.tk, e};
    const Tensor q = random(queries, 1, t), k = random(keys, 2, t), v = random(keys, 3, t), d_o = random(queries, 4, t);
    const double scale = 1.0 / std::sqrt(static_cast<double>(c.width));
    const auto view = [&](const Tensor& x) {
      return heads_first ? x.reshape({c.batch, c.heads, x.dim(1), c.width}) : by_head(x, c.heads);
    };
    const std::vector<Tensor> made = compare_all(
        [&](const auto& at, const std::vector<Tensor>& out) {
          const Tensor qd = at(q), kd = at(k), vd = at(v);
          run<&Table::attention_fwd>({.q = view(qd),
                                      .k = view(kd),
                                      .v = view(vd),
                                      .o = view(out[0]),
                                      .lse = out[1],
                                      .scale = scale,
                                      .dropout = key});
        },
        {{queries, t, terms}, {{c.batch, c.heads, c.tq}, side, terms}});
    std::vector<Out> outs;
    if (wants.dq) outs.push_back({queries, t, terms});
    if (wants.dk) outs.push_back({keys, t, terms});
    if (wants.dv) outs.push_back({keys, t, terms});
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& out) {
          const Tensor qd = at(q), kd = at(k), vd = at(v), od = at(made[0]), ld = at(made[1]), dd = at(d_o);
          std::size_t next = 0;
          const Tensor dq = wants.dq ? out[next++] : Tensor(), dk = wants.dk ? out[next++] : Tensor(),
                       dv = wants.dv ? out[next++] : Tensor();
          run<&Table::attention_bwd>({.q = view(qd),
                                      .k = view(kd),
                                      .v = view(vd),
                                      .o = view(od),
                                      .lse = ld,
                                      .d_o = view(dd),
                                      .dq = dq ? view(dq) : Tensor(),
                                      .dk = dk ? view(dk) : Tensor(),
                                      .dv = dv ? view(dv) : Tensor(),
                                      .scale = scale,
                                      .dropout = key});
        },
        outs);
  }
};

TEST_F(CudaAttention, ShortSequences) {
  for (const DType t : test::kFloats)
    for (const Case& c :
         {Case{3, 3, 8, 8, 64}, Case{1, 1, 1, 1, 1}, Case{2, 4, 8, 8, 32}, Case{3, 1, 5, 7, 24}, Case{2, 2, 8, 3, 17},
          Case{1, 5, 1, 8, 64}, Case{7, 1, 8, 8, 3}, Case{2, 9, 8, 8, 8}, Case{1, 2, 6, 8, 40}, Case{3, 3, 1, 2, 56}})
      for (const bool heads_first : {false, true}) both(c, t, {}, {}, heads_first);
}

// Elements of about 256 whose weighted sums nearly cancel: rows r and r + 4 of v and of d_o are opposite, and rows of q
// and of k differ by a bit where gradients of logits sum to nearly 0. Short sequences on tensor cores take weights and
// gradients of logits as two bf16 each, rounded and rest. Only here does the rest count: without it 2^-9 of each term
// is lost, and 2^-14 of the sum of their sizes is allowed, beside the rounding of the result.
TEST_F(CudaAttention, ShortWeightsHaveSixteenBits) {
  const Shape shape{2, 3, 8, 64};
  const double scale = 1.0 / 65536;  // logits below 0.3, their gradients about 1
  const auto alike = [&](std::uint64_t stream, std::int64_t run_of_signs) {
    const Tensor t = random(shape, stream);
    for (std::int64_t i = 0; i < t.numel(); ++i) {
      double& e = t.data<double>()[i];
      e = (e < 0 ? 256 : 258) * (i / run_of_signs % 2 == 0 ? 1 : -1);
    }
    return t;
  };
  const auto opposite = [&](std::uint64_t stream) {
    const Tensor t = random(shape, stream);
    for (std::int64_t i = 0; i < t.numel(); ++i) {
      double& e = t.data<double>()[i];
      e = i / 64 % 8 < 4 ? (e < 0 ? -256 : 256) : -t.data<double>()[i - 4 * 64];
    }
    return t;
  };
  const Tensor q = alike(1, 1), k = alike(2, 2), v = opposite(3), d_o = opposite(4);  // q · k is small, too
  const auto results = [&](Device device, DType t) {
    const auto on = [&](const Tensor& host) { return host.to(t).to(device); };
    const Tensor qs = on(q), ks = on(k), vs = on(v), ds = on(d_o);
    const Tensor lse = poisoned({{2, 3, 8}, t == DType::f64 ? t : DType::f32}, device);
    std::vector<Tensor> out;  // o, dq, dk, dv
    for (int i = 0; i < 4; ++i) out.push_back(poisoned({shape, t}, device));
    run<&Table::attention_fwd>({.q = qs, .k = ks, .v = vs, .o = out[0], .lse = lse, .scale = scale});
    run<&Table::attention_bwd>({.q = qs,
                                .k = ks,
                                .v = vs,
                                .o = out[0],
                                .lse = lse,
                                .d_o = ds,
                                .dq = out[1],
                                .dk = out[2],
                                .dv = out[3],
                                .scale = scale});
    for (Tensor& each : out) each = each.to(Device{}).to(DType::f64);
    return out;
  };
  // The sum of the terms' sizes: eight weights sum to 1, eight gradients of logits to about 6.
  constexpr double kSizes[] = {256, 6 * 256, 6 * 256, 256};
  const std::vector<Tensor> want = results(Device{}, DType::f64);
  for (int order = 0; order < test::device_orders(); ++order) {
    test::use_order(order);
    const std::vector<Tensor> got = results(test::kGpu, DType::bf16);
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_TRUE(test::close(got[i], want[i], {std::ldexp(1, -9), std::ldexp(kSizes[i], -14)}))
          << "output " << i << ", order " << order;
  }
  test::use_order(0);
}

TEST_F(CudaAttention, TiledSequences) {
  for (const DType t : test::kFloats)
    for (const Case& c : {Case{1, 2, 197, 197, 64}, Case{2, 2, 17, 17, 16}, Case{1, 1, 9, 8, 64}, Case{1, 1, 8, 33, 7},
                          Case{1, 2, 65, 1, 5}, Case{2, 1, 1, 100, 40}, Case{1, 1, 8, 8, 65}, Case{1, 1, 3, 70, 300}})
      both(c, t, {});
}

TEST_F(CudaAttention, LongSequencesAreProducts) {
  for (const DType t : {DType::f32, DType::bf16})
    for (const Case& c :
         {Case{3, 2, 64, 64, 8}, Case{2, 1, 70, 300, 24}, Case{1, 3, 100, 65, 16}, Case{2, 3, 65, 64, 7}})
      for (const bool heads_first : {false, true}) both(c, t, {}, {}, heads_first);
  both({2, 2, 64, 70, 8}, DType::bf16, {}, {.dq = false});
  both({2, 2, 64, 70, 8}, DType::f32, {}, {.dk = false});
  both({2, 2, 64, 70, 8}, DType::bf16, {}, {.dv = false});
  both({2, 2, 64, 70, 8}, DType::f32, {}, {.dq = false, .dk = false});
}

// bf16 of width 32 and 64: on tensor cores, at the edges of tiles of 16 queries, 128 queries and 64 keys.
TEST_F(CudaAttention, TensorCores) {
  for (const Case& c :
       {Case{1, 2, 197, 197, 64}, Case{2, 1, 17, 17, 32}, Case{1, 1, 1, 197, 64}, Case{1, 2, 16, 64, 32},
        Case{1, 1, 129, 65, 64}, Case{2, 2, 9, 1, 32}, Case{1, 1, 130, 128, 32}, Case{3, 1, 8, 63, 64}})
    for (const bool heads_first : {false, true}) both(c, DType::bf16, {}, {}, heads_first);
}

// Logits of some hundreds: the largest of a row decides, whichever tile it lies in; a NaN among the keys spoils its
// head and no other.
TEST_F(CudaAttention, TensorCoresWithLargeLogits) {
  for (const Case& c : {Case{2, 1, 20, 150, 32}, Case{2, 1, 20, 150, 64}, Case{2, 1, 8, 7, 64}}) {
    SCOPED_TRACE(c.str());
    const std::int64_t tq = c.tq, tk = c.tk, width = c.width;
    const Tensor q = random({2, tq, width}, 1, DType::f32), k = random({2, tk, width}, 2, DType::f32);
    for (std::int64_t i = 0; i < q.numel(); ++i) q.data<float>()[i] *= 30;
    const Tensor v = random({2, tk, width}, 3, DType::bf16);
    const auto run_with = [&](const Tensor& keys) {
      return [&, keys](const auto& at, const std::vector<Tensor>& out) {
        const Tensor qd = at(q.to(DType::bf16)), kd = at(keys.to(DType::bf16)), vd = at(v);
        run<&Table::attention_fwd>(
            {.q = by_head(qd, 1), .k = by_head(kd, 1), .v = by_head(vd, 1), .o = by_head(out[0], 1), .lse = out[1]});
      };
    };
    const Shape queries{2, tq, width};
    compare_all(run_with(k), {{queries, DType::bf16, 64 * tk}, {{2, 1, tq}, DType::f32, 64 * tk}});
    k.data<float>()[(tk + tk - 1) * width + 3] = std::numeric_limits<float>::quiet_NaN();
    const Tensor o = poisoned({queries, DType::bf16}, test::kGpu), lse = poisoned({{2, 1, tq}, DType::f32}, test::kGpu);
    run_with(k)([](const Tensor& t) { return t.to(test::kGpu); }, {o, lse});
    const Tensor got = o.to(Device{}).to(DType::f32);
    for (std::int64_t i = 0; i < got.numel(); ++i) EXPECT_EQ(std::isnan(got.data<float>()[i]), i >= tq * width) << i;
  }
}

TEST_F(CudaAttention, DropoutDropsWhatTheCpuDrops) {
  for (const DType t : test::kFloats)
    for (const Case& c : {Case{3, 2, 8, 8, 64}, Case{2, 3, 5, 7, 8}, Case{2, 2, 35, 50, 16}, Case{1, 2, 70, 90, 16}})
      both(c, t, {.seed = 5, .step = 3, .layer = 11, .first_sample = 1000, .p = 0.3});
}

TEST_F(CudaAttention, GradientsThatNobodyWants) {
  for (const Case& c : {Case{2, 2, 8, 8, 16}, Case{1, 2, 20, 12, 16}}) {
    both(c, DType::f32, {}, {.dq = false});
    both(c, DType::f32, {}, {.dk = false});
    both(c, DType::f32, {}, {.dq = false, .dk = false});
    both(c, DType::bf16, {}, {.dv = false});
    both(c, DType::bf16, {}, {.dk = false});
    both(c, DType::bf16, {}, {.dq = false, .dv = false});
  }
}

// A packed qkv whose slices do not begin at 16 bytes, and one whose slices do.
TEST_F(CudaAttention, SlicesOfPackedRows) {
  for (const DType t : test::kFloats)
    for (const Case& c : {Case{2, 3, 8, 8, 6}, Case{2, 3, 8, 8, 16}, Case{2, 3, 19, 19, 6}, Case{2, 3, 66, 66, 6}}) {
      const std::int64_t batch = c.batch, heads = c.heads, tokens = c.tq, width = c.width, e = heads * width;
      const Tensor qkv = random({batch, tokens, 3 * e}, 1, t), d_o = random({batch, tokens, e}, 2, t);
      const auto slice = [&](const Tensor& x, std::int64_t i) {
        return x.reshape({batch, tokens, 3, heads, width}).select(2, i).transpose(1, 2);
      };
      const std::vector<Tensor> made = compare_all(
          [&](const auto& at, const std::vector<Tensor>& out) {
            const Tensor x = at(qkv);
            run<&Table::attention_fwd>({.q = slice(x, 0),
                                        .k = slice(x, 1),
                                        .v = slice(x, 2),
                                        .o = by_head(out[0], heads),
                                        .lse = out[1],
                                        .scale = 0.4});
          },
          {{{batch, tokens, e}, t, 2000}, {{batch, heads, tokens}, t == DType::f64 ? DType::f64 : DType::f32, 2000}});
      compare_all(
          [&](const auto& at, const std::vector<Tensor>& out) {
            const Tensor x = at(qkv), o = at(made[0]), lse = at(made[1]), d = at(d_o);
            run<&Table::attention_bwd>({.q = slice(x, 0),
                                        .k = slice(x, 1),
                                        .v = slice(x, 2),
                                        .o = by_head(o, heads),
                                        .lse = lse,
                                        .d_o = by_head(d, heads),
                                        .dq = slice(out[0], 0),
                                        .dk = slice(out[0], 1),
                                        .dv = slice(out[0], 2),
                                        .scale = 0.4});
          },
          {{{batch, tokens, 3 * e}, t, 2000}});
    }
}

TEST_F(CudaAttention, NoQueriesLeaveKeysWithoutGradient) {
  const Tensor q = Tensor::empty({1, 0, 8}), k = random({1, 3, 8}, 1, DType::f32), lse = Tensor::empty({1, 2, 0});
  compare_all(
      [&](const auto& at, const std::vector<Tensor>& out) {
        const Tensor qd = at(q), kd = at(k);
        run<&Table::attention_bwd>({.q = by_head(qd, 2),
                                    .k = by_head(kd, 2),
                                    .v = by_head(kd, 2),
                                    .o = by_head(qd, 2),
                                    .lse = at(lse),
                                    .d_o = by_head(qd, 2),
                                    .dk = by_head(out[0], 2),
                                    .dv = by_head(out[1], 2)});
      },
      {{{1, 3, 8}, DType::f32}, {{1, 3, 8}, DType::f32}});
}

TEST_F(CudaAttention, RefusesStridedWidths) {
  const Tensor x = random({1, 1, 8, 8}, 1, DType::f32).to(test::kGpu), lse = Tensor::empty({1, 1, 8}).to(test::kGpu);
  EXPECT_THROW(run<&Table::attention_fwd>({.q = x.transpose(2, 3), .k = x, .v = x, .o = x, .lse = lse}), Error);
}

// On every device: an order of logits that scale turns round is nobody's, and each would treat it its own way.
TEST_F(CudaAttention, RefusesScalesThatAreNotPositive) {
  for (const Device device : {Device{}, test::kGpu}) {
    const Tensor x = random({1, 1, 8, 8}, 1, DType::f32).to(device), lse = Tensor::empty({1, 1, 8}).to(device);
    for (const double scale : {0.0, -0.5, std::numeric_limits<double>::quiet_NaN()})
      EXPECT_THROW(run<&Table::attention_fwd>({.q = x, .k = x, .v = x, .o = x, .lse = lse, .scale = scale}), Error);
  }
}

}  // namespace
}  // namespace spn::kernels
