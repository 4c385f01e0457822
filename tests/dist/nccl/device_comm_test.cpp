// NCCL over memory of GPUs: every collective against what each rank can compute alone, and what becomes of a rank that
// never comes. Ranks that share a GPU are hosts of their own to NCCL and talk over sockets.
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/core/stopwatch.h"
#include "engine/dist/comm.h"
#include "kernels/devices.h"
#include "kernels/table.h"
#include "tests/support/environment.h"
#include "tests/support/tensors.h"
#include "tests/support/world.h"

namespace spn::dist {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};

class DeviceComm : public testing::Test {
 protected:
  // Skips where there is no GPU or one rank; with SPN_REQUIRE_CUDA=1 that is a failure.
  void SetUp() override {
    const int gpus = kernels::cuda_device_count();
    if (gpus == 0 || world.size() < 2) {
      const char* required = std::getenv("SPN_REQUIRE_CUDA");
      if (required != nullptr && std::string(required) == "1") FAIL() << "expected a GPU and two ranks";
      GTEST_SKIP() << "no GPU, or one rank";
    }
    if (gpus < world.size()) {
      setenv("NCCL_HOSTID", fmt::format("rank{}", world.rank()).c_str(), 1);
      setenv("NCCL_SOCKET_IFNAME", "lo", 0);
      setenv("NCCL_NET", "Socket", 0);
      for (const char* way : {"NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE", "NCCL_IB_DISABLE"}) setenv(way, "1", 0);
    }
    kernels::open_cuda_device(gpus < world.size() ? 0 : world.rank());
    comm = opened();
  }
  std::unique_ptr<Comm> opened() {
    return make_nccl(world, kernels::table_for(kGpu).native_stream(), kernels::cuda_wait_seconds);
  }
  // value(rank, i) = 100 rank + i, on this rank's GPU.
  Tensor mine(std::int64_t n, DType dtype) const {
    std::vector<double> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(value(world.rank(), i, dtype));
    return Tensor::from(v, {n}).to(dtype).to(kGpu);
  }
  static double value(int rank, std::int64_t i, DType dtype) {
    return dtype == DType::u8 ? static_cast<double>(rank * 3 + i % 50) : static_cast<double>(rank * 100 + i);
  }
  static void expect_values(const Tensor& got, const std::function<double(std::int64_t)>& want) {
    const Tensor host = got.to(Device{}).to(DType::f64);
    for (std::int64_t i = 0; i < host.numel(); ++i) ASSERT_EQ(host.data<double>()[i], want(i)) << "element " << i;
  }
  static void wait() { kernels::table_for(kGpu).sync(); }

  Comm& world = test::world();
  std::unique_ptr<Comm> comm;
};

TEST_F(DeviceComm, SumsMaximaAndMinima) {
  const int ranks = comm->size();
  for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8})
    for (const std::int64_t n : {1, 7, 4099}) {
      SCOPED_TRACE(fmt::format("{} of {}", n, name_of(dtype)));
      const Tensor sum = mine(n, dtype), most = mine(n, dtype), least = mine(n, dtype);
      comm->all_reduce(sum);
      comm->all_reduce(most, ReduceOp::max);
      comm->all_reduce(least, ReduceOp::min);
      expect_values(sum, [&](std::int64_t i) {
        double s = 0;
        for (int r = 0; r < ranks; ++r) s += value(r, i, dtype);
        return s;
      });
      expect_values(most, [&](std::int64_t i) { return value(ranks - 1, i, dtype); });
      expect_values(least, [&](std::int64_t i) { return value(0, i, dtype); });
    }
  EXPECT_THROW(comm->all_reduce(mine(4, DType::bf16)), Error);
}

