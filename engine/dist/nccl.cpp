// `nccl`: collectives over device memory, queued behind the kernels of one stream; views in host memory go to the host
// communicator that it was made from. The only file that includes nccl.h.
#include <cuda_runtime.h>
#include <nccl.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "engine/core/stopwatch.h"
#include "engine/dist/comm.h"
#include "engine/dist/view_check.h"
#include "engine/dist/watch.h"

namespace spn::dist {
namespace {

constexpr double kStartLimit = 300;  // seconds to find the other ranks' GPUs
constexpr double kEndLimit = 10;     // and to part from them
// Blocks that sums of gradients may take. They run for long beside the backward pass, which needs the device more than
// they do, and beside the world's other sums, which must find room: 16 of an A100's 108 multiprocessors, an H100's 132.
constexpr int kSideBlocks = 16;

void must(cudaError_t status, const char* where) {
  if (status != cudaSuccess) fail(where, "CUDA: {}", cudaGetErrorString(status));
}

void must(ncclResult_t status, const char* where, ncclComm_t comm = nullptr) {
  if (status == ncclSuccess || status == ncclInProgress) return;
  const char* more = comm != nullptr ? ncclGetLastError(comm) : "";
  fail(where, "NCCL: {}{}{}; run with NCCL_DEBUG=WARN to see which rank and link", ncclGetErrorString(status),
       *more != 0 ? ": " : "", more);
}

ncclDataType_t type_of(DType t, const char* where) {
  switch (t) {
    case DType::f32: return ncclFloat32;
    case DType::f64: return ncclFloat64;
    case DType::i32: return ncclInt32;
    case DType::i64: return ncclInt64;
    case DType::u8: return ncclUint8;
    // its sums would be rounded at every hop
    case DType::bf16: fail(where, "sums of bf16 over ranks are not offered; widen to f32 first");
  }
  fail(where, "unknown dtype");
}

ncclRedOp_t op_of(ReduceOp op) { return op == ReduceOp::sum ? ncclSum : op == ReduceOp::max ? ncclMax : ncclMin; }

std::size_t count_of(const View& v) { return static_cast<std::size_t>(v.numel()); }
bool on_host(const View& v) { return v.device.type != DeviceType::cuda; }

// Two communicators are at work on one device at a time (Nccl::prepare_begin). Their kernels must start in one order on
// all ranks, or each could hold the place that the other waits for; the program's order is one, if NCCL keeps to it.
// NCCL before 2.26 cannot be told so. Before the first communicator: it is read once.
void keep_launch_order() {
  if (NCCL_VERSION_CODE >= NCCL_VERSION(2, 26, 0))
    setenv("NCCL_LAUNCH_ORDER_IMPLICIT", "1", 0);  // the user's own word stands
}

class Link {
 public:
  // max_blocks: how many of the device's blocks its kernels may take; 0: NCCL decides.
  Link(Comm& host, int device, int max_blocks = 0) : rank_(host.rank()) {
    must(cudaSetDevice(device), "nccl");
    keep_launch_order();
    ncclUniqueId id{};
    if (rank_ == 0) must(ncclGetUniqueId(&id), "nccl");
    host.broadcast(host_view(reinterpret_cast<std::uint8_t*>(&id), {static_cast<std::int64_t>(sizeof id)}), 0);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    if (max_blocks > 0) config.maxCTAs = max_blocks;
    try {
      must(ncclCommInitRankConfig(&comm_, host.size(), id, rank_, &config), "nccl");
      settle("nccl");
    } catch (...) {
      if (comm_ != nullptr) ncclCommAbort(comm_);
      throw;
    }
    // by value: a thread that ends the line may outlive this
    line_ = std::make_shared<WatchedComm>(
        [comm = comm_]() -> std::string {
          ncclResult_t state = ncclSuccess;
          if (ncclCommGetAsyncError(comm, &state) != ncclSuccess || state == ncclSuccess || state == ncclInProgress)
            return {};
          return fmt::format("NCCL says '{}'", ncclGetErrorString(state));
        },
        [comm = comm_, device] {
          cudaSetDevice(device);
          // Its kernels end as soon as this has begun; it returns when no captured step holds the communicator.
          ncclCommAbort(comm);
        });
  }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  ~Link() {
    if (line_->given_up()) return;
    ncclResult_t state = ncclCommFinalize(comm_);
    for (const Stopwatch watch; state == ncclInProgress && watch.seconds() < kEndLimit; std::this_thread::yield())
      if (ncclCommGetAsyncError(comm_, &state) != ncclSuccess) break;
    if (state == ncclSuccess)
      ncclCommDestroy(comm_);
    else
      ncclCommAbort(comm_);
  }

