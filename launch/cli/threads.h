// How many threads this rank computes with.
#pragma once

namespace spn::cli {

// OMP_NUM_THREADS when set; else the processors this rank may use, divided by the ranks that share them. Sets OpenMP's
// default and returns it.
int settle_threads();

}  // namespace spn::cli
