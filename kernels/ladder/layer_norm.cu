// Rungs of layer norm. What changes from rung to rung is how a row lies on threads (kernels/cuda/device/rows.h), so the
// shipped kernels serve with other layouts, and as many blocks as run at once.
#include "kernels/cuda/device/layer_norm.h"
#include "kernels/cuda/rows.h"
#include "kernels/ladder/ladder.h"
#include "kernels/table.h"

namespace spn::kernels {
namespace {

using namespace cuda;

template <class L>
void forward(Views v, std::int64_t blocks, int threads) {
  const std::int64_t n = v[0].dim(1);
  launch(layer_norm_rows<bf16, float, L, false>, dim3(static_cast<unsigned>(blocks)),
         dim3(static_cast<unsigned>(threads)), 0, stream(), v[0].ptr<bf16>(), AddedBranch<bf16>{}, v[1].ptr<float>(),
         v[2].ptr<float>(), v[3].ptr<bf16>(), v[4].ptr<float>(), v[5].ptr<float>(), v[0].dim(0), static_cast<int>(n),
         1e-5F);
}
std::int64_t resident(Views v, int per_multiprocessor) {
  return std::min<std::int64_t>(v[0].dim(0), static_cast<std::int64_t>(multiprocessors()) * per_multiprocessor);
}
template <class L>
void resident_forward(Views v, int threads) {
  forward<L>(v, resident(v, kForwardResident<bf16, L> / threads), threads);
}

// Every thread has a row of its own: neighbours read addresses 2 KiB apart.
void thread_a_row(Views v) { resident_forward<Streamed<ThreadGroup>>(v, 64); }
// Neighbours read neighbours, three times over.
void block_a_row(Views v) { resident_forward<Streamed<BlockGroup>>(v, 256); }
// No barrier between the passes.
void warp_a_row(Views v) { resident_forward<Streamed<WarpGroup>>(v, 128); }
// 16 bytes a load and one read of memory; barriers again.
void block_holds_a_row(Views v) { resident_forward<Registers<BlockGroup, 1>>(v, 128); }

// The sum in a pass of its own: the norm reads it again.
void added_before(Views v) {
  run<&Table::layer_norm_fwd>({.x = v[0], .branch = v[1], .sum = v[4]});
  run<&Table::layer_norm_fwd>({.x = v[4], .w = v[2], .b = v[3], .y = v[5], .mean = v[6], .rstd = v[7]});
}

template <class L>
void backward(Views v, std::int64_t blocks, int threads) {
  const auto n = static_cast<int>(v[0].dim(1));
  float* sums = scratch_of<float>(Scratch::kernel, static_cast<std::size_t>(2 * n * blocks));
  const std::size_t shared = static_cast<std::size_t>(shared_of_sums<L>(threads, n)) * sizeof(float);
  launch(layer_norm_bwd_rows<bf16, float, L>, dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(threads)),
         shared, stream(), v[0].ptr<bf16>(), v[1].ptr<float>(), v[2].ptr<float>(), v[3].ptr<float>(), v[4].ptr<bf16>(),
         v[5].ptr<bf16>(), sums, v[0].dim(0), n);
  launch(layer_norm_join<float, float>, grid_for(2 * n, kWarp), dim3(kJoinThreads), 0, stream(), sums,
         v[6].ptr<float>(), v[7].ptr<float>(), blocks, n);
}
// The sums of the columns go through memory at every row.
void streamed_bwd(Views v) { backward<Streamed<BlockGroup>>(v, resident(v, 4), 256); }
// Rows and sums in registers, two barriers a row.
void block_bwd(Views v) { backward<Registers<BlockGroup, 1>>(v, resident(v, 6), 128); }

}  // namespace

std::span<const Rung> layer_norm_fwd_rungs() {
  static const Rung rungs[] = {{"a thread a row", thread_a_row},
                               {"a block a row, streamed", block_a_row},
                               {"a warp a row, streamed", warp_a_row},
                               {"a block a row, in registers", block_holds_a_row}};
  return rungs;
}
std::span<const Rung> layer_norm_branch_rungs() {
  static const Rung rungs[] = {{"added before", added_before}};
  return rungs;
}
std::span<const Rung> layer_norm_bwd_rungs() {
  static const Rung rungs[] = {{"a block a row, streamed", streamed_bwd}, {"a block a row, in registers", block_bwd}};
  return rungs;
}

}  // namespace spn::kernels