TEST_F(DeviceComm, GathersScattersBroadcasts) {
  const int ranks = comm->size();
  const Tensor part = mine(6, DType::f32).reshape({3, 2});
  const Tensor all = Tensor::zeros({3 * ranks, 2}, DType::f32, kGpu), back = Tensor::zeros({3, 2}, DType::f32, kGpu);
  comm->all_gather(part, all);
  comm->reduce_scatter(all, back);
  expect_values(all.reshape({-1}), [](std::int64_t i) { return value(static_cast<int>(i / 6), i % 6, DType::f32); });
  expect_values(back.reshape({-1}), [&](std::int64_t i) { return ranks * value(world.rank(), i, DType::f32); });
  const Tensor word = mine(33, DType::bf16);
  comm->broadcast(word, ranks - 1);
  const Tensor last = Tensor::from(std::vector<double>{100.0 * (ranks - 1) + 32}, {1}).to(DType::bf16).to(DType::f64);
  EXPECT_EQ(word.to(Device{}).to(DType::f64).data<double>()[32], last.data<double>()[0]);
}

TEST_F(DeviceComm, SendsAndReceives) {
  const Tensor word = mine(1000, DType::f64);
  if (world.rank() == 0) comm->send(word, 1);
  if (world.rank() == 1) comm->recv(word, 0);
  wait();
  if (world.rank() == 1) expect_values(word, [](std::int64_t i) { return value(0, i, DType::f64); });
}

TEST_F(DeviceComm, SumsBesideOtherCollectives) {
  comm->prepare_begin();
  const Tensor large = Tensor::full({1 << 20}, 1, DType::f32, kGpu), small = Tensor::full({5}, 2, DType::f32, kGpu);
  for (int turn = 0; turn < 3; ++turn) {
    const auto first = comm->begin_all_reduce(large);
    comm->all_reduce(small);
    first->wait();
  }
  const double ranks = comm->size();
  expect_values(large, [&](std::int64_t) { return ranks * ranks * ranks; });
  expect_values(small, [&](std::int64_t) { return 2 * ranks * ranks * ranks; });
}

TEST_F(DeviceComm, SplitsIntoGroups) {
  const auto alone = comm->split(world.rank());
  EXPECT_EQ(alone->size(), 1);
  const Tensor x = mine(3, DType::f32);
  alone->all_reduce(x);
  expect_values(x, [&](std::int64_t i) { return value(world.rank(), i, DType::f32); });
  const auto together = comm->split(0);
  const Tensor one = Tensor::full({}, 1, DType::f32, kGpu);
  together->all_reduce(one);
  EXPECT_EQ(one.to(Device{}).item(), comm->size());
}

TEST_F(DeviceComm, HostViewsGoOverTheHost) {
  std::int64_t v = world.rank();
  comm->all_reduce(host_view(&v, {1}), ReduceOp::max);
  EXPECT_EQ(v, comm->size() - 1);
}

// Rank 0 sums with others that never do: plainly, and as a captured step is replayed, which holds the communicator.
TEST_F(DeviceComm, ARankThatNeverComesIsAnErrorNotAHang) {
  comm.reset();
  const kernels::Table& gpu = kernels::table_for(kGpu);
  for (const bool captured : {false, true}) {
    SCOPED_TRACE(captured ? "captured" : "plain");
    auto short_lived = [&] {
      const test::ScopedVariable soon("SPN_RANK_TIMEOUT", "3");
      return opened();
    }();
    const Tensor x = mine(1000, DType::f32);
    short_lived->all_reduce(x);
    wait();
    void* graph = nullptr;
    if (captured) {
      gpu.capture_begin();
      short_lived->all_reduce(x);
      graph = gpu.capture_end();
    }
    if (world.rank() == 0) {
      const Stopwatch watch;
      if (captured)
        gpu.replay(graph);
      else
        short_lived->all_reduce(x);
      try {
        wait();
        short_lived->check_health();
        ADD_FAILURE() << "expected a throw";
      } catch (const Error& e) {
        EXPECT_NE(std::string(e.what()).find("SPN_RANK_TIMEOUT"), std::string::npos) << e.what();
      }
      EXPECT_THROW(short_lived->all_reduce(x), Error);
      EXPECT_LT(watch.seconds(), 60);
    }
    if (graph != nullptr) gpu.drop_graph(graph);
    if (world.rank() == 0) short_lived.reset();
    world.barrier();
  }
}

}  // namespace
}  // namespace spn::dist
