#include "engine/nn/layers.h"

#include "engine/ops/attention.h"
#include "engine/ops/conv.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/norm.h"
#include "engine/ops/shape.h"

namespace spn::nn {
Linear::Linear(const Scope& s, std::int64_t in, std::int64_t out, bool with_bias)
    : weight(s.parameter("weight", {out, in}, Init::fan_in(in))) {
  if (with_bias) bias = s.parameter("bias", {out}, Init::fan_in(in));
}

Linear Linear::vit(const Scope& s, std::int64_t in, std::int64_t out) {
  Linear l;
  l.weight = s.parameter("weight", {out, in}, Init::trunc_normal(0.02));
  l.bias = s.parameter("bias", {out}, Init::constant(0));
  return l;
}

LayerNorm::LayerNorm(const Scope& s, std::int64_t width, double epsilon)
    : weight(s.parameter("weight", {width}, Init::constant(1))),
      bias(s.parameter("bias", {width}, Init::constant(0))),
      eps(epsilon) {}

Var LayerNorm::operator()(const Var& x) const { return ops::layer_norm(x, weight, bias, eps); }

Var Residual::sum() const { return branch ? ops::add_branch(x, branch, gate) : x; }

Var Residual::normed(const LayerNorm& norm) {
  if (!branch) return norm(x);
  ops::AddedNorm r = ops::add_layer_norm(x, branch, gate, norm.weight, norm.bias, norm.eps);
  *this = Residual(std::move(r.sum));
  return r.normed;
}

Conv2d::Conv2d(const Scope& s, std::int64_t in, std::int64_t out, int kernel, int stride_, int pad_, bool with_bias)
    : weight(s.parameter("weight", {out, in, kernel, kernel}, Init::fan_in(in * kernel * kernel))),
      stride(stride_),
      pad(pad_) {
  if (with_bias) bias = s.parameter("bias", {out}, Init::fan_in(in * kernel * kernel));
}

Var Conv2d::operator()(const Var& x) const { return ops::conv2d(x, weight, bias, stride, pad); }

BatchNorm::BatchNorm(const Scope& s, std::int64_t channels)
    : weight(s.parameter("weight", {channels}, Init::constant(1))),
      bias(s.parameter("bias", {channels}, Init::constant(0))),
      running_mean(s.buffer("running_mean", {channels}, 0)),
      running_var(s.buffer("running_var", {channels}, 1)),
      batches(s.buffer("num_batches_tracked", {}, 0, DType::i64)) {}

Var BatchNorm::operator()(const Var& x, const Context& c, bool relu, const Var& residual) const {
  ops::BatchNorm options;
  options.training = c.training && c.batch_statistics;
  options.update_running = c.update_running;
  options.comm = c.comm;
  options.relu = relu;
  options.sums = c.batch_sums;
  options.again = c.second_pass;
  if (options.training && c.update_running) ++*batches.data<std::int64_t>();
  return ops::batch_norm(x, weight, bias, running_mean, running_var, options, residual);
}

Mlp::Mlp(const Scope& s, const std::vector<std::int64_t>& sizes) {
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i)
    layers.emplace_back(s / std::to_string(2 * i), sizes[i], sizes[i + 1]);
}

Var Mlp::operator()(const Var& x) const {
  Var y = x;
  for (std::size_t i = 0; i < layers.size(); ++i)
    y = layers[i](y, i + 1 < layers.size() ? ops::Activation::relu : ops::Activation::none);
  return y;
}

Tokens::Tokens(const Scope& s, std::int64_t tokens, std::int64_t kernel)
    : weight(s.parameter("weight", {tokens, 1, kernel}, Init::fan_in(kernel))),
      bias(s.parameter("bias", {tokens}, Init::fan_in(kernel))) {}

Var Tokens::operator()(const Var& x) const {
  // a convolution whose stride is its kernel is one matrix product over windows
  const std::int64_t kernel = weight.dim(2), batch = x.dim(0);
  check(x.ndim() == 2 && x.dim(1) % kernel == 0, "tokens", "expected x of shape [B, multiple of {}], got {}", kernel,
        x.shape().str());
  const Var windows = ops::reshape(x, {batch, x.dim(1) / kernel, kernel});
  const Var y = ops::linear(windows, weight, bias);  // [B,D,T]
  return ops::contiguous(ops::transpose(y, 1, 2));
}

Block::Block(const Scope& s, const BlockSize& z) : size(z) {
  const Scope attn = s / "attn", mlp = s / "mlp";
  const std::int64_t inner = z.heads * z.head_width;
  norm1 = LayerNorm(s / "norm1", z.width, z.eps);
  qkv = z.vit ? Linear::vit(attn / "qkv", z.width, 3 * inner) : Linear(attn / "qkv", z.width, 3 * inner, false);
  proj = z.vit ? Linear::vit(attn / "proj", inner, z.width) : Linear(attn / "proj", inner, z.width);
  if (z.vit) ls1 = s.parameter("ls1.gamma", {z.width}, Init::constant(1e-5));
  norm2 = LayerNorm(s / "norm2", z.width, z.eps);
  fc1 = z.vit ? Linear::vit(mlp / "fc1", z.width, z.hidden) : Linear(mlp / "fc1", z.width, z.hidden);
  fc2 = z.vit ? Linear::vit(mlp / "fc2", z.hidden, z.width) : Linear(mlp / "fc2", z.hidden, z.width);
  if (z.vit) ls2 = s.parameter("ls2.gamma", {z.width}, Init::constant(1e-5));
  id_weights = attn.layer_id();
  id_proj = (attn / "proj").layer_id();
  id_fc1 = (mlp / "fc1").layer_id();
  id_fc2 = (mlp / "fc2").layer_id();
}

Residual Block::operator()(Residual x, const Context& c) const {
  const Var rows = qkv(x.normed(norm1));
  return finish(x.x, ops::self_attention(rows, static_cast<int>(size.heads), c.dropout(id_weights, size.dropout)), c);
}

Residual Block::first_token(Residual x) const {
  check(size.dropout == 0, "block", "expected no dropout where only the first token is computed, got {}", size.dropout);
  const std::int64_t inner = size.heads * size.head_width;
  const Var rows = qkv(x.normed(norm1));
  const auto part = [&](std::int64_t i) { return ops::narrow(rows, 2, i * inner, inner); };
  const Var a = ops::cross_attention(ops::narrow(part(0), 1, 0, 1), part(1), part(2), static_cast<int>(size.heads), {});
  return finish(ops::narrow(x.x, 1, 0, 1), a, {});
}

Residual Block::finish(const Var& x, const Var& attended, const Context& c) const {
  const double p = size.dropout;
  Residual r(x, ops::dropout(proj(attended), c.dropout(id_proj, p)), ls1);
  const Var hidden = ops::dropout(fc1(r.normed(norm2), ops::Activation::gelu), c.dropout(id_fc1, p));
  return {r.x, ops::dropout(fc2(hidden), c.dropout(id_fc2, p)), ls2};
}

Residual run_blocks(std::span<const Block> blocks, Residual x, const Context& c) {
  for (const Block& block : blocks) {
    if (c.checkpoint_blocks)
      x = run_block([&block](const Var& in, const Context& inner) { return block(in, inner).sum(); }, x.sum(), c);
    else
      x = block(std::move(x), c);
  }
  return x;
}

}  // namespace spn::nn
