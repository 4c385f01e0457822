// How much of the products x·y the contrastive kernels hold at once.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spn::kernels::cuda {

// A panel of products is made by the library, read once by a kernel, and forgotten: small enough to stay in the cache
// of second level (32 MiB of fp32), large enough that the library's products run at full speed. Statistics of the
// panels of one group of columns are joined at once.
struct PanelLimits {
  std::int64_t rows = 2048, cols = 4096, group = 65536;
  std::size_t rounded_bytes = std::size_t{512} << 20;  // of x and y in bf16: beyond, they are rounded panel by panel
};
PanelLimits& contrastive_panels();  // tests make them small

}  // namespace spn::kernels::cuda
