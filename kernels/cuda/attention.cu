// Fused attention: a warp a head where sequences are as short as this model's, on tensor cores in bf16; beyond, bf16
// forward on tensor cores, long sequences otherwise as products (attention_products.cu), and tiles through shared
// memory for all the rest.
#include <algorithm>

#include "kernels/checks/attention.h"
#include "kernels/cuda/attention_products.h"
#include "kernels/cuda/device/attention_fragments.h"
#include "kernels/cuda/device/attention_short.h"
#include "kernels/cuda/device/attention_short_fragments.h"
#include "kernels/cuda/device/attention_tiled.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

using i64 = std::int64_t;

// Two blocks a multiprocessor of 227 KiB; smaller devices (sm_80 has 163) get one.
constexpr std::size_t kSharedAimed = std::size_t{110} * 1024;

template <class A>
AttentionSizes sizes_of(const A& a) {
  check_attention(a);
  return {a.q.dim(0), a.q.dim(1), a.q.dim(2), a.k.dim(2), static_cast<int>(a.q.dim(3)), true};
}

// packs stays true while all heads can be read 16 bytes at a time.
template <class T>
Heads<T> heads(const View& v, AttentionSizes& z) {
  if (!v) return {};
  constexpr i64 kPack = Pack<std::remove_const_t<T>>::n;
  z.packs = z.packs && z.width % kPack == 0 && reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0;
  for (int d = 0; d < 3; ++d) z.packs = z.packs && (v.dim(d) == 1 || v.strides[d] % kPack == 0);
  return {v.ptr<std::remove_const_t<T>>(), v.strides[0], v.strides[1], v.strides[2]};
}

bool is_short(const AttentionSizes& z) { return z.tq <= kShortRows && z.tk <= kShortRows && z.width <= kShortWidth; }

AttentionDropout dropout_of(const DropoutKey& key) { return {key, key.p > 0 ? dropout_threshold(key.p) : 0U}; }

// Tiles for `rows` owned rows, whose shared memory is `own_rows` rows of the owned side, `streamed_rows` of the other,
// `weights` tiles between them and three numbers a row.
struct TileShared {
  AttentionTiles tiles;
  std::size_t bytes;
  unsigned blocks;
};
template <class C>
TileShared tiles_for(const AttentionSizes& z, i64 rows, int own_rows, int streamed_rows, int weights) {
  AttentionTiles s{64, 32, (z.width + 3) / 4 * 4 + 4};
  const auto bytes = [&] {
    return sizeof(C) * static_cast<std::size_t>((own_rows * s.own + streamed_rows * s.streamed) * s.row +
                                                weights * s.own * s.weights() + 3 * std::max(s.own, s.streamed));
  };
  while (s.own > 4 && s.own / 2 >= rows) s.own /= 2;
  while (bytes() > std::min(kSharedAimed, shared_most()) && (s.own > 4 || s.streamed > 4))
    (s.own > s.streamed ? s.own : s.streamed) /= 2;
  check(bytes() <= shared_most(), "attention",
        "expected a head width that fits a block's {} bytes of shared memory, got {}", shared_most(), z.width);
  const i64 blocks = z.batch * z.heads * ((rows + s.own - 1) / s.own);
  check(blocks <= 0x7fffffff, "attention", "expected at most 2^31 tiles, got {}", blocks);
  return {s, bytes(), static_cast<unsigned>(blocks)};
}

// A warp a head.
template <class A>
void launch_short(void (*kernel)(A), int warps, const A& a) {
  const i64 heads = a.z.batch * a.z.heads;
  check(heads <= 0x7fffffff, "attention", "expected at most 2^31 heads, got {}", heads);
  launch(kernel, dim3(static_cast<unsigned>((heads + warps - 1) / warps)), dim3(static_cast<unsigned>(warps) * kWarp),
         0, stream(), a);
}

template <class T>
AttentionForward<T> as_kernels_take(const AttentionFwd& a, AttentionSizes z) {
  using C = compute_t<T>;
  AttentionForward<T> f{heads<const T>(a.q, z),
                        heads<const T>(a.k, z),
                        heads<const T>(a.v, z),
                        heads<T>(a.o, z),
                        a.lse.ptr<C>(),
                        static_cast<C>(a.scale),
                        {},
                        dropout_of(a.dropout)};
  f.z = z;
  return f;
}

template <int width>
void on_tensor_cores(const AttentionForward<bf16>& f) {
  const i64 rows = (f.z.tq + kFragmentRows - 1) / kFragmentRows;  // of warps
  const i64 of_head = (rows + kFragmentWarps - 1) / kFragmentWarps, warps = (rows + of_head - 1) / of_head;
  const i64 blocks = f.z.batch * f.z.heads * of_head;
  check(blocks <= 0x7fffffff, "attention", "expected at most 2^31 tiles, got {}", blocks);
  launch(attention_fragments<width>, dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(warps) * kWarp),
         kFragmentShared<width>, stream(), f);
}

