// Layers: parameters plus a forward. Names below a scope are PyTorch's; initial values are PyTorch's defaults.
#pragma once

#include <span>

#include "engine/autograd/checkpoint.h"
#include "engine/nn/registry.h"
#include "engine/ops/batch_norm.h"
#include "engine/ops/dropout.h"
#include "engine/ops/matmul.h"

namespace spn::nn {

// What a forward pass needs to know besides its input.
struct Context {
  bool training = false;
  std::uint64_t seed = 0;
  std::int64_t step = 0;
  std::int64_t first_sample = 0;               // global batch position of row 0: keys dropout and augmentation
  const kernels::BatchClock* clock = nullptr;  // added to the two above by kernels, when they run
  dist::Comm* comm = nullptr;                  // batch statistics are taken over its ranks; null: over this rank
  bool batch_statistics = true;          // training: batch norm by the batch; false: by the running statistics (frozen)
  bool update_running = true;            // false in the embedding pass of micro-batching
  bool checkpoint_blocks = false;        // activations inside a block are computed again in the backward
  ops::BatchSums* batch_sums = nullptr;  // of the block at hand, for its second pass
  bool second_pass = false;
  DType compute = DType::f32;  // of activations; parameters, statistics, losses and gradients of weights stay fp32

  ops::DropoutKey dropout(std::uint32_t layer, double p) const {
    return {seed, step, layer, first_sample, training ? p : 0.0, clock};
  }
};

// One block of a tower, a callable: as it is, or with checkpoint_blocks as a checkpoint, which keeps it until the
// backward; what it refers to must live as long.
template <class Block>
Var run_block(Block block, const Var& x, const Context& c) {
  if (!c.checkpoint_blocks) return block(x, c);
  return checkpoint(
      [block, c, sums = std::make_shared<ops::BatchSums>()](const std::vector<Var>& in, bool again) {
        Context inner = c;
        inner.batch_sums = sums.get();
        inner.second_pass = again;
        if (again) inner.update_running = false;
        return block(in[0], inner);
      },
      {x});
}

struct Linear {
  Var weight, bias;
  Linear() = default;
  Linear(const Scope& s, std::int64_t in, std::int64_t out, bool with_bias = true);
  // timm's ViT: truncated normal 0.02, bias 0.
  static Linear vit(const Scope& s, std::int64_t in, std::int64_t out);
  Var operator()(const Var& x, ops::Activation act = ops::Activation::none) const {
    return ops::linear(x, weight, bias, act);
  }
};

struct LayerNorm {
  Var weight, bias;
  double eps = 1e-5;
  LayerNorm() = default;
  LayerNorm(const Scope& s, std::int64_t width, double eps = 1e-5);
  Var operator()(const Var& x) const;
};

// The residual stream between the parts of a transformer: x + gate ⊙ branch, left for the norm that reads it next to
// add up on its way. branch absent: x alone; gate absent: 1.
struct Residual {
  Var x, branch, gate;
  Residual(Var of) : x(std::move(of)) {}  // NOLINT: a stream that nothing was added to yet
  Residual(Var of, Var added, Var by) : x(std::move(of)), branch(std::move(added)), gate(std::move(by)) {}
  Var sum() const;
  // The norm of the sum, which x is from then on.
  Var normed(const LayerNorm& norm);
};

struct Conv2d {
  Var weight, bias;
  int stride = 1, pad = 0;
  Conv2d() = default;
  Conv2d(const Scope& s, std::int64_t in, std::int64_t out, int kernel, int stride = 1, int pad = 0,
         bool with_bias = false);
  Var operator()(const Var& x) const;
};

// eps 1e-5, momentum 0.1.
struct BatchNorm {
  Var weight, bias;
  Tensor running_mean, running_var, batches;
  BatchNorm() = default;
  BatchNorm(const Scope& s, std::int64_t channels);
  // relu?(bn(x) + residual)
  Var operator()(const Var& x, const Context& c, bool relu, const Var& residual = {}) const;
};

// Linear, ReLU, Linear, …: names 0, 2, 4. No activation after the last.
struct Mlp {
  std::vector<Linear> layers;
  Mlp() = default;
  Mlp(const Scope& s, const std::vector<std::int64_t>& sizes);
  Var operator()(const Var& x) const;
};

// Conv1d 1 → T of kernel and stride k: x [B, D·k] -> y[b,t,j] = Σ_i weight[t,0,i] · x[b, k·j+i] + bias[t], [B,T,D].
struct Tokens {
  Var weight, bias;
  Tokens() = default;
  Tokens(const Scope& s, std::int64_t tokens, std::int64_t kernel);
  Var operator()(const Var& x) const;
};

// Pre-norm transformer block: x += ls1 · attn(norm1(x)); x += ls2 · mlp(norm2(x)).
struct BlockSize {
  std::int64_t width = 0, heads = 0, head_width = 0, hidden = 0;
  double eps = 1e-5, dropout = 0;
  bool vit = false;  // qkv with bias, layer scale 1e-5, timm's initial values
};
struct Block {
  BlockSize size;
  LayerNorm norm1, norm2;
  Linear qkv, proj, fc1, fc2;
  Var ls1, ls2;
  std::uint32_t id_weights = 0, id_proj = 0, id_fc1 = 0, id_fc2 = 0;
  Block() = default;
  Block(const Scope& s, const BlockSize& size);
  Residual operator()(Residual x, const Context& c) const;
  // Token 0 of the result, [B,1,width], without what only the other tokens need: a last block whose class token alone
  // is read costs a quarter. No dropout.
  Residual first_token(Residual x) const;

 private:
  Residual finish(const Var& x, const Var& attended, const Context& c) const;
};
// One after the other; with checkpoint_blocks each is a checkpoint. They must live until the backward.
Residual run_blocks(std::span<const Block> blocks, Residual x, const Context& c);

}  // namespace spn::nn
