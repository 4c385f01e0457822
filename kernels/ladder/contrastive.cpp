// The streamed contrastive loss of one target, width 1,024, products in bf16.
#include <algorithm>
#include <cmath>

#include "kernels/ladder/ladder.h"
#include "kernels/table.h"

namespace spn::kernels {
namespace {

constexpr std::int64_t kWidth = 1024;
using Use = Operand::Use;

// The largest array is the one that is never stored whole: rows x rows products.
std::int64_t rows_of(std::int64_t elements) {
  return std::max<std::int64_t>(2, static_cast<std::int64_t>(std::sqrt(static_cast<double>(elements))));
}

// Rows of about unit length whose values bf16 holds exactly: all rungs and the CPU multiply the same numbers.
std::vector<double> exact(std::int64_t rows, std::uint32_t state) {
  std::vector<double> v(static_cast<std::size_t>(rows * kWidth));
  for (double& e : v) {
    state = state * 1664525U + 1013904223U;
    e = (static_cast<double>(state >> 16) / 65536.0 < 0.5 ? -1 : 1) * static_cast<double>(state >> 8 & 3U) / 64.0;
  }
  return v;
}

}  // namespace

const Ladder kContrastiveFwdLadder = {
    .name = "contrastive_fwd",
    .about = "elements: rows x rows; width 1024, bf16 products",
    .operands =
        [](std::int64_t elements) {
          const std::int64_t n = rows_of(elements);
          const auto result = [n](const char* name) {
            return Operand{name, Use::out, DType::f64, {n}, 0, 0, {}, 64, DType::f32};
          };
          return std::vector<Operand>{
              {"x", Use::in, DType::f32, {n, kWidth}, 0, 0, exact(n, 1), 1},
              {"y", Use::in, DType::f32, {n, kWidth}, 0, 0, exact(n, 2), 1},
              {"scale", Use::in, DType::f32, {1}, 0, 0, {10}, 1},
              result("row_lse"),
              result("positive"),
              result("row_above"),
              result("col_lse"),
              result("col_above"),
          };
        },
    .shipped =
        [](Views v) {
          run<&Table::contrastive_fwd>({.x = v[0],
                                        .y = v[1],
                                        .scale = v[2],
                                        .rule = {},
                                        .products = DType::bf16,
                                        .row_lse = v[3],
                                        .positive = v[4],
                                        .row_above = v[5],
                                        .col_lse = v[6],
                                        .col_above = v[7]});
        },
};

const Ladder kContrastiveBwdLadder = {
    .name = "contrastive_bwd",
    .about = "elements: rows x rows; width 1024, bf16 products",
    .operands =
        [](std::int64_t elements) {
          const std::int64_t n = rows_of(elements);
          const double lse = std::log(static_cast<double>(n));
          return std::vector<Operand>{
              {"x", Use::in, DType::f32, {n, kWidth}, 0, 0, exact(n, 1), 1},
              {"y", Use::in, DType::f32, {n, kWidth}, 0, 0, exact(n, 2), 1},
              {"scale", Use::in, DType::f32, {1}, 0, 0, {10}, 1},
              {"row_lse", Use::in, DType::f64, {n}, lse, lse + 0.2, {}, 1},
              {"col_lse", Use::in, DType::f64, {n}, lse, lse + 0.2, {}, 1},
              {"dloss", Use::in, DType::f32, {1}, 0, 0, {0.1}, 1},
              // G is rounded to bf16: 2^-9 of terms of 0.06
              {"dx", Use::out, DType::f32, {n, kWidth}, 0, 0, {}, std::int64_t{1} << 22},
              {"dy", Use::out, DType::f32, {n, kWidth}, 0, 0, {}, std::int64_t{1} << 22},
              {"dscale", Use::out, DType::f64, {1}, 0, 0, {}, 64 * n, DType::f32},
          };
        },
    .shipped =
        [](Views v) {
          run<&Table::contrastive_bwd>({.x = v[0],
                                        .y = v[1],
                                        .scale = v[2],
                                        .row_lse = v[3],
                                        .col_lse = v[4],
                                        .dloss = v[5],
                                        .rule = {},
                                        .products = DType::bf16,
                                        .dx = v[6],
                                        .dy = v[7],
                                        .dscale = v[8]});
        },
};

}  // namespace spn::kernels