bool on_tensor_cores(const AttentionFwd& a, const AttentionSizes& z) {
  if (a.q.dtype != DType::bf16 || a.dropout.p > 0 || is_short(z)) return false;
  if (z.width != 32 && z.width != 64) return false;
  const AttentionForward<bf16> f = as_kernels_take<bf16>(a, z);
  if (!f.z.packs) return false;
  if (z.width == 32)
    on_tensor_cores<32>(f);
  else
    on_tensor_cores<64>(f);
  return true;
}

template <class T>
void forward_of_short(const AttentionForward<T>& f) {
  const bool packs = f.z.packs;
  if constexpr (!std::is_same_v<T, bf16>)
    launch_short(packs ? attention_short<T, true> : attention_short<T, false>, kShortWarps<T>, f);
  else if (!packs)
    launch_short(attention_short<bf16, false>, kShortWarps<bf16>, f);
  else if (f.dropout.key.p > 0)
    launch_short(attention_short_fragments<true>, kShortFragmentWarps, f);
  else
    launch_short(attention_short_fragments<false>, kShortFragmentWarps, f);
}
template <class T>
void backward_of_short(const AttentionBackward<T>& f) {
  const bool packs = f.z.packs;
  if constexpr (!std::is_same_v<T, bf16>)
    launch_short(packs ? attention_short_bwd<T, true> : attention_short_bwd<T, false>, kShortWarps<T>, f);
  else if (!packs)
    launch_short(attention_short_bwd<bf16, false>, kShortWarps<bf16>, f);
  else if (f.dropout.key.p > 0)
    launch_short(attention_short_fragments_bwd<true>, kShortFragmentWarps, f);
  else
    launch_short(attention_short_fragments_bwd<false>, kShortFragmentWarps, f);
}

template <class T>
void forward(const AttentionFwd& a, const AttentionSizes& z) {
  using C = compute_t<T>;
  const AttentionForward<T> f = as_kernels_take<T>(a, z);
  if (is_short(z)) return forward_of_short(f);
  const TileShared s = tiles_for<C>(z, z.tq, 2, 2, 1);
  launch(attention_tiled<T>, dim3(s.blocks), dim3(kTileThreads), s.bytes, stream(), f, s.tiles);
}

template <class T>
void backward(const AttentionBwd& a, AttentionSizes z) {
  using C = compute_t<T>;
  AttentionBackward<T> f{heads<const T>(a.q, z),
                         heads<const T>(a.k, z),
                         heads<const T>(a.v, z),
                         heads<const T>(a.o, z),
                         heads<const T>(a.d_o, z),
                         heads<T>(a.dq, z),
                         heads<T>(a.dk, z),
                         heads<T>(a.dv, z),
                         a.lse.ptr<C>(),
                         static_cast<C>(a.scale),
                         {},
                         dropout_of(a.dropout)};
  f.z = z;
  if (is_short(z)) return backward_of_short(f);
  if (a.dq) {
    const TileShared s = tiles_for<C>(z, z.tq, 3, 2, 2);
    launch(attention_tiled_dq<T>, dim3(s.blocks), dim3(kTileThreads), s.bytes, stream(), f, s.tiles);
  }
  if (a.dk || a.dv) {
    const TileShared s = tiles_for<C>(z, z.tk, 4, 2, 2);
    launch(attention_tiled_dkv<T>, dim3(s.blocks), dim3(kTileThreads), s.bytes, stream(), f, s.tiles);
  }
}

}  // namespace

void attention_fwd(const AttentionFwd& a) {
  const AttentionSizes z = sizes_of(a);
  if (z.batch * z.heads * z.tq * z.width == 0) return;
  if (on_tensor_cores(a, z) || attention_by_products(a)) return;
  visit_float(a.q.dtype, "attention", [&](auto e) { forward<decltype(e)>(a, z); });
}

void attention_bwd(const AttentionBwd& a) {
  const AttentionSizes z = sizes_of(a);
  if (z.batch * z.heads * z.tq * z.width == 0) {  // nobody asked: keys have no gradient
    for (const View* g : {&a.dk, &a.dv})
      if (*g && g->numel() != 0) copy({.value = 0, .x = {}, .y = *g});
    return;
  }
  if (!a.dq && !a.dk && !a.dv) return;
  if (attention_by_products(a)) return;
  visit_float(a.q.dtype, "attention", [&](auto e) { backward<decltype(e)>(a, z); });
}

}  // namespace spn::kernels::cuda
