#include "launch/cli/threads.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

namespace spn::cli {
namespace {

// Ranks of this job on this node, as the launcher says; 1 when it says nothing.
int local_ranks() {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"})
    if (const char* v = std::getenv(name); v != nullptr && std::atoi(v) > 0) return std::atoi(v);
  // "2(x3)" or "2,1": the first node's count
  if (const char* v = std::getenv("SLURM_TASKS_PER_NODE"); v != nullptr && std::atoi(v) > 0) return std::atoi(v);
  return 1;
}

}  // namespace

int settle_threads() {
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    cpu_set_t set;
    const int all = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    const int mine = sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : all;
    // a launcher that binds ranks has divided the processors already
    omp_set_num_threads(mine < all ? mine : std::max(1, mine / local_ranks()));
  }
  return omp_get_max_threads();
}

}  // namespace spn::cli
