// Whose a run directory is: one run's at a time, begun afresh, gone on with, or begun from another's checkpoint.
#pragma once

#include <string>

#include "data/pack/pack_lock.h"
#include "engine/dist/comm.h"

namespace spn::cli {

// The directory is this run's alone as long as it lives: a scheduler may start it anew before its predecessor has
// ended. Makes the folder; one that it made goes again while nothing is in it. Collective; data error on all ranks
// while another run is at work there.
class RunLock {
 public:
  RunLock(dist::Comm& world, const std::string& run_dir);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  std::string run_dir_;
  bool made_ = false;
  data::WriterLock lock_;
};

// The checkpoint lies in the run directory, not in that of another run which goes on here.
bool is_own_checkpoint(const std::string& checkpoint, const std::string& run_dir);
// The run directory holds what came of this very checkpoint: the same command once more, as a scheduler gives it.
bool began_from(const std::string& checkpoint, const std::string& run_dir);

}  // namespace spn::cli
