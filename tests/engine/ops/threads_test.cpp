// Sizes large enough for several threads: the same result as on one thread, and the same bits every time.
#include <gtest/gtest.h>
#include <omp.h>

#include "engine/ops/attention.h"
#include "engine/ops/cross_entropy.h"
#include "engine/ops/dropout.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/index.h"
#include "engine/ops/matmul.h"
#include "engine/ops/norm.h"
#include "engine/ops/reduce.h"
#include "engine/ops/shape.h"
#include "tests/engine/ops/op_list.h"
#include "tests/support/tensors.h"

namespace spn::test {
namespace {

using namespace ops;  // NOLINT

const std::vector<OpCase>& large() {
  static const ops::DropoutKey key{.seed = 9, .layer = 2, .p = 0.1};
  static const std::vector<OpCase> list = {
      {"add_row", {{301, 257}, {257}}, [](const Vars& v) { return add(v[0], v[1]); }, -1, 1, 301},
      {"gelu", {{301, 257}}, [](const Vars& v) { return gelu(v[0]); }},
      {"transposed_copy", {{129, 11, 97}}, [](const Vars& v) { return contiguous(transpose(v[0], 0, 2)); }},
      {"sum_all", {{301, 257}}, [](const Vars& v) { return sum(v[0]); }, -1, 1, 77357},
      {"sum_strided",
       {{301, 257}},
       [](const Vars& v) { return sum(transpose(narrow(v[0], 1, 1, 255), 0, 1)); },
       -1,
       1,
       77357},
      {"sum_rows", {{301, 257}}, [](const Vars& v) { return sum(v[0], {1}); }, -1, 1, 257},
      {"sum_columns", {{1301, 65}}, [](const Vars& v) { return sum(v[0], {0}); }, -1, 1, 1301},
      {"linear",
       {{301, 65}, {129, 65}, {129}},
       [](const Vars& v) { return linear(v[0], v[1], v[2], Activation::gelu); },
       -1,
       1,
       301},
      {"matmul_batch", {{17, 33, 40}, {17, 40, 35}}, [](const Vars& v) { return matmul(v[0], v[1]); }, -1, 1, 40},
      {"layer_norm",
       {{1001, 129}, {129}, {129}},
       [](const Vars& v) { return layer_norm(v[0], v[1], v[2], 1e-5); },
       -1,
       1,
       1001},
      {"add_layer_norm",
       {{1001, 129}, {1001, 129}, {129}, {129}, {129}},
       [](const Vars& v) { return add_layer_norm(v[0], v[1], v[2], v[3], v[4], 1e-5).normed; },
       -1,
       1,
       1001},
      {"softmax", {{1001, 129}}, [](const Vars& v) { return softmax(v[0]); }, -1, 1, 129},
      {"log_softmax", {{1001, 129}}, [](const Vars& v) { return log_softmax(v[0]); }, -1, 1, 129},
      {"l2_normalise", {{1001, 129}}, [](const Vars& v) { return l2_normalise(v[0]); }, -1, 1, 129},
      {"dropout", {{65, 3000}}, [](const Vars& v) { return dropout(v[0], key); }},
      {"gather_rows",
       {{301, 257}},
       [](const Vars& v) {
         std::vector<std::int64_t> i(500);
         for (std::size_t k = 0; k < i.size(); ++k) i[k] = static_cast<std::int64_t>(k * k % 301);
         return gather_rows(v[0], Tensor::from(i, {500}));
       }},
      {"self_attention", {{33, 17, 3 * 4 * 32}}, [](const Vars& v) { return self_attention(v[0], 4, key); }, -1, 1, 64},
      {"cross_entropy",
       {{301, 257}},
       [](const Vars& v) { return cross_entropy(v[0], Tensor::full({301}, 256, DType::i64)); },
       -1,
       1,
       257},
  };
  return list;
}

class Threads : public testing::TestWithParam<OpCase> {
 protected:
  // Value and gradients, one after the other.
  static std::vector<Tensor> run(const OpCase& op, int threads) {
    const int before = omp_get_max_threads();
    omp_set_num_threads(threads);
    Vars v;
    for (std::size_t i = 0; i < op.inputs.size(); ++i) v.emplace_back(random(op.inputs[i], 20 + i, DType::f32), true);
    const Var y = op.f(v);
    backward({y}, {random(y.shape(), 5, DType::f32)});
    omp_set_num_threads(before);
    std::vector<Tensor> all{y.value()};
    for (const Var& leaf : v) all.push_back(leaf.grad());
    return all;
  }
};

TEST_P(Threads, ChangeNothingButTheOrderOfSums) {
  const OpCase& op = GetParam();
  const auto one = run(op, 1), three = run(op, 3), again = run(op, 3);
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_TRUE(close(three[i], one[i], tolerance(DType::f32, op.reduction))) << "tensor " << i;
    EXPECT_TRUE(close(again[i], three[i], {0, 0})) << "tensor " << i << ": not the same from run to run";
  }
}

INSTANTIATE_TEST_SUITE_P(Large, Threads, testing::ValuesIn(large()), [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace spn::test
