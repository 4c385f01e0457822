// `mpi`: collectives over host memory. The only file of engine/ that includes mpi.h.
#include <mpi.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/stopwatch.h"
#include "engine/dist/comm.h"
#include "engine/dist/view_check.h"

namespace spn::dist {
namespace {

// Every MPI return is checked: errors are set to return instead of ending the job without a word.
void must(int code, const char* where) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail(where, "MPI reports: {}", std::string_view(text, static_cast<std::size_t>(length)));
}

MPI_Datatype type_of(DType t, const char* where) {
  switch (t) {
    case DType::f32: return MPI_FLOAT;
    case DType::f64: return MPI_DOUBLE;
    case DType::i32: return MPI_INT32_T;
    case DType::i64: return MPI_INT64_T;
    case DType::u8: return MPI_UINT8_T;
    case DType::bf16: break;
  }
  fail(where, "dtype {} has no MPI type", name_of(t));
}

MPI_Op op_of(ReduceOp op) { return op == ReduceOp::sum ? MPI_SUM : op == ReduceOp::max ? MPI_MAX : MPI_MIN; }

// MPI 3 counts are ints: longer views go in pieces of at most this many elements.
constexpr std::int64_t kPiece = std::int64_t{1} << 30;

template <class F>
void in_pieces(std::int64_t n, F&& f) {
  for (std::int64_t at = 0; at < n; at += kPiece) f(at, static_cast<int>(std::min(kPiece, n - at)));
}

std::byte* at(const View& v, std::int64_t element) {
  return static_cast<std::byte*>(v.data) + static_cast<std::size_t>(element) * size_of(v.dtype);
}

int count_of(const char* where, std::int64_t n) {
  check(n <= INT_MAX, where, "expected at most {} elements a rank, got {}; gather fewer rows at once", INT_MAX, n);
  return static_cast<int>(n);
}

// Adds the time of its scope to a counter.
class Blocked {
 public:
  explicit Blocked(double& total) : total_(total) {}
  ~Blocked() { total_ += watch_.seconds(); }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;

 private:
  double& total_;
  Stopwatch watch_;
};

class MpiPending final : public Pending {
 public:
  MpiPending(std::vector<MPI_Request> requests, std::shared_ptr<double> blocked)
      : requests_(std::move(requests)), blocked_(std::move(blocked)) {}
  ~MpiPending() override {
    // A throw between begin and wait: the buffer must outlive the requests, so finish them.
    if (!requests_.empty()) MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
  }
  bool test() override {
    if (requests_.empty()) return true;
    int done = 0;
    must(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE), "all_reduce");
    if (done) requests_.clear();
    return done != 0;
  }
  void wait() override {
    if (requests_.empty()) return;
    const Blocked timed(*blocked_);
    must(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE), "all_reduce");
    requests_.clear();
  }

 private:
  std::vector<MPI_Request> requests_;
  std::shared_ptr<double> blocked_;  // shared: the communicator may be gone first
};

class Mpi final : public Comm {
 public:
  // Owns both communicators: `comm_` for blocking calls, `async_` so that collectives in flight cannot mix with them.
  Mpi(MPI_Comm comm, bool owns_runtime) : comm_(comm), owns_runtime_(owns_runtime) {
    must(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "mpi");
    must(MPI_Comm_dup(comm_, &async_), "mpi");
    must(MPI_Comm_set_errhandler(async_, MPI_ERRORS_RETURN), "mpi");
    must(MPI_Comm_rank(comm_, &rank_), "mpi");
    must(MPI_Comm_size(comm_, &size_), "mpi");
  }
  Mpi(const Mpi&) = delete;
  Mpi& operator=(const Mpi&) = delete;
  ~Mpi() override {
    MPI_Comm_free(&async_);
    MPI_Comm_free(&comm_);
    if (owns_runtime_) MPI_Finalize();
  }

  MPI_Comm native() const { return comm_; }
  MPI_Comm* native_address() { return &comm_; }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  const char* name() const override { return "mpi"; }

  void all_reduce(const View& v, ReduceOp op) override {
    require_host("all_reduce", v);
    if (v.dtype == DType::bf16) return all_reduce_bf16(v, op);
    const Blocked timed(*blocked_);
    in_pieces(v.numel(), [&](std::int64_t i, int n) {
      must(MPI_Allreduce(MPI_IN_PLACE, at(v, i), n, type_of(v.dtype, "all_reduce"), op_of(op), comm_), "all_reduce");
    });
  }

  std::unique_ptr<Pending> begin_all_reduce(const View& v) override {
    require_host("begin_all_reduce", v);
    std::vector<MPI_Request> requests;
    in_pieces(v.numel(), [&](std::int64_t i, int n) {
      requests.push_back(MPI_REQUEST_NULL);
      must(MPI_Iallreduce(MPI_IN_PLACE, at(v, i), n, type_of(v.dtype, "begin_all_reduce"), MPI_SUM, async_,
                          &requests.back()),
           "begin_all_reduce");
    });
    return std::make_unique<MpiPending>(std::move(requests), blocked_);
  }

