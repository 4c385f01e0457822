// The emulated device of tests/cuda/twin.h: always there, in three orders.
#include "tests/cuda/twin.h"
#include "tests/support/emulator/emulator.h"

namespace spn::test {
int device_orders() { return 3; }
void use_order(int order) { emulator::set_order(static_cast<emulator::Order>(order)); }
}  // namespace spn::test
