// ResNet of bottlenecks with torchvision's names, for small images (cifar stem) or large ones (imagenet stem).
#pragma once

#include "engine/nn/layers.h"

namespace spn::models {

class ResNet {
 public:
  ResNet() = default;
  // depths: bottlenecks of layer1…; width: channels after the stem; out: of `fc`.
  ResNet(const nn::Scope& s, const std::vector<std::int64_t>& depths, std::int64_t width, bool imagenet_stem,
         std::int64_t out);
  // [B,3,S,S] -> [B,out]
  Var operator()(const Var& image, const nn::Context& c) const;

 private:
  struct Bottleneck {
    nn::Conv2d conv1, conv2, conv3, down;
    nn::BatchNorm bn1, bn2, bn3, down_bn;
    bool downsample = false;
    Var operator()(const Var& x, const nn::Context& c) const;
  };
  nn::Conv2d conv1_;
  nn::BatchNorm bn1_;
  bool max_pool_ = false;
  std::vector<Bottleneck> blocks_;
  nn::Linear fc_;
};

}  // namespace spn::models