  const std::shared_ptr<WatchedComm>& line() const { return line_; }
  void check_health(const char* where) const { line_->check_health(where); }

  // Queues one operation and waits until NCCL has taken it.
  template <class F>
  void queue(const char* where, F&& f) {
    line_->use(where, [&] {
      must(f(comm_), where, comm_);
      settle(where);
    });
  }

 private:
  void settle(const char* where) {
    const Stopwatch watch;
    for (;;) {
      ncclResult_t state = ncclSuccess;
      must(ncclCommGetAsyncError(comm_, &state), where, comm_);
      if (state == ncclSuccess) return;
      must(state, where, comm_);
      if (line_) check_health(where);
      if (watch.seconds() > kStartLimit)
        fail(where, "rank {} has waited {} s for the other ranks' GPUs; see NCCL_DEBUG=INFO, NCCL_SOCKET_IFNAME", rank_,
             kStartLimit);
      std::this_thread::yield();
    }
  }

  int rank_;
  ncclComm_t comm_ = nullptr;
  std::shared_ptr<WatchedComm> line_;
};

struct Event {
  cudaEvent_t e = nullptr;
  Event() { must(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), "nccl"); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { cudaEventDestroy(e); }
};

// wait() makes the compute stream wait, never the host.
class NcclPending final : public Pending {
 public:
  NcclPending(std::unique_ptr<Event> done, cudaStream_t compute) : done_(std::move(done)), compute_(compute) {}
  // A throw between begin and wait: what comes after on the stream must still not overtake the sum.
  ~NcclPending() override {
    if (done_) cudaStreamWaitEvent(compute_, done_->e);
  }
  bool test() override { return !done_; }  // asking the event is not allowed while a step is captured
  void wait() override {
    if (!done_) return;
    must(cudaStreamWaitEvent(compute_, done_->e), "all_reduce");
    done_.reset();
  }

 private:
  std::unique_ptr<Event> done_;
  cudaStream_t compute_;
};

class Nccl final : public Comm {
 public:
  Nccl(Comm* host, std::unique_ptr<Comm> owned, cudaStream_t compute, std::function<double()> waiting)
      : host_(host != nullptr ? *host : *owned),
        owned_(std::move(owned)),
        compute_(compute),
        waiting_(std::move(waiting)) {
    must(cudaGetDevice(&device_), "nccl");
    link_ = std::make_unique<Link>(host_, device_);
    watch_ = std::make_unique<Watch>([this] { return std::max(waiting_ ? waiting_() : 0.0, parting()); },
                                     Watch::Limits{.wait = rank_timeout()});
    watch_->add(link_->line());
  }
  Nccl(const Nccl&) = delete;
  Nccl& operator=(const Nccl&) = delete;
  ~Nccl() override {
    since_ = Stopwatch();
    parting_ = true;
    cudaStreamSynchronize(compute_);
    if (side_ != nullptr) cudaStreamSynchronize(side_);
    watch_.reset();  // until here: a lost rank would keep the streams waiting
    side_link_.reset();
    link_.reset();
    if (side_ != nullptr) cudaStreamDestroy(side_);
  }

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  const char* name() const override { return "nccl"; }

  void all_reduce(const View& v, ReduceOp op) override {
    if (on_host(v)) return host_.all_reduce(v, op);
    require_contiguous("all_reduce", v);
    link_->queue("all_reduce", [&](ncclComm_t c) {
      return ncclAllReduce(v.data, v.data, count_of(v), type_of(v.dtype, "all_reduce"), op_of(op), c, compute_);
    });
  }

  // A communicator and a stream of their own: one communicator's operations wait for each other, on whatever streams
  // they are, and a batch norm's small sums would stand behind a bucket of gradients. Neither may keep the other from
  // ending: their kernels start in the program's order (keep_launch_order), and with kSideBlocks here both fit on the
  // device together.
  void prepare_begin() override {
    host_.prepare_begin();
    if (side_link_) return;
    if (side_ == nullptr) must(cudaStreamCreateWithFlags(&side_, cudaStreamNonBlocking), "nccl");
    side_link_ = std::make_unique<Link>(host_, device_, kSideBlocks);
    watch_->add(side_link_->line());
  }

