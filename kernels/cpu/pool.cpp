// Pooling over channels-last images: the inner loops run over channels. Images are independent, so the backward adds
// into its own image only and any number of threads gives the same bits.
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/fold.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/parallel.h"

namespace spn::kernels::cpu {
namespace {

using i64 = std::int64_t;

struct Geometry {
  i64 n, c, h, w, oh, ow;
};

Geometry geometry(const View& in, const View& out, const char* where) {
  check(in.is_channels_last() && out.is_channels_last() && in.dim(0) == out.dim(0) && in.dim(1) == out.dim(1) &&
            in.dtype == out.dtype,
        where, "expected channels-last [N,C,H,W] in and out of equal N, C and dtype, got {} {} and {} {}",
        name_of(in.dtype), in.shape.str(), name_of(out.dtype), out.shape.str());
  return {in.dim(0), in.dim(1), in.dim(2), in.dim(3), out.dim(2), out.dim(3)};
}

// Inputs [from, to) of output cell o along one dim, and what an average divides by along it.
struct Window {
  i64 from, to, size;
};
template <class Args>
Window window(const Args& o, i64 cell, i64 in, i64 out) {
  if (o.kind == PoolKind::adaptive_average) {
    const i64 from = cell * in / out, to = ((cell + 1) * in + out - 1) / out;
    return {from, to, to - from};
  }
  const i64 start = cell * o.stride - o.pad;
  // padding counts as far as it reaches: PyTorch clips a window at in + pad
  return {std::max<i64>(start, 0), std::min<i64>(start + o.kernel, in),
          std::min<i64>(start + o.kernel, in + o.pad) - start};
}

template <class T>
void max_fwd(const PoolFwd& o, const Geometry& s) {
  using A = typename Lanes<T>::scalar;
  const T* x = o.x.ptr<T>();
  T* y = o.y.ptr<T>();
  std::int32_t* index = o.index.ptr<std::int32_t>();
  parallel_for(s.n * s.oh, s.w * s.h / s.oh * s.c, [&](i64 from, i64 to) {
    for (i64 line = from; line < to; ++line)
      for (i64 j = 0; j < s.ow; ++j) {
        const i64 n = line / s.oh, i = line % s.oh;
        const Window rows = window(o, i, s.h, s.oh), cols = window(o, j, s.w, s.ow);
        T* best = y + ((n * s.oh + i) * s.ow + j) * s.c;
        std::int32_t* where = index + ((n * s.oh + i) * s.ow + j) * s.c;
        const auto first = static_cast<std::int32_t>(rows.from * s.w + cols.from);
        for (i64 c = 0; c < s.c; ++c) {
          best[c] = static_cast<T>(-std::numeric_limits<A>::infinity());
          where[c] = first;
        }
        for (i64 h = rows.from; h < rows.to; ++h)
          for (i64 w = cols.from; w < cols.to; ++w) {
            const T* v = x + ((n * s.h + h) * s.w + w) * s.c;
            const auto position = static_cast<std::int32_t>(h * s.w + w);
#pragma omp simd
            for (i64 c = 0; c < s.c; ++c) {
              const A got = static_cast<A>(v[c]), had = static_cast<A>(best[c]);
              const bool take = got > had || got != got;  // a NaN wins, as in PyTorch
              best[c] = take ? v[c] : best[c];
              where[c] = take ? position : where[c];
            }
          }
      }
  });
}

template <class T>
void average_fwd(const PoolFwd& o, const Geometry& s) {
  using A = typename Lanes<T>::scalar;
  const T* x = o.x.ptr<T>();
  T* y = o.y.ptr<T>();
  parallel_for(s.n * s.oh, s.w * s.h / s.oh * s.c, [&](i64 from, i64 to) {
    std::vector<double> total(static_cast<std::size_t>(s.c));
    double* const sum = total.data();
    for (i64 line = from; line < to; ++line)
      for (i64 j = 0; j < s.ow; ++j) {
        const i64 n = line / s.oh, i = line % s.oh;
        const Window rows = window(o, i, s.h, s.oh), cols = window(o, j, s.w, s.ow);
        std::fill(total.begin(), total.end(), 0.0);
        for (i64 h = rows.from; h < rows.to; ++h)
          for (i64 w = cols.from; w < cols.to; ++w) {
            const T* v = x + ((n * s.h + h) * s.w + w) * s.c;
#pragma omp simd
            for (i64 c = 0; c < s.c; ++c) sum[c] += static_cast<double>(static_cast<A>(v[c]));
          }
        T* out = y + ((n * s.oh + i) * s.ow + j) * s.c;
        const double divisor = static_cast<double>(rows.size * cols.size);
        for (i64 c = 0; c < s.c; ++c) out[c] = static_cast<T>(static_cast<A>(sum[c] / divisor));
      }
  });
}

template <class T>
void bwd(const PoolBwd& o, const Geometry& s) {
  using A = typename Lanes<T>::scalar;
  const T* dy = o.dy.ptr<T>();
  T* dx = o.dx.ptr<T>();
  const std::int32_t* index = o.kind == PoolKind::max ? o.index.ptr<std::int32_t>() : nullptr;
  parallel_for(s.n, s.h * s.w * s.c, [&](i64 from, i64 to) {
    // one image's gradient in the compute type: bf16 must not be rounded at every addition
    std::vector<A> image(static_cast<std::size_t>(s.h * s.w * s.c));
    A* const sum = image.data();
    for (i64 n = from; n < to; ++n) {
      std::fill(image.begin(), image.end(), A{0});
      for (i64 i = 0; i < s.oh; ++i)
        for (i64 j = 0; j < s.ow; ++j) {
          const i64 cell = ((n * s.oh + i) * s.ow + j) * s.c;
          if (index != nullptr) {
            for (i64 c = 0; c < s.c; ++c) sum[index[cell + c] * s.c + c] += static_cast<A>(dy[cell + c]);
            continue;
          }
          const Window rows = window(o, i, s.h, s.oh), cols = window(o, j, s.w, s.ow);
          const A scale = A{1} / static_cast<A>(rows.size * cols.size);
          for (i64 h = rows.from; h < rows.to; ++h)
            for (i64 w = cols.from; w < cols.to; ++w) {
              A* cell_sum = sum + (h * s.w + w) * s.c;
#pragma omp simd
              for (i64 c = 0; c < s.c; ++c) cell_sum[c] += scale * static_cast<A>(dy[cell + c]);
            }
        }
      T* out = dx + n * s.h * s.w * s.c;
      for (i64 k = 0; k < s.h * s.w * s.c; ++k) out[k] = static_cast<T>(sum[k]);
    }
  });
}

}  // namespace

void pool_fwd(const PoolFwd& o) {
  const Geometry s = geometry(o.x, o.y, "pool_fwd");
  visit_float(o.x.dtype, "pool_fwd", [&](auto e) {
    using T = decltype(e);
    o.kind == PoolKind::max ? max_fwd<T>(o, s) : average_fwd<T>(o, s);
  });
}

void pool_bwd(const PoolBwd& o) {
  const Geometry s = geometry(o.dx, o.dy, "pool_bwd");
  visit_float(o.dy.dtype, "pool_bwd", [&](auto e) { bwd<decltype(e)>(o, s); });
}

}  // namespace spn::kernels::cpu
