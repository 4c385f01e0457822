// Comm: the few collectives that training needs, over views: `self` (one rank), `mpi` (host memory), `nccl` (device
// memory, in the order of the compute stream: a call returns when it is queued).
// Every call is collective over the group unless it says otherwise; arguments are checked and errors carry the rank.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/view.h"

namespace spn::dist {

enum class ReduceOp : std::uint8_t { sum, max, min };

// A collective in flight. The views given must stay alive until wait() returns.
class Pending {
 public:
  virtual ~Pending() = default;
  // Gives the library a chance to progress; true when done.
  virtual bool test() = 0;
  virtual void wait() = 0;
};

class Comm {
 public:
  virtual ~Comm() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual const char* name() const = 0;  // "self", "mpi", "nccl"

  // In place. f32, f64, i32, i64 natively; bf16 is reduced in f32 (nccl refuses it).
  virtual void all_reduce(const View& inout, ReduceOp op = ReduceOp::sum) = 0;
  // Makes what begin_all_reduce needs, so that those sums and the other calls do not queue behind one another.
  virtual void prepare_begin() {}
  // Begins an all_reduce (sum) that overlaps with compute. All ranks begin them in the same order, after prepare_begin.
  virtual std::unique_ptr<Pending> begin_all_reduce(const View& inout) = 0;
  // out [size · n, …] gets each rank's in [n, …], in rank order. Equal n on all ranks.
  virtual void all_gather(const View& in, const View& out) = 0;
  // in [size · n, …] summed over ranks; this rank's block of rows into out [n, …].
  virtual void reduce_scatter(const View& in, const View& out) = 0;
  virtual void broadcast(const View& inout, int root) = 0;
  virtual void send(const View& v, int to) = 0;  // point to point
  virtual void recv(const View& v, int from) = 0;
  virtual void barrier() = 0;
  // Throws when this rank knows that another one, or the way to it, is lost. Not collective. (What is queued on a
  // device returns before it is done: a step asks here before it believes its results.)
  virtual void check_health() {}
  // Ranks with equal color form a group, ordered by their rank here.
  virtual std::unique_ptr<Comm> split(int color) = 0;
  // Seconds that this rank has spent inside blocking calls and wait() of this communicator, since it was made.
  virtual double blocked_seconds() const { return 0; }
  // Ends all ranks of the job. Only main calls it.
  [[noreturn]] virtual void abort(int status) = 0;
};

std::unique_ptr<Comm> make_self();
// The world of the launcher (mpirun, srun --mpi=pmix), or self when started without one. Initialises MPI at first call.
std::unique_ptr<Comm> make_world();
// One rank a GPU, which this process has opened: device views go over NCCL, behind the kernels of `stream`
// (kernels::Table::native_stream), host views over `host`, which must outlive it. Collective over host. waiting
// (kernels::cuda_wait_seconds): how long this process has been waiting for its GPU; after SPN_RANK_TIMEOUT seconds of
// it (600, 0: never) another rank counts as lost, and the wait ends.
std::unique_ptr<Comm> make_nccl(Comm& host, void* stream, std::function<double()> waiting);
// Names and versions of the libraries, for --version.
std::string mpi_library();
std::string nccl_library();

// For parallel HDF5 only: the MPI_Comm behind a communicator as an opaque pointer, null for `self`.
void* native_mpi_comm(const Comm& comm);

// Every rank's bytes, on every rank, in rank order (unequal lengths allowed).
std::vector<std::string> all_gather_strings(Comm& comm, const std::string& mine);
// True on all ranks when it is true on any.
bool any(Comm& comm, bool mine);

}  // namespace spn::dist
