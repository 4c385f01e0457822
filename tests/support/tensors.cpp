#include "tests/support/tensors.h"

#include <ostream>

#include "engine/core/philox.h"

namespace spn::test {

Tensor random(const Shape& shape, std::uint64_t stream, DType dtype, double low, double high) {
  PhiloxStream rng(1234, RandomUse::test, stream);
  std::vector<double> v(static_cast<std::size_t>(shape.numel()));
  for (double& e : v) e = low + (high - low) * rng.uniform_double();
  return Tensor::from(v, shape).to(dtype);
}

Tensor strided_copy(const Tensor& t) {
  if (t.ndim() == 0) return t;
  // twice as wide in the last dim, and (from two dims on) stored with the outer two swapped
  Shape wide = t.shape();
  wide[-1] *= 2;
  Tensor big;
  if (t.ndim() >= 2) {
    std::swap(wide[0], wide[1]);
    big = Tensor::zeros(wide, t.dtype()).transpose(0, 1);
    if (t.ndim() == 2) {
      // the doubled dim is now dim 0's partner: narrow whichever is too long
      Tensor view = big;
      for (int d = 0; d < 2; ++d)
        if (view.dim(d) != t.dim(d)) view = view.narrow(d, 0, t.dim(d));
      view.copy_from(t);
      return view;
    }
  } else {
    big = Tensor::zeros(wide, t.dtype());
  }
  Tensor view = big.narrow(-1, 0, t.dim(-1));
  view.copy_from(t);
  return view;
}

std::ostream& operator<<(std::ostream& os, const Compared& c) { return os << c.message; }

Compared close(const Tensor& got, const Tensor& want, const Tolerance& tol) {
  if (!(got.shape() == want.shape()))
    return {false, "expected shape " + want.shape().str() + ", got " + got.shape().str()};
  const auto g = got.to_vector<double>(), w = want.to_vector<double>();
  double worst = -1;
  std::size_t at = 0, bad = 0;
  for (std::size_t i = 0; i < g.size(); ++i) {
    if (near(g[i], w[i], tol)) continue;
    ++bad;
    const double excess =
        std::isnan(g[i]) ? 1e300 : std::abs(g[i] - w[i]) / (tol.absolute + tol.relative * std::abs(w[i]));
    if (excess > worst) worst = excess, at = i;
  }
  if (bad == 0) return {true, "equal within tolerance"};
  return {
      false,
      fmt::format("{} of {} elements differ; worst at {} of shape {}: got {:.9g}, expected {:.9g} ({:.3g} x tolerance)",
                  bad, g.size(), at, got.shape().str(), g[at], w[at], worst)};
}

Compared gradcheck(const std::function<Var(const std::vector<Var>&)>& f, const std::vector<Tensor>& inputs, double step,
                   double tol) {
  std::vector<Var> leaves;
  for (const Tensor& t : inputs) leaves.emplace_back(t.clone(), true);
  const Var y = f(leaves);
  const Tensor r = random(y.shape(), 99991, DType::f64);
  backward({y}, {r});
  const auto weights = r.to_vector<double>();
  const auto objective = [&](const std::vector<Tensor>& at) {
    const NoGrad no_grad;
    std::vector<Var> v;
    for (const Tensor& t : at) v.emplace_back(t);
    const auto out = f(v).value().to_vector<double>();
    double s = 0;
    for (std::size_t i = 0; i < out.size(); ++i) s += weights[i] * out[i];
    return s;
  };
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    if (!leaves[k].grad() && inputs[k].numel() > 0) return {false, fmt::format("input {} got no gradient", k)};
    const auto analytic = leaves[k].grad() ? leaves[k].grad().to_vector<double>() : std::vector<double>();
    std::vector<Tensor> at;
    for (const Tensor& t : inputs) at.push_back(t.clone());
    auto values = inputs[k].to_vector<double>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double x = values[i];
      values[i] = x + step;
      at[k] = Tensor::from(values, inputs[k].shape());
      const double up = objective(at);
      values[i] = x - step;
      at[k] = Tensor::from(values, inputs[k].shape());
      const double down = objective(at);
      values[i] = x;
      const double numeric = (up - down) / (2 * step);
      if (!(std::abs(numeric - analytic[i]) <= tol * (1 + std::abs(numeric))))
        return {false, fmt::format("input {} element {}: numeric {:.9g}, analytic {:.9g}", k, i, numeric, analytic[i])};
    }
  }
  return {true, "gradients agree"};
}

}  // namespace spn::test
