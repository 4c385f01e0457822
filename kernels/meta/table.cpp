// The meta table: allocation moves a counter, kernels add to the tally.
#include "kernels/table.h"

#include <cstdint>
#include <type_traits>

namespace spn::kernels {
namespace {

Work g_work;
MemoryStats g_memory;
std::uintptr_t g_next = 64;

// Addresses are distinct and never read.
void* alloc(std::size_t bytes) {
  g_memory.in_use += bytes;
  g_memory.peak = std::max(g_memory.peak, g_memory.in_use);
  const std::uintptr_t at = g_next;
  g_next += (bytes + 127) / 64 * 64;
  return reinterpret_cast<void*>(at);
}
void release(void*, std::size_t bytes) noexcept { g_memory.in_use -= bytes; }
// Nothing is there to copy: what comes to the host from here is undefined.
void transfer(void*, const void*, std::size_t bytes) { g_work.bytes += 2 * static_cast<double>(bytes); }
void sync() {}
MemoryStats memory() { return g_memory; }
void reset_peak() { g_memory.peak = g_memory.in_use; }

template <class A>
void tally(const A& a) {
  g_work += work_of(a);
}

}  // namespace

void meta_reset_work() { g_work = {}; }
Work meta_work() { return g_work; }

const Table& meta_table() {
  static const Table table = {
      .alloc = alloc,
      .release = release,
      .transfer = transfer,
      .sync = sync,
      .memory = memory,
      .reset_peak = reset_peak,
      .unary_fwd = tally,
      .unary_bwd = tally,
      .binary = tally,
      .affine = tally,
      .copy = tally,
      .reduce = tally,
      .gemm = tally,
      .conv_fwd = tally,
      .conv_bwd = tally,
      .pool_fwd = tally,
      .pool_bwd = tally,
      .batch_norm_stats = tally,
      .batch_norm_apply = tally,
      .batch_norm_bwd_stats = tally,
      .batch_norm_bwd_apply = tally,
      .layer_norm_fwd = tally,
      .layer_norm_bwd = tally,
      .softmax_fwd = tally,
      .softmax_bwd = tally,
      .l2_norm_fwd = tally,
      .l2_norm_bwd = tally,
      .cross_entropy_fwd = tally,
      .cross_entropy_bwd = tally,
      .attention_fwd = tally,
      .attention_bwd = tally,
      .dropout = tally,
      .gather_rows = tally,
      .scatter_add_rows = tally,
      .image_embed = tally,
      .contrastive_fwd = tally,
      .contrastive_bwd = tally,
      .adamw = tally,
      .sgd = tally,
      .lerp = tally,
      .sum_of_squares = tally,
  };
  return table;
}

}  // namespace spn::kernels
