// IEEE half floats (NumPy's float16) to and from float32, round to nearest even; by F16C where the CPU has it.
#pragma once

#include <cstdint>
#include <span>

namespace spn::data {

std::uint16_t to_half(float v);  // beyond 65504: infinity
float from_half(std::uint16_t h);

// Whole rows; sizes must agree.
void to_half(std::span<const float> in, std::span<std::uint16_t> out);
void from_half(std::span<const std::uint16_t> in, std::span<float> out);

}  // namespace spn::data
