// AdamW over 64 fp32 parameters with clipping.
#include "kernels/ladder/adamw.h"

#include "kernels/ladder/ladder.h"
#include "kernels/table.h"

namespace spn::kernels {

const Ladder kAdamWLadder = {
    .name = "adamw",
    .about = "64 parameters in f32, gradients clipped",
    .operands =
        [](std::int64_t elements) {
          using Use = Operand::Use;
          const Shape n{std::max<std::int64_t>(elements, 1)};
          return std::vector<Operand>{
              {"w", Use::in_out, DType::f32, n, -1, 1, {}, 4},
              {"m", Use::in_out, DType::f32, n, -1, 1, {}, 4},
              {"v", Use::in_out, DType::f32, n, 0, 1, {}, 4},
              {"grad", Use::in, DType::f32, n, -1, 1, {}, 1},
              {"rates", Use::in, DType::f64, {2}, 0, 0, {1e-3, 0.05}, 1},
              {"squares", Use::in, DType::f64, {1}, 0, 0, {4}, 1},
              {"updates", Use::in_out, DType::f64, {1}, 0, 0, {2}, 1},
          };
        },
    .shipped =
        [](Views v) {
          std::vector<AdamWParam> params;
          over_parameters(v[0].numel(), [&](std::int64_t begin, std::int64_t end) {
            const auto part = [&](const View& of) {
              View p = of;
              p.data = of.ptr<float>() + begin;
              p.shape = Shape{end - begin};
              return p;
            };
            params.push_back({.w = part(v[0]), .grad = part(v[3]), .m = part(v[1]), .v = part(v[2])});
          });
          run<&Table::adamw>(
              {.params = params, .update = {.rates = v[4], .updates = v[6], .squares = v[5], .max_norm = 1}});
        },
};

}  // namespace spn::kernels
