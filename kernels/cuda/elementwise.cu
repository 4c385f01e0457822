// Elementwise maps, copies and fills.
#include "kernels/cuda/device/elementwise.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/strided.h"

namespace spn::kernels::cuda {
namespace {

// y = f(x…), views[0] being y.
template <class T, int N, class F>
void map(const char* where, const std::array<const View*, N + 1>& views, F f) {
  const Strided<N + 1> s = coalesce<N + 1>(where, views);
  if (s.numel == 0) return;
  Inputs<T, N> x;
  for (int v = 0; v < N; ++v) x.p[v] = views[static_cast<std::size_t>(v) + 1]->template ptr<T>();
  T* y = views[0]->template ptr<T>();
  if (is_flat<N + 1>(s, views))
    return launch(map_flat<T, N, F>, grid_for(s.numel / Pack<T>::n + 1), dim3(kBlock), 0, stream(), y, x, s.numel, f);
  if constexpr (N == 2)  // what broadcasts: layer scale, position embedding, a bias
    if (const auto packs = in_packs<N + 1>(s, Pack<T>::n, views))
      return launch(map_packs<T, N, F>, grid_for(packs->numel), dim3(kBlock), 0, stream(), y, x, *packs, f);
  launch(map_strided<T, N, F>, grid_for(s.numel), dim3(kBlock), 0, stream(), y, x, s, f);
}

}  // namespace

void unary_fwd(const UnaryFwd& a) {
  visit_float(a.y.dtype, "unary", [&](auto e) {
    using T = decltype(e);
    visit_unary(a.op, [&]<UnaryOp op>() { map<T, 1>("unary", {&a.y, &a.x}, UnaryValue<op, T>{}); });
  });
}

void unary_bwd(const UnaryBwd& a) {
  if (!a.dx) return;
  visit_float(a.dx.dtype, "unary_bwd", [&](auto e) {
    using T = decltype(e);
    visit_unary(a.op, [&]<UnaryOp op>() {
      map<T, 3>("unary_bwd", {&a.dx, &a.x, &a.y, &a.dy}, UnaryGradient<op, T>{});
    });
  });
}

void binary(const Binary& a) {
  visit_float(a.y.dtype, "binary", [&](auto e) {
    using T = decltype(e);
    visit_binary(a.op, [&]<BinaryOp op>() {
      map<T, 2>("binary", {&a.y, &a.a, &a.b}, BinaryValue<op, compute_t<T>>{});
    });
  });
}

void affine(const Affine& a) {
  visit_float(a.y.dtype, "affine", [&](auto e) {
    using C = compute_t<decltype(e)>;
    map<decltype(e), 1>("affine", {&a.y, &a.x}, AffineValue<C>{static_cast<C>(a.mul), static_cast<C>(a.add)});
  });
}

void copy(const Copy& a) {
  const View& from = a.x ? a.x : a.y;  // a fill walks y twice
  const Strided<2> s = coalesce<2>("copy", {&a.y, &from});
  const bool flat = is_flat<2>(s, {&a.y, &from});
  const auto move = [&]<class To, class From>(To* y, const From* x) {
    constexpr int V = kCopyPack<To, From>;
    const auto packs = s.dims > 0 && s.stride[1][s.dims - 1] == 1 ? in_packs<2>(s, V, {&a.y, &from}) : std::nullopt;
    if (flat)
      launch(copy_flat<To, From>, grid_for(s.numel / V + 1), dim3(kBlock), 0, stream(), y, x, s.numel);
    else if (packs)
      launch(copy_packs<To, From>, grid_for(packs->numel), dim3(kBlock), 0, stream(), y, x, *packs);
    else
      launch(copy_strided<To, From>, grid_for(s.numel), dim3(kBlock), 0, stream(), y, x, s);
  };
  if (a.x && a.x.dtype == a.y.dtype) {
    switch (size_of(a.y.dtype)) {
      case 1: return move(static_cast<std::uint8_t*>(a.y.data), static_cast<const std::uint8_t*>(a.x.data));
      case 2: return move(static_cast<std::uint16_t*>(a.y.data), static_cast<const std::uint16_t*>(a.x.data));
      case 4: return move(static_cast<std::uint32_t*>(a.y.data), static_cast<const std::uint32_t*>(a.x.data));
      default: return move(static_cast<std::uint64_t*>(a.y.data), static_cast<const std::uint64_t*>(a.x.data));
    }
  }
  if (a.x && a.y.dtype == DType::bf16 && a.x.dtype == DType::f32) return move(a.y.ptr<bf16>(), a.x.ptr<float>());
  if (a.x && a.y.dtype == DType::f32 && a.x.dtype == DType::bf16) return move(a.y.ptr<float>(), a.x.ptr<bf16>());
  launch(copy_any, grid_for(s.numel), dim3(kBlock), 0, stream(), a.y.data, a.y.dtype, a.x.data, from.dtype, s, a.value);
}

}  // namespace spn::kernels::cuda
