// NumPy's .npy: a matrix of float16, float32 or float64 in C order, format 1 to 3.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spn::data {

struct NpyMatrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<float> values;  // row-major; float64 is rounded
};

// Data error that says what is there instead: another type or order, not two-dimensional, cut off, no .npy at all.
NpyMatrix read_npy(const std::string& path);

}  // namespace spn::data
