// The rows of op_list.h.
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

namespace spn::test {

namespace {

ops::DropoutKey key(double p) { return {.seed = 5, .step = 3, .layer = 7, .first_sample = 100, .p = p}; }
Tensor rows(const std::vector<std::int64_t>& i) { return Tensor::from(i, {static_cast<std::int64_t>(i.size())}); }

}  // namespace

const std::vector<OpCase>& op_list() {
  using namespace ops;  // NOLINT
  static const std::vector<OpCase> list = {
      // elementwise: equal shapes, broadcasting from either side, in the middle, scalars, one element
      {"add", {{3, 17}, {3, 17}}, [](const Vars& v) { return add(v[0], v[1]); }},
      {"add_row", {{5, 3, 17}, {17}}, [](const Vars& v) { return add(v[0], v[1]); }, -1, 1, 15},
      {"sub_column", {{1, 17, 1}, {3, 17, 5}}, [](const Vars& v) { return sub(v[0], v[1]); }, -1, 1, 15},
      {"mul_scalar", {{}, {129}}, [](const Vars& v) { return mul(v[0], v[1]); }, -1, 1, 129},
      {"mul_outer", {{7, 1}, {1, 9}}, [](const Vars& v) { return mul(v[0], v[1]); }, -1, 1, 9},
      {"mul_itself", {{4, 5}}, [](const Vars& v) { return mul(v[0], v[0]); }},
      {"div_middle", {{3, 4, 5}, {3, 1, 5}}, [](const Vars& v) { return div(v[0], v[1]); }, 0.5, 2, 4},
      {"affine", {{3, 7}}, [](const Vars& v) { return affine(v[0], -2.5, 0.25); }},
      {"neg", {{129}}, [](const Vars& v) { return neg(v[0]); }},
      {"exp", {{3, 43}}, [](const Vars& v) { return exp(v[0]); }, -3, 3},
      {"log", {{3, 43}}, [](const Vars& v) { return log(v[0]); }, 0.3, 3},
      {"sqrt", {{3, 43}}, [](const Vars& v) { return sqrt(v[0]); }, 0.3, 3},
      {"square", {{1}}, [](const Vars& v) { return square(v[0]); }},
      {"relu", {{3, 43}}, [](const Vars& v) { return relu(v[0]); }, -1, 1, 1, true},
      {"gelu", {{3, 43}}, [](const Vars& v) { return gelu(v[0]); }, -4, 4, 4},
      {"tanh", {{3, 43}}, [](const Vars& v) { return tanh(v[0]); }, -2, 2, 4},
      {"sigmoid", {{3, 43}}, [](const Vars& v) { return sigmoid(v[0]); }, -3, 3, 4},
      {"clamp_max", {{3, 43}}, [](const Vars& v) { return clamp_max(v[0], 0.25); }, -1, 1, 1, true},
      // shape
      {"reshape",
       {{3, 4, 5}},
       [](const Vars& v) {
         return reshape(v[0], {5, -1});
       }},
      {"transpose", {{3, 4, 5}}, [](const Vars& v) { return transpose(v[0], 0, -1); }},
      {"permute",
       {{2, 3, 4, 5}},
       [](const Vars& v) {
         return permute(v[0], {2, 0, 3, 1});
       }},
      {"narrow", {{3, 7}}, [](const Vars& v) { return narrow(v[0], 1, 2, 3); }},
      {"select", {{3, 7, 2}}, [](const Vars& v) { return select(v[0], 1, 6); }},
      {"expand",
       {{3, 1}},
       [](const Vars& v) {
         return expand(v[0], {2, 3, 4});
       },
       -1,
       1,
       8},
      {"concat", {{3, 1, 2}, {3, 4, 2}, {3, 2, 2}}, [](const Vars& v) { return concat(v, 1); }},
      {"concat_same",
       {{2, 3}},
       [](const Vars& v) {
         return concat({v[0], v[0]}, -1);
       }},
      {"contiguous", {{3, 4}}, [](const Vars& v) { return contiguous(transpose(v[0], 0, 1)); }},
      // reduce: rows, columns, both, everything
      {"sum_all", {{3, 129}}, [](const Vars& v) { return sum(v[0]); }, -1, 1, 387},
      {"sum_rows", {{5, 129}}, [](const Vars& v) { return sum(v[0], {1}); }, -1, 1, 129},
      {"sum_columns",
       {{17, 5, 67}},
       [](const Vars& v) {
         return sum(v[0], {0, 1}, true);
       },
       -1,
       1,
       85},
      {"mean_middle", {{3, 17, 5}}, [](const Vars& v) { return mean(v[0], {1}); }, -1, 1, 17},
      {"mean_outer",
       {{3, 4, 5}},
       [](const Vars& v) {
         return mean(v[0], {0, -1});
       },
       -1,
       1,
       15},
      {"mean_all", {{7}}, [](const Vars& v) { return mean(v[0]); }, -1, 1, 7},
      // matrix products
      {"matmul", {{3, 17}, {17, 5}}, [](const Vars& v) { return matmul(v[0], v[1]); }, -1, 1, 17},
      {"matmul_batch", {{2, 3, 4, 9}, {2, 3, 9, 5}}, [](const Vars& v) { return matmul(v[0], v[1]); }, -1, 1, 9},
      {"matmul_one_b", {{4, 3, 9}, {9, 5}}, [](const Vars& v) { return matmul(v[0], v[1]); }, -1, 1, 12},
      {"matmul_one_a", {{1, 3, 9}, {4, 9, 1}}, [](const Vars& v) { return matmul(v[0], v[1]); }, -1, 1, 12},
      {"matmul_vectors", {{1, 33}, {33, 1}}, [](const Vars& v) { return matmul(v[0], v[1]); }, -1, 1, 33},
      {"matmul_transposed",
       {{9, 4}, {5, 9}},
       [](const Vars& v) { return matmul(transpose(v[0], 0, 1), transpose(v[1], 0, 1)); },
       -1,
       1,
       9},
      {"linear", {{5, 17}, {3, 17}, {3}}, [](const Vars& v) { return linear(v[0], v[1], v[2]); }, -1, 1, 17},
      {"linear_no_bias", {{2, 3, 4}, {5, 4}}, [](const Vars& v) { return linear(v[0], v[1], {}); }, -1, 1, 6},
      {"linear_vector", {{7}, {3, 7}, {3}}, [](const Vars& v) { return linear(v[0], v[1], v[2]); }, -1, 1, 7},
      {"linear_relu",
       {{2, 9, 17}, {3, 17}, {3}},
       [](const Vars& v) { return linear(v[0], v[1], v[2], Activation::relu); },
       -1,
       1,
       18,
       true},
      {"linear_gelu",
       {{2, 9, 17}, {3, 17}, {3}},
       [](const Vars& v) { return linear(v[0], v[1], v[2], Activation::gelu); },
       -1,
       1,
       34},
      {"linear_token",  // a strided matrix: one token of each sample
       {{6, 3, 17}, {4, 17}, {4}},
       [](const Vars& v) { return linear(select(v[0], 1, 0), v[1], v[2]); },
       -1,
       1,
       17},
      // rows
      {"layer_norm",
       {{3, 5, 17}, {17}, {17}},
       [](const Vars& v) { return layer_norm(v[0], v[1], v[2], 1e-5); },
       -1,
       1,
       32},
      {"layer_norm_wide",
       {{2, 129}, {129}, {129}},
       [](const Vars& v) { return layer_norm(v[0], v[1], v[2], 1e-6); },
       -1,
       1,
       129},
      {"add_layer_norm",  // both results count
       {{3, 5, 17}, {3, 5, 17}, {17}, {17}, {17}},
       [](const Vars& v) {
         const AddedNorm r = add_layer_norm(v[0], v[1], v[2], v[3], v[4], 1e-5);
         return add(affine(r.sum, 0.7, 0), r.normed);
       },
       -1,
       1,
       32},
      {"add_layer_norm_no_gate",
       {{2, 129}, {2, 129}, {129}, {129}},
       [](const Vars& v) {
         const AddedNorm r = add_layer_norm(v[0], v[1], {}, v[2], v[3], 1e-6);
         return mul(r.sum, r.normed);
       },
       -1,
       1,
       129},
      {"add_branch",
       {{3, 5, 17}, {3, 5, 17}, {17}},
       [](const Vars& v) { return add_branch(v[0], v[1], v[2]); },
       -1,
       1,
       15},
      {"softmax", {{3, 17}}, [](const Vars& v) { return softmax(v[0]); }, -4, 4, 17},
      {"softmax_one", {{3, 1}}, [](const Vars& v) { return softmax(v[0]); }},
      {"log_softmax", {{2, 3, 33}}, [](const Vars& v) { return log_softmax(v[0]); }, -4, 4, 33},
      {"l2_normalise", {{5, 17}}, [](const Vars& v) { return l2_normalise(v[0]); }, -1, 1, 17},
      {"l2_normalise_small", {{3, 3}}, [](const Vars& v) { return l2_normalise(v[0], 10); }, -1, 1, 3},  // all below
                                                                                                         // eps
      {"cross_entropy",
       {{4, 17}},
       [](const Vars& v) {
         return cross_entropy(v[0], rows({0, 16, 3, 3}));
       },
       -4,
       4,
       17},
      {"dropout", {{3, 129}}, [](const Vars& v) { return dropout(v[0], key(0.3)); }},
      {"gather_rows",
       {{5, 3, 2}},
       [](const Vars& v) {
         return gather_rows(v[0], rows({4, 0, 4, 4, 2, 1}));
       },
       -1,
       1,
       3},
      // attention: T = 8 and 17 as in the model, more than one block of queries, widths off the vector length
      {"self_attention", {{2, 8, 3 * 2 * 32}}, [](const Vars& v) { return self_attention(v[0], 2); }, -1, 1, 32},
      {"self_attention_dropout",
       {{2, 17, 3 * 2 * 8}},
       [](const Vars& v) { return self_attention(v[0], 2, key(0.25)); },
       -1,
       1,
       40},
      {"self_attention_long",
       {{1, 67, 3 * 1 * 5}},
       [](const Vars& v) { return self_attention(v[0], 1, key(0.1)); },
       -1,
       1,
       67},
      {"self_attention_one", {{3, 1, 3 * 2 * 3}}, [](const Vars& v) { return self_attention(v[0], 2); }, -1, 1, 3},
      {"cross_attention",
       {{2, 3, 2 * 16}, {2, 9, 2 * 16}, {2, 9, 2 * 16}},
       [](const Vars& v) { return cross_attention(v[0], v[1], v[2], 2); },
       -1,
       1,
       25},
      {"cross_attention_dropout",
       {{2, 35, 1 * 6}, {2, 4, 1 * 6}, {2, 4, 1 * 6}},
       [](const Vars& v) { return cross_attention(v[0], v[1], v[2], 1, key(0.5)); },
       -2,
       2,
       40},
  };
  return list;
}

}  // namespace spn::test
