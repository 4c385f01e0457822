// Vision transformer with timm's names (vit_*_patch*, layer scale, class token).
#pragma once

#include "engine/nn/layers.h"

namespace spn::models {

struct VitSize {
  std::int64_t px = 224, patch = 16, width = 1024, depth = 24, heads = 16, mlp = 4096;
};

class ViT {
 public:
  ViT() = default;
  ViT(const nn::Scope& s, const VitSize& size);
  // [B,3,px,px] -> [B,width]: the class token after the final norm.
  Var operator()(const Var& image, const nn::Context& c) const;

 private:
  VitSize size_;
  Var cls_token_, pos_embed_;
  nn::Conv2d patch_;
  std::vector<nn::Block> blocks_;
  nn::LayerNorm norm_;
};

}  // namespace spn::models
