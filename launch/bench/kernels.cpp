#include "launch/bench/kernels.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "engine/core/philox.h"
#include "engine/core/stopwatch.h"
#include "engine/tensor/tensor.h"
#include "kernels/ladder/ladder.h"
#include "kernels/table.h"
#include "kernels/timing.h"
#include "launch/bench/profile.h"

namespace spn::bench {
namespace {

using kernels::Ladder;
using kernels::Operand;
using kernels::Rung;
using kernels::Table;

Tensor host_values(const Operand& o, std::uint64_t stream) {
  if (o.use == Operand::Use::out) return Tensor::full(o.shape, std::numeric_limits<double>::quiet_NaN(), o.dtype);
  if (!o.values.empty()) return Tensor::from(o.values, o.shape).to(o.dtype);
  PhiloxStream rng(1, RandomUse::test, stream);
  std::vector<float> v(static_cast<std::size_t>(o.shape.numel()));
  for (float& e : v) e = static_cast<float>(o.low + (o.high - o.low) * static_cast<double>(rng.uniform()));
  return Tensor::from(v, o.shape).to(o.dtype);
}

// The work's operands on one device; fill() brings back what they held at first.
class Problem {
 public:
  Problem(const std::vector<Operand>& operands, Device device) : operands_(operands) {
    for (std::size_t i = 0; i < operands.size(); ++i) start_.push_back(host_values(operands[i], i));
    for (const Tensor& t : start_) tensors_.push_back(Tensor::empty(t.shape(), t.dtype(), device));
    for (const Tensor& t : tensors_) views_.push_back(t);
    fill();
  }
  void fill() const {
    for (std::size_t i = 0; i < tensors_.size(); ++i) tensors_[i].copy_from(start_[i].to(tensors_[i].device()));
  }
  kernels::Views views() const { return views_; }

  // Error of the worst element in units of what is allowed: rounding of the dtype, and a random walk of the terms that
  // a result adds up. NaN counts as infinitely wrong.
  double worst_against(const Problem& want) const {
    double worst = 0;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (operands_[i].use == Operand::Use::in) continue;
      const double walk = std::sqrt(static_cast<double>(operands_[i].terms));
      const bool half = tensors_[i].dtype() == DType::bf16;
      const double relative = half ? 1.6e-2 : 4e-6 * walk, absolute = half ? 8e-3 : 1e-6 * walk;
      const Tensor g = tensors_[i].to(Device{}).to(DType::f32), w = want.tensors_[i].to(DType::f32);
      const float *got = g.data<float>(), *expected = w.data<float>();
      for (std::int64_t k = 0; k < g.numel(); ++k) {
        const double e = static_cast<double>(expected[k]);
        const double error = std::abs(static_cast<double>(got[k]) - e) / (absolute + relative * std::abs(e));
        if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
      }
    }
    return worst;
  }

 private:
  std::vector<Operand> operands_;
  std::vector<Tensor> start_, tensors_;
  std::vector<View> views_;
};

double seconds_of(const KernelCase& what, const std::function<void()>& work) {
  std::vector<double> seconds;
  work();  // what the first call allocates is not timed
  for (int i = 0; i < what.repeats; ++i) {
    if (what.device.type == DeviceType::cuda) {
      seconds.push_back(kernels::cuda_seconds(work));
      continue;
    }
    const Stopwatch watch;
    work();
    seconds.push_back(watch.seconds());
  }
  return median(seconds);
}

double copy_gb_per_s(const KernelCase& what) {
  const Tensor from = Tensor::zeros({what.elements}, DType::f32, what.device), to = from.clone();
  const Table& table = kernels::table_for(what.device);
  const double s = seconds_of(what, [&] {
    if (what.device.type == DeviceType::cuda)
      table.transfer(to.view().data, from.view().data, from.bytes());
    else
      kernels::run<&Table::copy>({.x = from, .y = to});
  });
  return 2 * static_cast<double>(from.bytes()) / s * 1e-9;
}

}  // namespace

KernelFigures measure_kernels(const KernelCase& what) {
  if (what.elements < 1 || what.repeats < 1)
    fail_usage("bench kernels", "expected positive --elements and --repeats, got {} and {}", what.elements,
               what.repeats);
  std::string names;
  bool any = what.only.empty();
  for (const Ladder& l : kernels::ladders()) {
    any = any || what.only == l.name;
    names += (names.empty() ? "" : ", ") + std::string(l.name);
  }
  if (!any) fail_usage("bench kernels", "expected --only to be one of {}, got {}", names, what.only);

  KernelFigures figures;
  figures.copy_gb_per_s = copy_gb_per_s(what);
  const bool on_cpu = what.device.type == DeviceType::cpu;
  for (const Ladder& l : kernels::ladders()) {
    if (!what.only.empty() && what.only != l.name) continue;
    const std::vector<Operand> operands = l.operands(what.elements);
    const Problem reference(operands, Device{});
    if (!on_cpu) l.shipped(reference.views());
    const Problem problem(operands, what.device);
    std::vector<Rung> rungs;
    if (!on_cpu)
      for (const Rung& r : kernels::rungs_of(l.name)) rungs.push_back(r);
    rungs.push_back({"shipped", l.shipped});
    for (const Rung& rung : rungs) {
      RungFigure f{.kernel = l.name, .about = l.about, .rung = rung.name, .bytes = kernels::least_bytes(operands)};
      problem.fill();
      rung.run(problem.views());
      if (!on_cpu) {
        f.worst = problem.worst_against(reference);
        check(f.worst <= 1, "bench kernels", "{}, rung '{}': the worst element is {:.3g} times as far off as allowed",
              f.kernel, f.rung, f.worst);
      }
      f.seconds = seconds_of(what, [&] { rung.run(problem.views()); });
      f.gb_per_s = static_cast<double>(f.bytes) / f.seconds * 1e-9;
      f.of_copy = f.gb_per_s / figures.copy_gb_per_s;
      figures.rungs.push_back(f);
    }
  }
  return figures;
}

}  // namespace spn::bench