  // Beside the kernels that come next.
  std::unique_ptr<Pending> begin_all_reduce(const View& v) override {
    if (on_host(v)) return host_.begin_all_reduce(v);
    require_contiguous("begin_all_reduce", v);
    check(side_link_ != nullptr, "begin_all_reduce", "prepare_begin was not called");
    const Event ready;
    must(cudaEventRecord(ready.e, compute_), "begin_all_reduce");
    must(cudaStreamWaitEvent(side_, ready.e), "begin_all_reduce");
    side_link_->queue("begin_all_reduce", [&](ncclComm_t c) {
      return ncclAllReduce(v.data, v.data, count_of(v), type_of(v.dtype, "begin_all_reduce"), ncclSum, c, side_);
    });
    auto done = std::make_unique<Event>();
    must(cudaEventRecord(done->e, side_), "begin_all_reduce");
    return std::make_unique<NcclPending>(std::move(done), compute_);
  }

  void all_gather(const View& in, const View& out) override {
    if (on_host(in)) return host_.all_gather(in, out);
    require_rows("all_gather", in, out, size());
    link_->queue("all_gather",
                 [&](ncclComm_t c) { return ncclAllGather(in.data, out.data, in.bytes(), ncclUint8, c, compute_); });
  }

  void reduce_scatter(const View& in, const View& out) override {
    if (on_host(in)) return host_.reduce_scatter(in, out);
    require_rows("reduce_scatter", out, in, size());
    link_->queue("reduce_scatter", [&](ncclComm_t c) {
      return ncclReduceScatter(in.data, out.data, count_of(out), type_of(in.dtype, "reduce_scatter"), ncclSum, c,
                               compute_);
    });
  }

  void broadcast(const View& v, int root) override {
    if (on_host(v)) return host_.broadcast(v, root);
    require_contiguous("broadcast", v);
    link_->queue("broadcast",
                 [&](ncclComm_t c) { return ncclBroadcast(v.data, v.data, v.bytes(), ncclUint8, root, c, compute_); });
  }

  void send(const View& v, int to) override {
    if (on_host(v)) return host_.send(v, to);
    require_contiguous("send", v);
    link_->queue("send", [&](ncclComm_t c) { return ncclSend(v.data, v.bytes(), ncclUint8, to, c, compute_); });
  }

  void recv(const View& v, int from) override {
    if (on_host(v)) return host_.recv(v, from);
    require_contiguous("recv", v);
    link_->queue("recv", [&](ncclComm_t c) { return ncclRecv(v.data, v.bytes(), ncclUint8, from, c, compute_); });
  }

  void barrier() override { host_.barrier(); }
  void check_health() override {
    link_->check_health("nccl");
    if (side_link_) side_link_->check_health("nccl");
  }
  double blocked_seconds() const override { return host_.blocked_seconds(); }
  std::unique_ptr<Comm> split(int color) override {
    return std::make_unique<Nccl>(nullptr, host_.split(color), compute_, waiting_);
  }
  void abort(int status) override { host_.abort(status); }

 private:
  // How long the last wait of all has taken so far.
  double parting() const { return parting_ ? since_.seconds() : 0; }

  Comm& host_;
  std::unique_ptr<Comm> owned_;
  cudaStream_t compute_, side_ = nullptr;
  std::function<double()> waiting_;
  int device_ = 0;
  Stopwatch since_;  // written before parting_
  std::atomic<bool> parting_ = false;
  std::unique_ptr<Link> link_, side_link_;  // side: from prepare_begin on, for begin_all_reduce
  std::unique_ptr<Watch> watch_;            // of both
};

}  // namespace

std::unique_ptr<Comm> make_nccl(Comm& host, void* stream, std::function<double()> waiting) {
  return std::make_unique<Nccl>(&host, nullptr, static_cast<cudaStream_t>(stream), std::move(waiting));
}

std::string nccl_library() {
  int v = 0;
  must(ncclGetVersion(&v), "nccl");
  return fmt::format("NCCL {}.{}.{}", v / 10000, v / 100 % 100, v % 100);
}

}  // namespace spn::dist
