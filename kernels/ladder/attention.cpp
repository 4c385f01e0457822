// Attention as the niche gene encoder has it: 8 tokens, 8 heads of width 64, in bf16, with dropout when it trains; and
// forward as ViT-L/16 has it: 197 tokens, 16 heads.
#include "kernels/ladder/attention.h"

#include <algorithm>
#include <cmath>

#include "kernels/ladder/ladder.h"
#include "kernels/table.h"

namespace spn::kernels {
namespace {

constexpr std::int64_t kLongTokens = 197;
constexpr std::int64_t kTokens = 8, kHeads = 8, kWidth = 64, kOfSample = kHeads * kTokens * kWidth;
constexpr double kScale = 0.125;
using Use = Operand::Use;

Shape heads_of(std::int64_t elements) {
  return {std::max<std::int64_t>(1, elements / kOfSample), kHeads, kTokens, kWidth};
}
Shape rows_of(const Shape& heads) { return {heads[0], heads[1], heads[2]}; }

// q, k, v of a sample in values that bf16 holds exactly, and what the forward pass makes of them: a backward pass may
// recompute what it was given, so that these have to agree.
struct Sample {
  std::vector<double> q, k, v, o, lse;
};
Sample sample() {
  Sample s;
  std::uint32_t state = 1;
  for (std::vector<double>* x : {&s.q, &s.k, &s.v})
    for (std::int64_t i = 0; i < kOfSample; ++i) {
      state = state * 1664525U + 1013904223U;
      x->push_back((static_cast<double>(state >> 25) - 63.5) / 64);  // odd multiples of 1/128, of 7 bits
    }
  for (std::int64_t i = 0; i < kHeads * kTokens; ++i) {
    const std::int64_t first = i / kTokens * kTokens;  // row of the head's first key
    double weight[kTokens], sum = 0;
    for (std::int64_t j = 0; j < kTokens; ++j) {
      double dot = 0;
      for (std::int64_t d = 0; d < kWidth; ++d)
        dot += s.q[static_cast<std::size_t>(i * kWidth + d)] * s.k[static_cast<std::size_t>((first + j) * kWidth + d)];
      sum += weight[j] = std::exp(kScale * dot);
    }
    s.lse.push_back(std::log(sum));
    for (std::int64_t d = 0; d < kWidth; ++d) {
      double o = 0;
      for (std::int64_t j = 0; j < kTokens; ++j)
        o += weight[j] / sum * s.v[static_cast<std::size_t>((first + j) * kWidth + d)];
      s.o.push_back(o);
    }
  }
  return s;
}

std::vector<Operand> forward_operands(std::int64_t elements) {
  const Shape heads = heads_of(elements);
  return {
      {"q", Use::in, DType::bf16, heads, -1, 1, {}, 1},
      {"k", Use::in, DType::bf16, heads, -1, 1, {}, 1},
      {"v", Use::in, DType::bf16, heads, -1, 1, {}, 1},
      {"o", Use::out, DType::bf16, heads, 0, 0, {}, 1},
      {"lse", Use::out, DType::f32, rows_of(heads), 0, 0, {}, kWidth},
  };
}
template <bool dropped>
void forward(Views v) {
  run<&Table::attention_fwd>({.q = v[0],
                              .k = v[1],
                              .v = v[2],
                              .o = v[3],
                              .lse = v[4],
                              .scale = kScale,
                              .dropout = dropped ? kAttentionDropout : DropoutKey{}});
}

std::vector<Operand> backward_operands(std::int64_t elements) {
  const Shape heads = heads_of(elements);
  const Sample s = sample();
  return {
      {"q", Use::in, DType::bf16, heads, 0, 0, s.q, 1},
      {"k", Use::in, DType::bf16, heads, 0, 0, s.k, 1},
      {"v", Use::in, DType::bf16, heads, 0, 0, s.v, 1},
      // not needed: its product with d_o is also that of the weights with theirs
      {"o", Use::spare, DType::bf16, heads, 0, 0, s.o, 1},
      {"lse", Use::in, DType::f32, rows_of(heads), 0, 0, s.lse, 1},
      {"d_o", Use::in, DType::bf16, heads, -1, 1, {}, 1},
      {"dq", Use::out, DType::bf16, heads, 0, 0, {}, 1},
      {"dk", Use::out, DType::bf16, heads, 0, 0, {}, 1},
      {"dv", Use::out, DType::bf16, heads, 0, 0, {}, 1},
  };
}
template <bool dropped>
void backward(Views v) {
  run<&Table::attention_bwd>({.q = v[0],
                              .k = v[1],
                              .v = v[2],
                              .o = v[3],
                              .lse = v[4],
                              .d_o = v[5],
                              .dq = v[6],
                              .dk = v[7],
                              .dv = v[8],
                              .scale = kScale,
                              .dropout = dropped ? kAttentionDropout : DropoutKey{}});
}

}  // namespace

const Ladder kAttentionFwdLadder = {
    .name = "attention_fwd",
    .about = "8 tokens, 8 heads of 64, bf16",
    .operands = forward_operands,
    .shipped = forward<false>,
};
const Ladder kAttentionBwdLadder = {
    .name = "attention_bwd",
    .about = "8 tokens, 8 heads of 64, bf16",
    .operands = backward_operands,
    .shipped = backward<false>,
};
const Ladder kAttentionDropoutFwdLadder = {
    .name = "attention_dropout_fwd",
    .about = "the same as a training step has it: a tenth of the weights dropped",
    .operands = forward_operands,
    .shipped = forward<true>,
};
const Ladder kAttentionDropoutBwdLadder = {
    .name = "attention_dropout_bwd",
    .about = "the same as a training step has it: a tenth of the weights dropped",
    .operands = backward_operands,
    .shipped = backward<true>,
};
const Ladder kAttentionLongLadder = {
    .name = "attention_long",
    .about = "197 tokens, 16 heads of 64, bf16, forward",
    .operands =
        [](std::int64_t elements) {
          const std::int64_t all = std::max<std::int64_t>(1, elements / (kLongTokens * kWidth));
          const std::int64_t of_sample = std::min<std::int64_t>(all, 16);
          const Shape heads{all / of_sample, of_sample, kLongTokens, kWidth};
          return std::vector<Operand>{
              {"q", Use::in, DType::bf16, heads, -1, 1, {}, 1},
              {"k", Use::in, DType::bf16, heads, -1, 1, {}, 1},
              {"v", Use::in, DType::bf16, heads, -1, 1, {}, 1},
              {"o", Use::out, DType::bf16, heads, 0, 0, {}, kLongTokens},
              {"lse", Use::out, DType::f32, rows_of(heads), 0, 0, {}, kWidth},
          };
        },
    .shipped = forward<false>,
};

}  // namespace spn::kernels
