// What the emulated device's communicator (tests/support/emulator/nccl.h) promises beyond NCCL's own tests
// (tests/dist/nccl), which run over it too: sums beside the kernels come early or late, and what a GPU or a captured
// step would not forgive is an error.
#include <gtest/gtest.h>

#include "engine/dist/comm.h"
#include "kernels/table.h"
#include "tests/support/emulator/emulator.h"
#include "tests/support/emulator/nccl.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"
#include "tests/support/world.h"

namespace spn::emulator {
namespace {

constexpr Device kGpu{DeviceType::cuda, 0};
using test::error_of;
using test::has;

class EmulatedNccl : public testing::Test {
 protected:
  EmulatedNccl() : comm(dist::make_nccl(test::world(), nullptr, {})) { comm->prepare_begin(); }
  ~EmulatedNccl() override {
    set_side(Side::early);
    set_polls(-1);
  }
  static Tensor filled(double value, DType dtype = DType::f32) { return Tensor::full({3}, value, dtype, kGpu); }
  static double first(const Tensor& t) { return t.to(Device{}).to_vector<double>()[0]; }
  // What captured work does when it is replayed.
  template <class F>
  static void replayed(F&& work) {
    const kernels::Table& table = kernels::table_for(kGpu);
    table.capture_begin();
    std::string error;
    try {
      work();
    } catch (const Error& e) {
      error = e.what();
    }
    void* graph = table.capture_end();
    if (error.empty()) table.replay(graph);
    table.drop_graph(graph);
    if (!error.empty()) throw Error(ErrorKind::internal, "captured", error);
  }
  std::unique_ptr<dist::Comm> comm;
  const double ranks = test::world().size();
};

// A kernel that writes into a sum under way is seen in one of the two: none may.
TEST_F(EmulatedNccl, SumsComeAsEarlyOrAsLateAsTheyMay) {
  for (const Side side : {Side::early, Side::late})
    for (const bool captured : {false, true}) {
      SCOPED_TRACE(fmt::format("{} {}", side == Side::early ? "early" : "late", captured ? "captured" : "plain"));
      set_side(side);
      const Tensor a = filled(1), b = filled(10);
      const auto work = [&] {
        const auto of_a = comm->begin_all_reduce(a), of_b = comm->begin_all_reduce(b);
        EXPECT_FALSE(of_b->test());
        a.fill(5);
        of_b->wait();  // behind a's
        EXPECT_TRUE(of_b->test());
        b.fill(7);
      };
      captured ? replayed(work) : work();
      EXPECT_EQ(first(a), side == Side::early ? 5 : 5 * ranks);
      EXPECT_EQ(first(b), 7);
    }
}

TEST_F(EmulatedNccl, ASumThatNobodyAwaitsStillComes) {
  set_side(Side::late);
  const Tensor a = filled(2);
  comm->begin_all_reduce(a).reset();
  EXPECT_EQ(first(a), 2 * ranks);
}

TEST_F(EmulatedNccl, SaysNoAsOftenAsItIsTold) {
  set_side(Side::late);
  const Tensor a = filled(2);
  const auto sum = comm->begin_all_reduce(a);
  set_polls(2);
  for (int poll = 0; poll < 3; ++poll) EXPECT_EQ(sum->test(), poll == 2);
  EXPECT_EQ(first(a), 2 * ranks);
}

TEST_F(EmulatedNccl, ACapturedStepTalksOverTheDeviceAlone) {
  std::int64_t v = 1;
  const View host = host_view(&v, {1});
  const auto refused = [&](auto&& f) {
    EXPECT_PRED2(has, error_of(ErrorKind::internal, [&] { replayed(f); }), "talks over the host");
  };
  refused([&] { comm->all_reduce(host); });
  refused([&] { comm->barrier(); });
  refused([&] { comm->prepare_begin(); });
  refused([&] { comm->split(0); });
  EXPECT_EQ(v, 1);
}

TEST_F(EmulatedNccl, ASumStaysInsideItsCapture) {
  const Tensor a = filled(1);
  set_side(Side::late);
  std::unique_ptr<dist::Pending> sum = comm->begin_all_reduce(a);
  EXPECT_PRED2(has, error_of(ErrorKind::internal, [&] { replayed([&] { sum->wait(); }); }),
               "begun outside a captured step and awaited inside it");
  comm->begin_all_reduce(a)->wait();
  replayed([&] { sum = comm->begin_all_reduce(a); });
  EXPECT_PRED2(has, error_of(ErrorKind::internal, [&] { sum->wait(); }),
               "begun inside a captured step and awaited outside it");
}

// One that is begun before a capture and still under way would come along with those inside.
TEST_F(EmulatedNccl, NoSumSlipsIntoACapture) {
  const Tensor a = filled(1);
  set_side(Side::late);
  const auto before = comm->begin_all_reduce(a);
  EXPECT_PRED2(has, error_of(ErrorKind::internal, [&] { replayed([&] { comm->begin_all_reduce(a)->wait(); }); }),
               "begun outside a captured step and awaited inside it");
}

TEST_F(EmulatedNccl, TakesTheDevicesMemoryOfKnownTypes) {
  const Tensor host = Tensor::full({3}, 1), device = filled(1);
  View wrong = host;
  wrong.device = kGpu;
  EXPECT_PRED2(has, error_of(ErrorKind::internal, [&] { comm->all_reduce(wrong); }), "expected memory of the device");
  View longer = device;
  longer.shape[0] = 5;
  EXPECT_PRED2(has, error_of(ErrorKind::internal, [&] { comm->begin_all_reduce(longer); }),
               "expected memory of the device");
  EXPECT_PRED2(has, error_of(ErrorKind::internal, [&] { comm->begin_all_reduce(filled(1, DType::bf16)); }), "bf16");
  const auto fresh = dist::make_nccl(test::world(), nullptr, {});
  EXPECT_PRED2(has, error_of(ErrorKind::internal, [&] { fresh->begin_all_reduce(device); }), "prepare_begin");
}

}  // namespace
}  // namespace spn::emulator
