// Convolutions as matrix products over columns: every output pixel's window laid out as one row, some images at a time.
// On CPUs without AVX-512 that beats oneDNN's own convolutions (docs/benchmarks/resnet.md).
#pragma once

#include "kernels/cpu/kernels.h"

namespace spn::kernels::cpu {

enum class ConvPass { forward, data, weights };

// Whether this pass is faster by columns here: f32, no bias, channels enough to copy in runs.
bool columns_win(ConvPass pass, const ConvShape& conv, const View& x, const View& w, bool with_bias);

// Views as the kernels of conv.cpp take them, checked there.
void conv_columns_fwd(const ConvFwd& o);
void conv_columns_data(const ConvBwd& o);
void conv_columns_weights(const ConvBwd& o);

}  // namespace spn::kernels::cpu
