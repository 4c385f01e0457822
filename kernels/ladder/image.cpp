// Images of spots, 32 px, from bytes to normalised bf16; as embed has them, and augmented as a training step has them.
#include "kernels/ladder/image.h"

#include <algorithm>

#include "kernels/ladder/ladder.h"
#include "kernels/table.h"

namespace spn::kernels {
namespace {

std::vector<Operand> operands(std::int64_t elements) {
  using Use = Operand::Use;
  constexpr std::int64_t kSide = 32;
  const Shape images{std::max<std::int64_t>(1, elements / (3 * kSide * kSide)), kSide, kSide, 3};
  return {
      {"x", Use::in, DType::u8, images, 0, 255.99, {}, 1},
      {"y", Use::out, DType::bf16, images, 0, 0, {}, 1},
  };
}

// y, stored as it is given, [B,S,S,3], as [B,3,S,S].
View channels_last(View y) {
  const std::int64_t s = y.dim(1);
  y.shape = {y.dim(0), 3, s, s};
  y.strides = {3 * s * s, 1, 3 * s, 3};
  return y;
}

}  // namespace

const Ladder kImageEmbedLadder = {
    .name = "image_embed",
    .about = "images of 32 px to bf16",
    .operands = operands,
    .shipped = [](Views v) { run<&Table::image_embed>({.x = v[0], .y = channels_last(v[1]), .augment = {}}); },
};
const Ladder kImageAugmentLadder = {
    .name = "image_augment",
    .about = "the same, turned and stained anew",
    .operands = operands,
    .shipped =
        [](Views v) { run<&Table::image_embed>({.x = v[0], .y = channels_last(v[1]), .augment = kImageAugmentation}); },
};

}  // namespace spn::kernels
