// Every rung of every ladder against the CPU's entry, at sizes on and off what its blocks take.
#include "kernels/ladder/ladder.h"

#include <set>

#include "kernels/ladder/adamw.h"
#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using Use = Operand::Use;

class CudaLadder : public test::Twin {
 protected:
  static Tensor given(const Operand& o) {
    std::vector<double> v;
    for (std::size_t i = 0; i < static_cast<std::size_t>(o.shape.numel()); ++i)
      v.push_back(o.values[i % o.values.size()]);
    return Tensor::from(v, o.shape);
  }
  static std::vector<Tensor> make(const std::vector<Operand>& operands, Device device) {
    std::vector<Tensor> t;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      const Operand& o = operands[i];
      if (o.use == Use::out)
        t.push_back(poisoned({.shape = o.shape, .dtype = o.dtype}, device));
      else if (!o.values.empty())
        t.push_back(given(o).to(o.dtype).to(device));
      else
        t.push_back(test::random(o.shape, i, o.dtype, o.low, o.high).to(device));
    }
    return t;
  }
  static std::vector<Tensor> after(const std::vector<Operand>& operands, Device device, void (*work)(Views)) {
    std::vector<Tensor> t = make(operands, device);
    std::vector<View> views(t.begin(), t.end());
    work(views);
    return t;
  }
};

TEST_F(CudaLadder, EveryRungIsRight) {
  for (const Ladder& l : ladders())
    for (const std::int64_t elements : {1, 5000, 20000}) {
      const std::vector<Operand> operands = l.operands(elements);
      const std::vector<Tensor> want = after(operands, Device{}, l.shipped);
      std::vector<Rung> rungs(rungs_of(l.name).begin(), rungs_of(l.name).end());
      EXPECT_FALSE(rungs.empty()) << l.name;
      rungs.push_back({"shipped", l.shipped});
      for (const Rung& rung : rungs)
        for (int order = 0; order < test::device_orders(); ++order) {
          test::use_order(order);
          const std::vector<Tensor> got = after(operands, test::kGpu, rung.run);
          for (std::size_t i = 0; i < operands.size(); ++i) {
            const bool written = is_written(operands[i]);
            EXPECT_TRUE(
                test::close(got[i].to(Device{}), want[i],
                            written ? test::tolerance(operands[i].worked, operands[i].terms) : test::Tolerance{0, 0}))
                << l.name << ", rung '" << rung.name << "', " << operands[i].name << ", order " << order;
          }
        }
      test::use_order(0);
    }
}

TEST_F(CudaLadder, NamesAreUnique) {
  std::set<std::string> names;
  for (const Ladder& l : ladders()) EXPECT_TRUE(names.insert(l.name).second) << l.name;
  EXPECT_TRUE(rungs_of("no such kernel").empty());
}

TEST_F(CudaLadder, BytesCountWhatIsReadAndWrittenTwice) {
  const Operand operands[] = {{.use = Use::in, .dtype = DType::bf16, .shape = {3}, .values = {}},
                              {.use = Use::out, .dtype = DType::f32, .shape = {5}, .values = {}},
                              {.use = Use::in_out, .dtype = DType::f64, .shape = {7}, .values = {}},
                              {.use = Use::spare, .dtype = DType::f64, .shape = {9}, .values = {}}};
  EXPECT_EQ(least_bytes(operands), 3 * 2 + 5 * 4 + 2 * 7 * 8);
}

// As the model has them: every element once, and the proportions of large and small.
TEST_F(CudaLadder, AdamWHasTheModelsParameters) {
  std::int64_t count = 0, elements = 0;
  for (const SizeCount& s : kModelSizes) {
    count += s.count;
    elements += s.count * s.elements;
  }
  EXPECT_EQ(count, 323);
  EXPECT_EQ(elements, kModelParameters);
  for (const std::int64_t n : {std::int64_t{1}, std::int64_t{5000}, kModelParameters}) {
    std::int64_t at = 0, most = 0, parts = 0;
    over_parameters(n, [&](std::int64_t begin, std::int64_t end) {
      EXPECT_EQ(begin, at);
      EXPECT_GT(end, begin);
      at = end;
      most = std::max(most, end - begin);
      ++parts;
    });
    EXPECT_EQ(at, n);
    if (n == kModelParameters) {
      EXPECT_EQ(parts, 323);
      EXPECT_EQ(most, 8388608);
    }
  }
}

}  // namespace
}  // namespace spn::kernels
