// A step that can be computed, and not captured: there is no memory for a graph's own blocks.
#include <limits>

#include "engine/core/out_of_memory.h"
#include "engine/train/step_graph.h"
#include "tests/cuda/twin.h"
#include "tests/support/emulator/emulator.h"

namespace spn::train {
namespace {

class CaptureWithoutMemory : public test::Twin {
 protected:
  void TearDown() override { emulator::limit_captures(std::numeric_limits<std::size_t>::max()); }

  // One update: value += 1 through a tensor of 4 KiB, and the host's counter moves.
  void step() {
    ++bodies;
    *counter.data<std::int64_t>() += 1;
    const Tensor one = Tensor::full({1024}, 1, DType::f32, test::kGpu);
    kernels::run<&kernels::Table::binary>({.op = kernels::BinaryOp::add, .a = value, .b = one, .y = value});
  }
  double now() const { return value.to(Device{}).narrow(0, 1000, 1).item(); }

  int bodies = 0;
  Tensor value = Tensor::zeros({1024}, DType::f32, test::kGpu);
  Tensor counter = Tensor::zeros({}, DType::i64);  // on the host
};

TEST_F(CaptureWithoutMemory, GoesOnPlainly) {
  nn::Registry registry(7);
  counter = registry.root().buffer("num_batches_tracked", {}, 0, DType::i64);
  StepGraph graph(registry, test::kGpu, true);
  emulator::limit_captures(1024);
  const int before = emulator::graphs();
  for (int i = 1; i <= 5; ++i) {
    graph.run([&] { step(); });
    EXPECT_EQ(now(), i);  // nothing of the step that could not be captured is done, or done twice
    EXPECT_EQ(*counter.data<std::int64_t>(), i);
    EXPECT_FALSE(graph.replays());
    EXPECT_EQ(emulator::graphs(), before);
  }
  EXPECT_EQ(bodies, 6);  // five steps, and the one that was given up
}

TEST_F(CaptureWithoutMemory, CapturesWhereThereIsRoom) {
  nn::Registry registry(7);
  counter = registry.root().buffer("num_batches_tracked", {}, 0, DType::i64);
  StepGraph graph(registry, test::kGpu, true);
  for (int i = 1; i <= 5; ++i) {
    graph.run([&] { step(); });
    EXPECT_EQ(now(), i);
    EXPECT_EQ(*counter.data<std::int64_t>(), i);
  }
  EXPECT_TRUE(graph.replays());
  EXPECT_EQ(bodies, 3);
}

TEST_F(CaptureWithoutMemory, SeveralRanksSayWhatToDo) {
  const nn::Registry registry(7);
  StepGraph graph(registry, test::kGpu, true, false);
  for (int i = 0; i < StepGraph::kPlain; ++i) graph.run([&] { step(); });
  emulator::limit_captures(1024);
  try {
    graph.run([&] { step(); });
    FAIL() << "expected a throw";
  } catch (const OutOfMemory& e) {
    EXPECT_NE(std::string(e.what()).find("--cuda-graph off"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace spn::train
