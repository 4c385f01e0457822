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

double count(const View& v) { return static_cast<double>(v.numel()); }

template <class A>
double flops(const A&) {
  return 0;
}
double flops(const Gemm& a) { return 2 * count(a.c) * static_cast<double>(a.a.dim(-1)); }
double product(const View& w, const View& y) { return 2 * count(y) * count(w) / static_cast<double>(w.dim(0)); }
double flops(const ConvFwd& a) { return product(a.w, a.y); }
double flops(const ConvBwd& a) { return product(a.w, a.dy) * ((a.dx ? 1 : 0) + (a.dw ? 1 : 0)); }
double attention(const View& q, const View& k, int products) {
  return products * 2 * count(q) * static_cast<double>(k.dim(-2));
}
double flops(const AttentionFwd& a) { return attention(a.q, a.k, 2); }
double flops(const AttentionBwd& a) { return attention(a.q, a.k, 5); }  // the weights are computed again
double flops(const ContrastiveFwd& a) { return 2 * count(a.x) * static_cast<double>(a.y.dim(0)); }
double flops(const ContrastiveBwd& a) {  // the logits are computed again
  return 2 * count(a.x) * static_cast<double>(a.y.dim(0)) * (1 + (a.dx ? 1 : 0) + (a.dy ? 1 : 0));
}

template <class A>
double bytes(const A& a) {
  double sum = 0;
  for (const View* v : a.views())
    if (v != nullptr && *v) sum += static_cast<double>(v->bytes());
  return sum;
}
double bytes(const AdamW& a) {
  double sum = 0;
  for (const AdamWParam& p : a.params) sum += 7 * static_cast<double>(p.w.bytes());  // w, m, v both ways; grad read
  return sum;
}
double bytes(const Sgd& a) {
  double sum = 0;
  for (const SgdParam& p : a.params) sum += 5 * static_cast<double>(p.w.bytes());
  return sum;
}
double bytes(const Lerp& a) {
  double sum = 0;
  for (const LerpPair& p : a.pairs) sum += 2 * static_cast<double>(p.y.bytes()) + static_cast<double>(p.x.bytes());
  return sum;
}
double bytes(const SumOfSquares& a) {
  double sum = 0;
  for (const View& v : a.x) sum += static_cast<double>(v.bytes());
  return sum;
}

template <class A>
void tally(const A& a) {
  g_work.flops += flops(a);
  g_work.bytes += bytes(a);
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
