#include "launch/bench/rates.h"

#include <algorithm>

#include "engine/core/philox.h"
#include "engine/core/stopwatch.h"
#include "kernels/table.h"
#include "kernels/timing.h"

namespace spn::bench {

using kernels::Table;

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v[v.size() / 2];
}

Tensor random_values(const Shape& shape, double low, double high, std::uint64_t stream) {
  const Tensor t = Tensor::empty(shape);
  auto* v = t.data<float>();
  constexpr std::int64_t kPart = 16384, kABlock = 4;  // a block of the stream is four values
  const std::int64_t n = t.numel();
#pragma omp parallel for schedule(static)
  for (std::int64_t begin = 0; begin < n; begin += kPart) {
    PhiloxStream rng(1, RandomUse::test, stream);
    rng.skip_blocks(static_cast<std::uint32_t>(begin / kABlock));
    for (std::int64_t i = begin; i < std::min(n, begin + kPart); ++i)
      v[i] = static_cast<float>(low + (high - low) * static_cast<double>(rng.uniform()));
  }
  return t;
}

std::vector<double> seconds_of(Device device, int repeats, const std::function<void()>& work) {
  std::vector<double> seconds;
  work();  // what the first call allocates is not timed
  const Stopwatch spent;
  while (static_cast<int>(seconds.size()) < repeats && (seconds.size() < 3 || spent.seconds() < 1)) {
    if (device.type == DeviceType::cuda) {
      seconds.push_back(kernels::cuda_seconds(work));
      continue;
    }
    const Stopwatch watch;
    work();
    seconds.push_back(watch.seconds());
  }
  return seconds;
}

double copy_gb_per_s(Device device, std::int64_t elements, int repeats) {
  if (elements == 0) elements = std::int64_t{1} << (device.type == DeviceType::cpu ? 24 : 26);
  const Tensor from = Tensor::zeros({elements}, DType::f32, device), to = from.clone();
  const Table& table = kernels::table_for(device);
  const auto seconds = seconds_of(device, repeats, [&] {
    if (device.type == DeviceType::cuda)
      table.transfer(to.view().data, from.view().data, from.bytes());
    else
      kernels::run<&Table::copy>({.x = from, .y = to});
  });
  return 2 * static_cast<double>(from.bytes()) / median(seconds) * 1e-9;
}

std::int64_t matmul_size(Device device, std::int64_t size) {
  return size > 0 ? size : device.type == DeviceType::cpu ? 1024 : 8192;
}

double matmul_gflops(dist::Comm& world, Device device, std::int64_t size, DType products) {
  const std::int64_t n = matmul_size(device, size);
  const auto random = [&](std::uint64_t stream) {
    return random_values({n, n}, -1, 1, stream).to(products).to(device);
  };
  const Tensor a = random(2000), b = random(2001), c = Tensor::zeros({n, n}, DType::f32, device);
  const Table& table = kernels::table_for(device);
  table.sync();
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    world.barrier();
    const Stopwatch watch;
    kernels::run<&Table::gemm>({.a = a, .b = b, .c = c});
    table.sync();
    best = std::max(best, 2.0 * static_cast<double>(n * n * n) / watch.seconds() * 1e-9);
  }
  world.all_reduce(host_view(&best, {1}));
  return best;
}

Rates measure_rates(dist::Comm& world, Device device, DType products) {
  world.barrier();
  Rates r;
  r.copy_gb_per_s = copy_gb_per_s(device);
  r.matmul_gflops = matmul_gflops(world, device, 0, products) / world.size();
  return r;
}

}  // namespace spn::bench
