#include "engine/models/resnet.h"

#include <functional>

#include "engine/ops/pool.h"

namespace spn::models {

ResNet::ResNet(const nn::Scope& s, const std::vector<std::int64_t>& depths, std::int64_t width, bool imagenet_stem,
               std::int64_t out)
    : max_pool_(imagenet_stem) {
  conv1_ = imagenet_stem ? nn::Conv2d(s / "conv1", 3, width, 7, 2, 3) : nn::Conv2d(s / "conv1", 3, width, 3, 1, 1);
  bn1_ = nn::BatchNorm(s / "bn1", width);
  std::int64_t in = width;
  for (std::size_t l = 0; l < depths.size(); ++l) {
    const std::int64_t w = width << l;
    for (std::int64_t i = 0; i < depths[l]; ++i) {
      const nn::Scope b = s / ("layer" + std::to_string(l + 1)) / std::to_string(i);
      const int stride = l > 0 && i == 0 ? 2 : 1;
      Bottleneck k;
      k.conv1 = nn::Conv2d(b / "conv1", in, w, 1);
      k.bn1 = nn::BatchNorm(b / "bn1", w);
      k.conv2 = nn::Conv2d(b / "conv2", w, w, 3, stride, 1);
      k.bn2 = nn::BatchNorm(b / "bn2", w);
      k.conv3 = nn::Conv2d(b / "conv3", w, 4 * w, 1);
      k.bn3 = nn::BatchNorm(b / "bn3", 4 * w);
      if (i == 0) {
        k.downsample = true;
        k.down = nn::Conv2d(b / "downsample" / "0", in, 4 * w, 1, stride);
        k.down_bn = nn::BatchNorm(b / "downsample" / "1", 4 * w);
      }
      in = 4 * w;
      blocks_.push_back(std::move(k));
    }
  }
  fc_ = nn::Linear(s / "fc", in, out);
}

Var ResNet::Bottleneck::operator()(const Var& x, const nn::Context& c) const {
  Var y = bn1(conv1(x), c, true);
  y = conv3(bn2(conv2(y), c, true));
  // After the convolutions, so that backward has the shortcut's gradient first and conv1's product adds to it.
  const Var shortcut = downsample ? down_bn(down(x), c, false) : x;
  return bn3(y, c, true, shortcut);
}

Var ResNet::operator()(const Var& image, const nn::Context& c) const {
  Var x = bn1_(conv1_(image), c, true);
  if (max_pool_) x = ops::max_pool2d(x, 3, 2, 1);
  for (const Bottleneck& block : blocks_) x = nn::run_block(std::cref(block), x, c);
  return fc_(ops::global_avg_pool(x));
}

}  // namespace spn::models
