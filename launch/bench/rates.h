// What a device does at best, for figures to be held against: copies of a large array, products of large matrices.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/dist/comm.h"
#include "engine/tensor/tensor.h"

namespace spn::bench {

// f32, uniform in [low, high); drawn by all threads, the same however many they are.
Tensor random_values(const Shape& shape, double low, double high, std::uint64_t stream);

double median(std::vector<double> v);  // 0 of none

// A figure a run, at most `repeats`: what takes long is timed three times, or for a second. On a GPU by its own clock,
// with nothing of the work's memory in the L2 cache.
std::vector<double> seconds_of(Device device, int repeats, const std::function<void()>& work);

// Of `elements` f32, read and written; 0: 2^24 on the CPU, 2^26 on a GPU.
double copy_gb_per_s(Device device, std::int64_t elements = 0, int repeats = 20);

// Of size-cubed products of random numbers in `products` (summed in fp32) on all ranks at once: the sum over them.
// size 0: 1024 on the CPU, 8192 on a GPU. Products of constants draw less power, and a GPU runs them faster than any
// real ones.
std::int64_t matmul_size(Device device, std::int64_t size = 0);
double matmul_gflops(dist::Comm& world, Device device, std::int64_t size, DType products);

// Of one rank while all do the same.
struct Rates {
  double copy_gb_per_s = 0, matmul_gflops = 0;
};
Rates measure_rates(dist::Comm& world, Device device, DType products);

}  // namespace spn::bench
