#include "engine/models/vit.h"

#include "engine/ops/elementwise.h"
#include "engine/ops/shape.h"

namespace spn::models {

ViT::ViT(const nn::Scope& s, const VitSize& z) : size_(z) {
  const std::int64_t grid = z.px / z.patch;
  cls_token_ = s.parameter("cls_token", {1, 1, z.width}, nn::Init::normal(1e-6));
  pos_embed_ = s.parameter("pos_embed", {1, grid * grid + 1, z.width}, nn::Init::trunc_normal(0.02));
  patch_ =
      nn::Conv2d(s / "patch_embed" / "proj", 3, z.width, static_cast<int>(z.patch), static_cast<int>(z.patch), 0, true);
  for (std::int64_t i = 0; i < z.depth; ++i)
    blocks_.emplace_back(s / "blocks" / std::to_string(i),
                         nn::BlockSize{z.width, z.heads, z.width / z.heads, z.mlp, 1e-6, 0.0, true});
  norm_ = nn::LayerNorm(s / "norm", z.width, 1e-6);
}

Var ViT::operator()(const Var& image, const nn::Context& c) const {
  check(image.ndim() == 4 && image.dim(2) == size_.px && image.dim(3) == size_.px, "vit",
        "expected images [B,3,{},{}], got {}", size_.px, size_.px, image.shape().str());
  const std::int64_t batch = image.dim(0), grid = size_.px / size_.patch;
  // channels-last in memory: rows of [B, grid², width] already
  const Var patches = ops::reshape(ops::permute(patch_(image), {0, 2, 3, 1}), {batch, grid * grid, size_.width});
  const Var cls = ops::expand(ops::cast(cls_token_, patches.dtype()), {batch, 1, size_.width});
  const Var x = ops::add(ops::concat({cls, patches}, 1), ops::cast(pos_embed_, patches.dtype()));
  // only the class token is read: the last block and the norm compute that row alone
  nn::Residual token =
      blocks_.empty() ? nn::Residual(ops::contiguous(ops::narrow(x, 1, 0, 1)))
                      : blocks_.back().first_token(nn::run_blocks(std::span(blocks_.data(), blocks_.size() - 1), x, c));
  return ops::reshape(token.normed(norm_), {batch, size_.width});
}

}  // namespace spn::models
