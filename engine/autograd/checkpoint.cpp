#include "engine/autograd/checkpoint.h"

namespace spn {
namespace {

// Leaves of the part's own small tape.
std::vector<Var> leaves_of(const std::vector<Tensor>& values, const std::vector<bool>& wanted) {
  std::vector<Var> leaves;
  for (std::size_t i = 0; i < values.size(); ++i) leaves.emplace_back(values[i], wanted[i]);
  return leaves;
}

}  // namespace

Var checkpoint(const Segment& fn, const std::vector<Var>& inputs) {
  if (!grad_enabled()) return fn(inputs, false);
  std::vector<Tensor> values;
  std::vector<bool> wanted;
  for (const Var& v : inputs) {
    values.push_back(v.value());
    wanted.push_back(v.requires_grad());
  }
  // With a tape, which is dropped at once: it tells whether anything in the part is trained.
  Tensor y;
  bool trained = false;
  {
    const Var first = fn(leaves_of(values, wanted), false);
    y = first.value();
    trained = first.requires_grad();
  }
  if (!trained) return Var(y);
  // The last input keeps the record alive where only parameters inside want gradients.
  std::vector<Var> recorded = inputs;
  recorded.emplace_back(Tensor::empty({1}, DType::f32, y.device()), true);
  return record("checkpoint", y, recorded, [fn, values, wanted](const Tensor& dy, Grads& g) {
    const std::vector<Var> leaves = leaves_of(values, wanted);
    Var again;
    {
      const WithGrad recording;
      again = fn(leaves, true);
    }
    backward({again}, {dy});
    for (std::size_t i = 0; i < leaves.size(); ++i)
      if (wanted[i] && leaves[i].grad()) g.set(i, leaves[i].grad());
  });
}

}  // namespace spn
