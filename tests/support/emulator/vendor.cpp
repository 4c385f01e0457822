// What vendors' libraries compute on a GPU comes from the CPU kernels here: it is not our code that would be tested.
#include "kernels/cuda/kernels.h"
#include "tests/support/emulator/emulator.h"

namespace spn::kernels::cuda {
namespace {

View on_host(View v) {
  v.device = Device{};
  return v;
}

}  // namespace

void gemm(const Gemm& a) {
  emulator::queue([=] {
    emulator::touch(&a, sizeof a);
    cpu_table().gemm({.a = on_host(a.a),
                      .b = on_host(a.b),
                      .c = on_host(a.c),
                      .bias = on_host(a.bias),
                      .act = a.act,
                      .accumulate = a.accumulate,
                      .sums = on_host(a.sums)});
  });
}
void conv_fwd(const ConvFwd& a) {
  emulator::queue([=] {
    emulator::touch(&a, sizeof a);
    cpu_table().conv_fwd(
        {.conv = a.conv, .x = on_host(a.x), .w = on_host(a.w), .bias = on_host(a.bias), .y = on_host(a.y)});
  });
}
void conv_bwd(const ConvBwd& a) {
  emulator::queue([=] {
    emulator::touch(&a, sizeof a);
    cpu_table().conv_bwd({.conv = a.conv,
                          .x = on_host(a.x),
                          .w = on_host(a.w),
                          .dy = on_host(a.dy),
                          .dx = on_host(a.dx),
                          .dw = on_host(a.dw),
                          .db = on_host(a.db)});
  });
}

}  // namespace spn::kernels::cuda
