// AdamW over the full model's trained parameters with clipping, without and with the bf16 copy that a step in bf16
// reads.
#include "kernels/ladder/adamw.h"

#include "kernels/ladder/ladder.h"
#include "kernels/table.h"

namespace spn::kernels {
namespace {

template <bool with_copy>
std::vector<Operand> operands(std::int64_t elements) {
  using Use = Operand::Use;
  const Shape n{std::max<std::int64_t>(elements, 1)};
  std::vector<Operand> o = {
      {"w", Use::in_out, DType::f32, n, -1, 1, {}, 4},
      {"m", Use::in_out, DType::f32, n, -1, 1, {}, 4},
      {"v", Use::in_out, DType::f32, n, 0, 1, {}, 4},
      {"grad", Use::in, DType::f32, n, -1, 1, {}, 1},
      {"rates", Use::in, DType::f64, {2}, 0, 0, {1e-3, 0.05}, 1},
      {"squares", Use::in, DType::f64, {1}, 0, 0, {4}, 1},
      {"updates", Use::in_out, DType::f64, {1}, 0, 0, {2}, 1},
  };
  if (with_copy) o.push_back({"copy", Use::out, DType::bf16, n, 0, 0, {}, 1});
  return o;
}

template <bool with_copy>
void shipped(Views v) {
  std::vector<AdamWParam> params;
  over_parameters(v[0].numel(), [&](std::int64_t begin, std::int64_t end) {
    const auto part = [&](const View& of) {
      View p = of;
      p.data = static_cast<char*>(of.data) + begin * static_cast<std::int64_t>(size_of(of.dtype));
      p.shape = Shape{end - begin};
      return p;
    };
    params.push_back({.w = part(v[0]), .grad = part(v[3]), .m = part(v[1]), .v = part(v[2])});
    if (with_copy) params.back().copy = part(v[7]);
  });
  run<&Table::adamw>({.params = params, .update = {.rates = v[4], .updates = v[6], .squares = v[5], .max_norm = 1}});
}

}  // namespace

const Ladder kAdamWLadder = {
    .name = "adamw",
    .about = "parameters of the full model's sizes in f32, gradients clipped",
    .operands = operands<false>,
    .shipped = shipped<false>,
    .of_model = kModelParameters,
};
const Ladder kAdamWCopyLadder = {
    .name = "adamw_copy",
    .about = "the same, and the new values rounded to bf16",
    .operands = operands<true>,
    .shipped = shipped<true>,
    .of_model = kModelParameters,
};

}  // namespace spn::kernels
