// NCCL on the emulated device (in place of engine/dist/nccl.cpp where the emulator is linked): collectives over its
// memory, in the order of its work, by way of the ranks' host communicator. What a GPU would leave to chance is chosen:
// sums beside the kernels come as early or as late as their events allow. What NCCL or a captured step would not
// forgive is an error here: memory that is not the device's, sums of bf16, host memory inside a captured step, a sum
// that is begun inside one and awaited outside it or the other way round.
#pragma once

#include <cstdint>
#include <functional>

#include "engine/core/view.h"

namespace spn::emulator {

// When sums of begin_all_reduce happen from now on: when they begin, or when the first kernel waits for them or for one
// begun later.
enum class Side { early, late };
void set_side(Side side);
// How often Pending::test() says no of a sum before it says yes, as MPI's may. Below 0, at first: until wait(), as a
// GPU's, which a captured step must not ask.
void set_polls(int polls);

struct CommCounts {
  std::int64_t collectives = 0;  // over device memory, replays counted
  std::int64_t sums = 0;         // of these, those beside the kernels
  std::int64_t recorded = 0;     // kept in a captured step when they were queued
  std::int64_t not_yet = 0;      // answers of Pending::test()
  std::int64_t done = 0;
};
CommCounts comm_counts();

// Called before and after each sum beside the kernels, wherever it happens, with its memory; absent: nobody looks.
struct Observer {
  std::function<void(const View&)> before, after;
};
void set_observer(Observer observer);

}  // namespace spn::emulator
