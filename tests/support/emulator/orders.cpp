// The emulated device of tests/cuda/twin.h: always there, in three orders; in two where kernels run from PTX.
#include "tests/cuda/twin.h"
#include "tests/support/emulator/emulator.h"

namespace spn::test {
int device_orders() { return emulator::has_ptx() ? 2 : 3; }  // PTX shows races itself
void use_order(int order) { emulator::set_order(static_cast<emulator::Order>(order)); }
}  // namespace spn::test
