// What convolutions ask of their arguments beyond their shapes, the same on every device.
#pragma once

#include "kernels/args/conv.h"

namespace spn::kernels {

inline void check_accumulation(const ConvBwd& o) {
  check(!o.accumulate_dx || is_product(o.conv, o.w), "conv_bwd",
        "only 1x1 filters with stride 1 and no pad can add to dx, got filters {}, stride {}, pad {}", o.w.shape.str(),
        o.conv.stride, o.conv.pad);
}

}  // namespace spn::kernels
