// Batch norm as a ResNet has it in its middle: 256 channels in bf16, with residual and ReLU.
#include <algorithm>

#include "kernels/ladder/ladder.h"
#include "kernels/table.h"

namespace spn::kernels {
namespace {

constexpr std::int64_t kChannels = 256;
using Use = Operand::Use;

std::int64_t rows_of(std::int64_t elements) { return std::max<std::int64_t>(2, elements / kChannels); }

}  // namespace

const Ladder kBatchNormStatsLadder = {
    .name = "batch_norm_stats",
    .about = "256 channels in bf16",
    .operands =
        [](std::int64_t elements) {
          const std::int64_t rows = rows_of(elements);
          return std::vector<Operand>{
              {"x", Use::in, DType::bf16, {rows, kChannels}, -1, 1, {}, 1},
              {"sums", Use::out, DType::f64, {2, kChannels}, 0, 0, {}, rows},
          };
        },
    .shipped = [](Views v) { run<&Table::batch_norm_stats>({.x = v[0], .sums = v[1]}); },
};

const Ladder kBatchNormApplyLadder = {
    .name = "batch_norm_apply",
    .about = "256 channels in bf16, residual, ReLU",
    .operands =
        [](std::int64_t elements) {
          const std::int64_t rows = rows_of(elements);
          std::vector<double> sums(2 * kChannels);  // of a batch with means about 0.1 and variances about 0.3
          for (std::size_t c = 0; c < kChannels; ++c) {
            sums[c] = static_cast<double>(rows) * (0.1 + 1e-4 * static_cast<double>(c));
            sums[kChannels + c] = static_cast<double>(rows) * (0.3 + 1e-3 * static_cast<double>(c));
          }
          return std::vector<Operand>{
              {"x", Use::in, DType::bf16, {rows, kChannels}, -1, 1, {}, 1},
              {"sums", Use::in, DType::f64, {2, kChannels}, 0, 0, sums, 1},
              {"w", Use::in, DType::f32, {kChannels}, 0.5, 1.5, {}, 1},
              {"b", Use::in, DType::f32, {kChannels}, -1, 1, {}, 1},
              {"residual", Use::in, DType::bf16, {rows, kChannels}, -1, 1, {}, 1},
              {"y", Use::out, DType::bf16, {rows, kChannels}, 0, 0, {}, 16},
              {"mean", Use::out, DType::f32, {kChannels}, 0, 0, {}, 4},
              {"rstd", Use::out, DType::f32, {kChannels}, 0, 0, {}, 4},
          };
        },
    .shipped =
        [](Views v) {
          run<&Table::batch_norm_apply>({.x = v[0],
                                         .sums = v[1],
                                         .w = v[2],
                                         .b = v[3],
                                         .residual = v[4],
                                         .y = v[5],
                                         .mean = v[6],
                                         .rstd = v[7],
                                         .count = static_cast<double>(v[0].dim(0)),
                                         .relu = true});
        },
};

}  // namespace spn::kernels
