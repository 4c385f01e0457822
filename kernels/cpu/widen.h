// bf16 on a CPU that multiplies none: operands are widened to f32, the f32 kernel runs, results are rounded once. The
// copies lie in memory that stays between calls.
#pragma once

#include <array>
#include <utility>

#include "kernels/cpu/kernels.h"

namespace spn::kernels::cpu {

// One at a time in a thread: a second one would overwrite the first one's copies.
class Widened {
 public:
  // v's values in f32, in v's layout where it has no gaps, else contiguous. What is not bf16, or absent, as it is.
  View in(const View& v);
  // Memory for f32 results in place of v, in v's layout where it has no gaps; round_back() brings them to v.
  View out(const View& v);
  // out() holding v's values: for results that are added to.
  View in_out(const View& v);
  void round_back();

 private:
  static constexpr std::size_t kMost = 6;
  View memory_for(const View& v);
  std::size_t used_ = 0, outs_ = 0;
  std::array<std::pair<View, View>, kMost> back_;  // from, to
};

}  // namespace spn::kernels::cpu
