// A convolution as it is asked of cuDNN, in cuDNN's layouts (kernels/cuda/conv.cpp brings views there). In tests, the
// emulator computes it on the host, and refuses what a test wants refused.
#pragma once

#include <cstdint>
#include <tuple>

#include "engine/core/dtype.h"

namespace spn::kernels::cuda {

enum class Pass : std::uint8_t { forward, data, filter };

// Channels-last with filters [out,kh,kw,in]; f64, for checks, in the other layout: [n,c,h,w] and [out,in,kh,kw].
struct Convolution {
  int n = 0, c = 0, h = 0, w = 0, out = 0, kh = 0, kw = 0, oh = 0, ow = 0;
  int pad_h = 0, pad_w = 0, stride_h = 1, stride_w = 1;
  DType dtype{};
  bool tf32 = false;
  auto key() const {
    return std::tuple(n, c, h, w, out, kh, kw, oh, ow, pad_h, pad_w, stride_h, stride_w, dtype, tf32);
  }
  bool channels_last() const { return dtype != DType::f64; }
};

// Whether the library knows an algorithm: one that gives the same bits each time, or any.
enum class Order : std::uint8_t { fixed, any };
bool can_convolve(const Convolution& p, Pass pass, Order order);
// forward: y from x and w. data: x from w and y. filter: w from x and y. False: all algorithms it named were refused;
// they are not tried again then.
bool convolve(const Convolution& p, Pass pass, Order order, void* x, void* w, void* y);

}  // namespace spn::kernels::cuda
