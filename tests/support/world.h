// The communicator of this test run: `self`, or all ranks under mpirun.
#pragma once

#include "engine/dist/comm.h"

namespace spn::test {
dist::Comm& world();
}
