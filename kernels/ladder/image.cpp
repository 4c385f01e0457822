// Images of spots, 32 px, from bytes to normalised bf16; not augmented.
#include <algorithm>

#include "kernels/ladder/ladder.h"
#include "kernels/table.h"

namespace spn::kernels {

const Ladder kImageEmbedLadder = {
    .name = "image_embed",
    .about = "images of 32 px to bf16",
    .operands =
        [](std::int64_t elements) {
          using Use = Operand::Use;
          constexpr std::int64_t kSide = 32;
          const Shape images{std::max<std::int64_t>(1, elements / (3 * kSide * kSide)), kSide, kSide, 3};
          return std::vector<Operand>{
              {"x", Use::in, DType::u8, images, 0, 255.99, {}, 1},
              {"y", Use::out, DType::bf16, images, 0, 0, {}, 1},
          };
        },
    .shipped =
        [](Views v) {
          View y = v[1];  // stored as it is, [B,S,S,3], and seen as [B,3,S,S]
          const std::int64_t s = y.dim(1);
          y.shape = {y.dim(0), 3, s, s};
          y.strides = {3 * s * s, 1, 3 * s, 3};
          run<&Table::image_embed>({.x = v[0], .y = y, .augment = {}});
        },
};

}  // namespace spn::kernels
