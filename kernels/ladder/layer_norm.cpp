// Layer norm as the ViT has it: rows of 1,024 in bf16, parameters in fp32; alone, and with the branch of the block
// before added on the way.
#include <algorithm>

#include "kernels/ladder/ladder.h"
#include "kernels/table.h"

namespace spn::kernels {
namespace {

constexpr std::int64_t kWidth = 1024;
using Use = Operand::Use;

std::int64_t rows_of(std::int64_t elements) { return std::max<std::int64_t>(1, elements / kWidth); }

}  // namespace

const Ladder kLayerNormFwdLadder = {
    .name = "layer_norm_fwd",
    .about = "rows of 1024 in bf16, parameters in f32",
    .operands =
        [](std::int64_t elements) {
          const std::int64_t rows = rows_of(elements);
          return std::vector<Operand>{
              {"x", Use::in, DType::bf16, {rows, kWidth}, -1, 1, {}, 1},
              {"w", Use::in, DType::f32, {kWidth}, 0.5, 1.5, {}, 1},
              {"b", Use::in, DType::f32, {kWidth}, -1, 1, {}, 1},
              {"y", Use::out, DType::bf16, {rows, kWidth}, 0, 0, {}, 16},
              {"mean", Use::out, DType::f32, {rows}, 0, 0, {}, 16},
              {"rstd", Use::out, DType::f32, {rows}, 0, 0, {}, 16},
          };
        },
    .shipped =
        [](Views v) {
          run<&Table::layer_norm_fwd>({.x = v[0], .w = v[1], .b = v[2], .y = v[3], .mean = v[4], .rstd = v[5]});
        },
};

const Ladder kLayerNormBranchLadder = {
    .name = "layer_norm_branch",
    .about = "the same of a sum of two, which is written too",
    .operands =
        [](std::int64_t elements) {
          const std::int64_t rows = rows_of(elements);
          return std::vector<Operand>{
              {"x", Use::in, DType::bf16, {rows, kWidth}, -1, 1, {}, 1},
              {"branch", Use::in, DType::bf16, {rows, kWidth}, -1, 1, {}, 1},
              {"w", Use::in, DType::f32, {kWidth}, 0.5, 1.5, {}, 1},
              {"b", Use::in, DType::f32, {kWidth}, -1, 1, {}, 1},
              {"sum", Use::out, DType::bf16, {rows, kWidth}, 0, 0, {}, 1},
              {"y", Use::out, DType::bf16, {rows, kWidth}, 0, 0, {}, 16},
              {"mean", Use::out, DType::f32, {rows}, 0, 0, {}, 16},
              {"rstd", Use::out, DType::f32, {rows}, 0, 0, {}, 16},
          };
        },
    .shipped =
        [](Views v) {
          run<&Table::layer_norm_fwd>(
              {.x = v[0], .w = v[2], .b = v[3], .y = v[5], .mean = v[6], .rstd = v[7], .branch = v[1], .sum = v[4]});
        },
};

const Ladder kLayerNormBwdLadder = {
    .name = "layer_norm_bwd",
    .about = "rows of 1024 in bf16, parameters in f32",
    .operands =
        [](std::int64_t elements) {
          const std::int64_t rows = rows_of(elements);
          return std::vector<Operand>{
              {"x", Use::in, DType::bf16, {rows, kWidth}, -1, 1, {}, 1},
              {"w", Use::in, DType::f32, {kWidth}, 0.5, 1.5, {}, 1},
              {"mean", Use::in, DType::f32, {rows}, -0.1, 0.1, {}, 1},
              {"rstd", Use::in, DType::f32, {rows}, 1.5, 2, {}, 1},
              {"dy", Use::in, DType::bf16, {rows, kWidth}, -1, 1, {}, 1},
              {"dx", Use::out, DType::bf16, {rows, kWidth}, 0, 0, {}, 16},
              {"dw", Use::out, DType::f32, {kWidth}, 0, 0, {}, 4 * rows},
              {"db", Use::out, DType::f32, {kWidth}, 0, 0, {}, 4 * rows},
          };
        },
    .shipped =
        [](Views v) {
          run<&Table::layer_norm_bwd>(
              {.x = v[0], .w = v[1], .mean = v[2], .rstd = v[3], .dy = v[4], .dx = v[5], .dw = v[6], .db = v[7]});
        },
};

}  // namespace spn::kernels
