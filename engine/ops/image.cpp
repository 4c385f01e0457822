// Images to network input.
#include "engine/ops/image.h"

#include "kernels/table.h"

namespace spn::ops {

Tensor image_embed(const Tensor& images, const kernels::ImageAugment& augment, DType dtype) {
  check(images && images.ndim() == 4 && images.dim(3) == 3 && images.dtype() == DType::u8, "image_embed",
        "expected u8 [B,S,S,3], got {} {}", images ? name_of(images.dtype()) : "nothing", images.shape().str());
  check(!augment.dihedral || images.dim(1) == images.dim(2), "image_embed",
        "expected square images for flips and turns, got {}", images.shape().str());
  check(augment.stain_jitter >= 0 && augment.stain_jitter <= 0.5, "image_embed",
        "expected a stain jitter in [0, 0.5], got {}", augment.stain_jitter);
  const Tensor in = images.contiguous();
  Tensor y = Tensor::empty_channels_last({in.dim(0), 3, in.dim(1), in.dim(2)}, dtype, in.device());
  if (y.numel() != 0) kernels::run<&kernels::Table::image_embed>({.x = in, .y = y, .augment = augment});
  return y;
}

}  // namespace spn::ops
