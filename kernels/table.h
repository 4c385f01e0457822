// The table of kernels: plain function pointers, one table a device. A null entry means "not written yet" and is
// reported with op, device and the file to edit. run<> finds the table by the device of its arguments.
#pragma once

#include <cstddef>
#include <string_view>

#include "kernels/args/attention.h"
#include "kernels/args/batch_norm.h"
#include "kernels/args/contrastive.h"
#include "kernels/args/conv.h"
#include "kernels/args/dropout.h"
#include "kernels/args/elementwise.h"
#include "kernels/args/gemm.h"
#include "kernels/args/image.h"
#include "kernels/args/index.h"
#include "kernels/args/norm.h"
#include "kernels/args/optim.h"
#include "kernels/args/pool.h"
#include "kernels/args/reduce.h"
#include "kernels/meta.h"
#include "kernels/profile.h"

namespace spn::kernels {

struct MemoryStats {
  std::size_t in_use = 0, peak = 0, reserved = 0;  // bytes: held by tensors, its maximum, taken from the system
};

struct Table {
  // Runtime. alloc never returns null (it throws, saying what was asked and what is held); 64-byte aligned.
  void* (*alloc)(std::size_t bytes) = nullptr;
  void (*release)(void* p, std::size_t bytes) noexcept = nullptr;
  // between: device to device, or host and device; bytes of contiguous memory
  void (*transfer)(void* to, const void* from, std::size_t bytes) = nullptr;
  void (*sync)() = nullptr;
  MemoryStats (*memory)() = nullptr;
  void (*reset_peak)() = nullptr;
  // From host memory to the device beside the kernels: `from` may change when upload returns; kernels queued after
  // await_uploads see the data. Uploads begun after uploads_follow wait for the kernels queued before it: those may
  // still read `to`. The host waits in none of them. Null on the host.
  void (*upload)(void* to, const void* from, std::size_t bytes) = nullptr;
  void (*await_uploads)() = nullptr;
  void (*uploads_follow)() = nullptr;
  // From the device to the host behind the kernels queued so far, without waiting. collect waits for that one, gives
  // what came, and ends it; `to` null: it is not wanted. Null on the host.
  void* (*download)(const void* from, std::size_t bytes) = nullptr;
  void (*collect)(void* download, void* to) = nullptr;
  // Work in order behind this, for libraries that queue beside kernels (NCCL); null on the host.
  void* (*native_stream)() = nullptr;
  // What is queued between begin and end is recorded, not run, and replayed as often as wanted: the same kernels on the
  // same memory. Memory taken meanwhile belongs to the graph until it is dropped. Null: this device cannot.
  void (*capture_begin)() = nullptr;
  void* (*capture_end)() = nullptr;
  void (*replay)(void* graph) = nullptr;
  void (*drop_graph)(void* graph) noexcept = nullptr;

  // Maths.
  void (*unary_fwd)(const UnaryFwd&) = nullptr;
  void (*unary_bwd)(const UnaryBwd&) = nullptr;
  void (*binary)(const Binary&) = nullptr;
  void (*affine)(const Affine&) = nullptr;
  void (*copy)(const Copy&) = nullptr;
  void (*reduce)(const Reduce&) = nullptr;
  void (*gemm)(const Gemm&) = nullptr;
  void (*conv_fwd)(const ConvFwd&) = nullptr;
  void (*conv_bwd)(const ConvBwd&) = nullptr;
  void (*pool_fwd)(const PoolFwd&) = nullptr;
  void (*pool_bwd)(const PoolBwd&) = nullptr;
  void (*batch_norm_stats)(const BatchNormStats&) = nullptr;
  void (*batch_norm_apply)(const BatchNormApply&) = nullptr;
  void (*batch_norm_bwd_stats)(const BatchNormBwdStats&) = nullptr;
  void (*batch_norm_bwd_apply)(const BatchNormBwdApply&) = nullptr;
  void (*layer_norm_fwd)(const LayerNormFwd&) = nullptr;
  void (*layer_norm_bwd)(const LayerNormBwd&) = nullptr;
  void (*softmax_fwd)(const SoftmaxFwd&) = nullptr;
  void (*softmax_bwd)(const SoftmaxBwd&) = nullptr;
  void (*l2_norm_fwd)(const L2NormFwd&) = nullptr;
  void (*l2_norm_bwd)(const L2NormBwd&) = nullptr;
  void (*cross_entropy_fwd)(const CrossEntropyFwd&) = nullptr;
  void (*cross_entropy_bwd)(const CrossEntropyBwd&) = nullptr;
  void (*attention_fwd)(const AttentionFwd&) = nullptr;
  void (*attention_bwd)(const AttentionBwd&) = nullptr;
  void (*dropout)(const Dropout&) = nullptr;
  void (*gather_rows)(const GatherRows&) = nullptr;
  void (*scatter_add_rows)(const ScatterAddRows&) = nullptr;
  void (*image_embed)(const ImageEmbed&) = nullptr;
  void (*contrastive_fwd)(const ContrastiveFwd&) = nullptr;
  void (*contrastive_bwd)(const ContrastiveBwd&) = nullptr;
  void (*adamw)(const AdamW&) = nullptr;
  void (*sgd)(const Sgd&) = nullptr;
  void (*lerp)(const Lerp&) = nullptr;
  void (*sum_of_squares)(const SumOfSquares&) = nullptr;
};

// Always there.
const Table& cpu_table();
// Counts instead of computing (kernels/meta.h).
const Table& meta_table();
// Null without a CUDA build (kernels/no_cuda.cpp).
const Table* cuda_table();
// Throws when the device has no table in this build.
const Table& table_for(const Device& device);

namespace detail {
// "layer_norm_fwd" of run<&Table::layer_norm_fwd>'s __PRETTY_FUNCTION__.
std::string_view entry_name(std::string_view pretty);
template <class M>
struct MemberArgs;
template <class A>
struct MemberArgs<void (*Table::*)(const A&)> {
  using type = A;
};
[[noreturn]] void missing_entry(const char* args, const Device& device, DType dtype);
[[noreturn]] void mixed_devices(const char* args, const Device& a, const Device& b);
}  // namespace detail

template <auto Member>
using ArgsOf = typename detail::MemberArgs<decltype(Member)>::type;

// run<&Table::layer_norm_fwd>({.x = x, …})
template <auto Member>
void run(const ArgsOf<Member>& args) {
  const View* first = nullptr;
  for (const View* v : args.views()) {
    if (v == nullptr || !*v) continue;
    if (first == nullptr) first = v;
    if (!(v->device == first->device)) detail::mixed_devices(__PRETTY_FUNCTION__, first->device, v->device);
  }
  if (first == nullptr) return;  // nothing but empty or absent views
  const auto entry = table_for(first->device).*Member;
  if (entry == nullptr) detail::missing_entry(__PRETTY_FUNCTION__, first->device, first->dtype);
  const detail::ProfileScope timed(__PRETTY_FUNCTION__, args);
  entry(args);
}

}  // namespace spn::kernels
