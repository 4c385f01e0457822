// What vendors' libraries compute on a GPU comes from the CPU kernels here: it is not our code that would be tested.
#include "tests/support/emulator/vendor.h"

#include <utility>
#include <vector>

#include "kernels/table.h"
#include "tests/support/emulator/emulator.h"

namespace spn::emulator {
namespace {
Refusals* g_refusals = nullptr;
}  // namespace

Refusals::Refusals(OfProduct of_product, OfPass of_pass, bool called)
    : product(std::move(of_product)), pass(std::move(of_pass)), when_called(called) {
  g_refusals = this;
}
Refusals::~Refusals() { g_refusals = nullptr; }

}  // namespace spn::emulator

namespace spn::kernels::cuda {
namespace {

using emulator::g_refusals;

bool refused(bool yes) {
  if (yes) ++g_refusals->count;
  return yes;
}

View matrices(const void* p, DType dtype, const Matrix& m, std::int64_t batch, std::int64_t rows, std::int64_t cols) {
  View v;
  v.data = const_cast<void*>(p);
  v.dtype = dtype;
  v.shape = {batch, rows, cols};
  v.strides = {m.batch_stride, m.transposed ? 1 : m.ld, m.transposed ? m.ld : 1};
  if (batch == 1) {
    v.shape = {rows, cols};
    v.strides = {m.transposed ? 1 : m.ld, m.transposed ? m.ld : 1};
  }
  return v;
}
View vector(const void* p, DType dtype, std::int64_t n) {
  if (p == nullptr) return {};
  View v;
  v.data = const_cast<void*>(p);
  v.dtype = dtype;
  v.shape = {n};
  v.strides = {1};
  return v;
}

// A library's layout, and the CPU kernels' copy of it.
struct Moved {
  View there, here;
  std::vector<std::byte> memory;
  Moved(void* p, DType dtype, const Shape& shape, const Shape& there_strides, const Shape& here_strides) {
    there.data = p;
    there.dtype = dtype;
    there.shape = shape;
    there.strides = there_strides;
    memory.resize(there.bytes());
    here = there;
    here.data = memory.data();
    here.strides = here_strides;
  }
  void bring() { cpu_table().copy({.x = there, .y = here}); }
  void take_back() { cpu_table().copy({.x = here, .y = there}); }
};

}  // namespace

bool multiply(const Product& p, const ProductMemory& at) {
  if (g_refusals != nullptr && g_refusals->product && refused(g_refusals->product(p))) return false;
  check(!(p.relu && p.accumulate), "emulator", "no such epilogue");
  emulator::queue([p, at] {
    emulator::touch(&at, sizeof at);
    cpu_table().gemm({.a = matrices(at.a, p.in, p.a, p.batch, p.m, p.k),
                      .b = matrices(at.b, p.in, p.b, p.batch, p.k, p.n),
                      .c = matrices(at.c, p.out, p.c, p.batch, p.m, p.n),
                      .bias = p.biased ? vector(at.bias, p.bias, p.n) : View{},
                      .act = p.relu ? Activation::relu : Activation::none,
                      .accumulate = p.accumulate});
  });
  return true;
}

bool can_convolve(const Convolution& p, Pass pass, Order order) {
  return g_refusals == nullptr || !g_refusals->pass || g_refusals->when_called ||
         !refused(g_refusals->pass(p, pass, order));
}
bool convolve(const Convolution& p, Pass pass, Order order, void* x, void* w, void* y) {
  if (g_refusals != nullptr && g_refusals->pass && refused(g_refusals->pass(p, pass, order))) return false;
  emulator::queue([p, pass, x, w, y] {
    void* const memory[] = {x, w, y};
    emulator::touch(memory, sizeof memory);
    const auto layout = [&](const Shape& s) {
      return p.channels_last() ? channels_last_strides(s) : contiguous_strides(s);
    };
    const Shape xs{p.n, p.c, p.h, p.w}, ws{p.out, p.c, p.kh, p.kw}, ys{p.n, p.out, p.oh, p.ow};
    Moved mx(x, p.dtype, xs, layout(xs), channels_last_strides(xs)),
        mw(w, p.dtype, ws, layout(ws), contiguous_strides(ws)),
        my(y, p.dtype, ys, layout(ys), channels_last_strides(ys));
    const bool one_dim = p.h == 1 && p.kh == 1;
    check(one_dim || (p.pad_h == p.pad_w && p.stride_h == p.stride_w), "emulator", "pads or strides differ");
    const ConvShape shape{.stride = p.stride_w, .pad = p.pad_w, .one_dim = one_dim};
    Moved& out = pass == Pass::forward ? my : pass == Pass::data ? mx : mw;
    for (Moved* m : {&mx, &mw, &my})
      if (m != &out) m->bring();
    if (pass == Pass::forward)
      cpu_table().conv_fwd({.conv = shape, .x = mx.here, .w = mw.here, .bias = {}, .y = my.here});
    else
      cpu_table().conv_bwd({.conv = shape,
                            .x = pass == Pass::filter ? mx.here : View{},
                            .w = mw.here,
                            .dy = my.here,
                            .dx = pass == Pass::data ? mx.here : View{},
                            .dw = pass == Pass::filter ? mw.here : View{},
                            .db = {}});
    out.take_back();
  });
  return true;
}

}  // namespace spn::kernels::cuda