  void all_gather(const View& in, const View& out) override {
    const Blocked timed(*blocked_);
    require_rows("all_gather", in, out, size_);
    const int bytes = count_of("all_gather", static_cast<std::int64_t>(in.bytes()));
    must(MPI_Allgather(in.data, bytes, MPI_BYTE, out.data, bytes, MPI_BYTE, comm_), "all_gather");
  }

  void reduce_scatter(const View& in, const View& out) override {
    const Blocked timed(*blocked_);
    require_rows("reduce_scatter", out, in, size_);
    must(MPI_Reduce_scatter_block(in.data, out.data, count_of("reduce_scatter", out.numel()),
                                  type_of(in.dtype, "reduce_scatter"), MPI_SUM, comm_),
         "reduce_scatter");
  }

  void broadcast(const View& v, int root) override {
    const Blocked timed(*blocked_);
    require_host("broadcast", v);
    in_pieces(static_cast<std::int64_t>(v.bytes()), [&](std::int64_t i, int n) {
      must(MPI_Bcast(static_cast<std::byte*>(v.data) + i, n, MPI_BYTE, root, comm_), "broadcast");
    });
  }

  void send(const View& v, int to) override {
    const Blocked timed(*blocked_);
    require_host("send", v);
    in_pieces(static_cast<std::int64_t>(v.bytes()), [&](std::int64_t i, int n) {
      must(MPI_Send(static_cast<std::byte*>(v.data) + i, n, MPI_BYTE, to, 0, comm_), "send");
    });
  }

  void recv(const View& v, int from) override {
    const Blocked timed(*blocked_);
    require_host("recv", v);
    in_pieces(static_cast<std::int64_t>(v.bytes()), [&](std::int64_t i, int n) {
      must(MPI_Recv(static_cast<std::byte*>(v.data) + i, n, MPI_BYTE, from, 0, comm_, MPI_STATUS_IGNORE), "recv");
    });
  }

  void barrier() override {
    const Blocked timed(*blocked_);
    must(MPI_Barrier(comm_), "barrier");
  }
  double blocked_seconds() const override { return *blocked_; }

  std::unique_ptr<Comm> split(int color) override {
    check(color >= 0, "split", "expected a color of at least 0, got {}", color);
    MPI_Comm part = MPI_COMM_NULL;
    must(MPI_Comm_split(comm_, color, rank_, &part), "split");
    return std::make_unique<Mpi>(part, false);
  }

  void abort(int status) override {
    MPI_Abort(comm_, status);
    std::_Exit(status);
  }

 private:
  static void require_host(const char* where, const View& v) {
    require_contiguous(where, v);
    check(v.device.type == DeviceType::cpu, where, "expected host memory, got {}", to_string(v.device));
  }

  void all_reduce_bf16(const View& v, ReduceOp op) {
    std::vector<float> wide(static_cast<std::size_t>(v.numel()));
    auto* p = v.ptr<bf16>();
    for (std::size_t i = 0; i < wide.size(); ++i) wide[i] = static_cast<float>(p[i]);
    all_reduce(host_view(wide.data(), {v.numel()}), op);
    for (std::size_t i = 0; i < wide.size(); ++i) p[i] = bf16(wide[i]);
  }

  MPI_Comm comm_ = MPI_COMM_NULL, async_ = MPI_COMM_NULL;
  bool owns_runtime_ = false;
  int rank_ = 0, size_ = 1;
  std::shared_ptr<double> blocked_ = std::make_shared<double>(0);
};

// Set by mpirun (Open MPI, MPICH's hydra) and by srun with a PMI plugin.
bool has_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"})
    if (std::getenv(name) != nullptr) return true;
  return false;
}

}  // namespace

std::string mpi_library() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  must(MPI_Get_library_version(text, &length), "mpi_library");
  const std::string all(text, static_cast<std::size_t>(length));
  return all.substr(0, all.find_first_of(",\n"));
}

std::unique_ptr<Comm> make_world() {
  if (!has_launcher()) return make_self();
  int already = 0;
  MPI_Initialized(&already);
  if (!already) {
    int provided = 0;
    // FUNNELED: only the main thread talks to MPI; the loader's threads never do.
    must(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "mpi");
    check(provided >= MPI_THREAD_FUNNELED, "mpi", "expected thread level FUNNELED, got {}", provided);
  }
  MPI_Comm world = MPI_COMM_NULL;
  must(MPI_Comm_dup(MPI_COMM_WORLD, &world), "mpi");
  return std::make_unique<Mpi>(world, !already);
}

void* native_mpi_comm(const Comm& comm) {
  // dynamic_cast: the caller (data/h5) may hold either communicator
  auto* mpi = dynamic_cast<Mpi*>(const_cast<Comm*>(&comm));
  return mpi != nullptr ? mpi->native_address() : nullptr;
}

}  // namespace spn::dist
