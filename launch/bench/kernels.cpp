#include "launch/bench/kernels.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>

#include "engine/tensor/tensor.h"
#include "kernels/ladder/ladder.h"
#include "kernels/table.h"
#include "launch/bench/profile.h"
#include "launch/bench/rates.h"

namespace spn::bench {
namespace {

using kernels::Ladder;
using kernels::Operand;
using kernels::Rung;

// On the CPU.
Tensor host_values(const Operand& o, std::uint64_t stream) {
  if (o.use == Operand::Use::out) return Tensor::full(o.shape, std::numeric_limits<double>::quiet_NaN(), o.dtype);
  if (!o.values.empty()) {
    const Tensor t = Tensor::empty(o.shape, DType::f64);
    const std::int64_t n = t.numel(), period = static_cast<std::int64_t>(o.values.size());
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < n; ++i) t.data<double>()[i] = o.values[static_cast<std::size_t>(i % period)];
    return t.to(o.dtype);
  }
  return random_values(o.shape, o.low, o.high, stream).to(o.dtype);
}
std::vector<Tensor> host_values(const std::vector<Operand>& operands) {
  std::vector<Tensor> values;
  for (std::size_t i = 0; i < operands.size(); ++i) values.push_back(host_values(operands[i], i));
  return values;
}

// The work's operands on one device; fill() brings back what they held at first.
class Problem {
 public:
  Problem(const std::vector<Operand>& operands, const std::vector<Tensor>& values, Device device)
      : operands_(operands) {
    for (const Tensor& v : values) {
      start_.push_back(v.to(device));
      tensors_.push_back(start_.back().clone());
      views_.push_back(tensors_.back());
    }
  }
  void fill() const {
    for (std::size_t i = 0; i < tensors_.size(); ++i)
      if (is_written(operands_[i])) tensors_[i].copy_from(start_[i]);
  }
  kernels::Views views() const { return views_; }

  // Error of the worst element in units of what is allowed: rounding of the dtype, and a random walk of the terms that
  // a result adds up. NaN counts as infinitely wrong.
  double worst_against(const Problem& want) const {
    double worst = 0;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (!is_written(operands_[i])) continue;
      const double walk = std::sqrt(static_cast<double>(operands_[i].terms));
      const bool half = tensors_[i].dtype() == DType::bf16;
      const double relative = half ? 1.6e-2 : 4e-6 * walk, absolute = half ? 8e-3 : 1e-6 * walk;
      const Tensor g = tensors_[i].to(Device{}).to(DType::f32), w = want.tensors_[i].to(DType::f32);
      const float *got = g.data<float>(), *expected = w.data<float>();
      double most = 0;
#pragma omp parallel for schedule(static) reduction(max : most)
      for (std::int64_t k = 0; k < g.numel(); ++k) {
        const double e = static_cast<double>(expected[k]);
        const double error = std::abs(static_cast<double>(got[k]) - e) / (absolute + relative * std::abs(e));
        if (!(error <= most)) most = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
      }
      worst = std::max(worst, most);
    }
    return worst;
  }

 private:
  std::vector<Operand> operands_;
  std::vector<Tensor> start_, tensors_;
  std::vector<View> views_;
};

}  // namespace

double measure_kernels(const KernelCase& what,
                       const std::function<void(const RungFigure&, double copy_gb_per_s)>& done) {
  if (what.elements < 0 || what.repeats < 1)
    fail_usage("bench kernels", "expected --elements of 0 or more and positive --repeats, got {} and {}", what.elements,
               what.repeats);
  std::string names;
  bool any = what.only.empty();
  for (const Ladder& l : kernels::ladders()) {
    any = any || what.only == l.name;
    names += (names.empty() ? "" : ", ") + std::string(l.name);
  }
  if (!any) fail_usage("bench kernels", "expected --only to be one of {}, got {}", names, what.only);

  std::string wrong;  // said at the end: the other rungs are timed all the same
  const bool on_cpu = what.device.type == DeviceType::cpu;
  const std::int64_t usual = what.elements > 0 ? what.elements : std::int64_t{1} << (on_cpu ? 22 : 26);
  const double copy = copy_gb_per_s(what.device, usual, what.repeats);
  for (const Ladder& l : kernels::ladders()) {
    if (!what.only.empty() && what.only != l.name) continue;
    const std::int64_t elements = what.elements == 0 && !on_cpu && l.of_model > 0 ? l.of_model : usual;
    const std::vector<Operand> operands = l.operands(elements);
    const std::vector<Tensor> values = host_values(operands);
    const Problem problem(operands, values, what.device);
    std::optional<Problem> reference;
    if (!on_cpu) l.shipped(reference.emplace(operands, values, Device{}).views());
    std::vector<Rung> rungs;
    if (!on_cpu)
      for (const Rung& r : kernels::rungs_of(l.name)) rungs.push_back(r);
    rungs.push_back({"shipped", l.shipped});
    for (const Rung& rung : rungs) {
      RungFigure f{.kernel = l.name,
                   .about = l.about,
                   .rung = rung.name,
                   .shipped = rung.run == l.shipped,
                   .elements = elements,
                   .bytes = kernels::least_bytes(operands)};
      problem.fill();
      rung.run(problem.views());
      if (!on_cpu) {
        f.worst = problem.worst_against(*reference);
        if (!(f.worst <= 1)) {
          wrong += fmt::format("{}{}, rung '{}': the worst element is {:.3g} times as far off as allowed",
                               wrong.empty() ? "" : "; ", f.kernel, f.rung, f.worst);
          continue;
        }
      }
      const auto seconds = seconds_of(what.device, what.repeats, [&] { rung.run(problem.views()); });
      f.seconds = median(seconds);
      f.repeats = static_cast<int>(seconds.size());
      f.gb_per_s = static_cast<double>(f.bytes) / f.seconds * 1e-9;
      f.of_copy = f.gb_per_s / copy;
      done(f, copy);
    }
  }
  check(wrong.empty(), "bench kernels", "{}", wrong);
  return copy;
}

}  // namespace spn::bench
