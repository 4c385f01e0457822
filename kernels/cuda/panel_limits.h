// How much of the products x·y the contrastive kernels hold at once.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spn::kernels::cuda {

// A panel of products is made by the library, read once by a kernel, and forgotten. Statistics of the panels of one
// group of columns are joined at once.
//
// 2048 x 4096 for an H200 (132 SMs, 4.3 TB/s, 50-60 MB of L2), reckoned for B = 32,768 and d = 1,024, not timed: 32 MiB
// of fp32 stay in L2 between product and kernel. Panels that do not are written and read in memory, 16 bytes a pair
// over both passes: 17 GB, 4 ms of the 11 that four products take; their gradient in bf16 adds 6 bytes, 1.5 ms. What
// speaks for larger ones: dx and dy are read and written once a panel, 6.4 GB here, 2.1 GB at 8192 x 8192; and products
// of their shapes fill the SMs: at 128 x 256 results an SM at a time, x·y here is 256 tiles (1.94 rounds of 132), dy
// 128, dx but 64 (8192 x 8192: 2048, 256 and 256).
//
// SPN_LOSS_PANEL=1024x4096 in the environment sets other rows and columns, for timing: at most 2^27 pairs, of
// which panel and gradient take 768 MiB in bf16.
struct PanelLimits {
  std::int64_t rows = 2048, cols = 4096, group = 65536;
  std::size_t rounded_bytes = std::size_t{512} << 20;  // of x and y in bf16: beyond, they are rounded panel by panel
};
PanelLimits& contrastive_panels();                   // tests make them small
PanelLimits panel_limits_from(const char* setting);  // "ROWSxCOLUMNS"; null: the defaults. Throws on anything else

}  // namespace spn::kernels::cuda
