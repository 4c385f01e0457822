// Collectives on the tape. Convention: a loss is the sum over ranks of each rank's scalar; so the gradient of an
// all-gather is a reduce-scatter, and that of an all-reduce (sum) is an all-reduce.
#pragma once

#include "engine/autograd/var.h"
#include "engine/dist/comm.h"

namespace spn::ops {

// x [n, ...] of each rank, the same n -> [size · n, ...], in the order of ranks. Gradient: reduce-scatter.
Var all_gather(const Var& x, dist::Comm& comm);
// x [size · n, ...] -> this rank's [n, ...] of the sum over ranks. Gradient: all-gather.
Var reduce_scatter(const Var& x, dist::Comm& comm);
// x of each rank, one shape -> their sum, on all. Gradient: all-reduce.
Var all_reduce_sum(const Var& x, dist::Comm& comm);

}  // namespace spn::ops
