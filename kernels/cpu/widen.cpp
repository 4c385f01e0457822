#include "kernels/cpu/widen.h"

#include "kernels/cpu/strided.h"
#include "kernels/cpu/workspace.h"

namespace spn::kernels::cpu {

View Widened::memory_for(const View& v) {
  static thread_local std::array<Workspace, kMost> memory;
  check(used_ < kMost, "widen", "expected at most {} bf16 operands", kMost);
  const StridedLoop<1> walk("widen", {&v});
  const bool dense = walk.inner() == v.numel() && walk.all_unit();
  View f = v;
  f.dtype = DType::f32;
  if (!dense) f.strides = contiguous_strides(v.shape);
  f.data = memory[used_++].get(f.bytes());
  return f;
}

View Widened::in(const View& v) {
  if (!v || v.dtype != DType::bf16) return v;
  const View f = memory_for(v);
  copy({.x = v, .y = f});
  return f;
}

View Widened::out(const View& v) {
  if (!v || v.dtype != DType::bf16) return v;
  const View f = memory_for(v);
  back_[outs_++] = {f, v};
  return f;
}

View Widened::in_out(const View& v) {
  const View f = out(v);
  if (f.data != v.data) copy({.x = v, .y = f});
  return f;
}

void Widened::round_back() {
  for (std::size_t i = 0; i < outs_; ++i) copy({.x = back_[i].first, .y = back_[i].second});
}

}  // namespace spn::kernels::cpu
