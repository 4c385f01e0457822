#include "kernels/cpu/conv_columns.h"

#include <cstring>

#include "kernels/cpu/dnnl.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/workspace.h"

namespace spn::kernels::cpu {
namespace {

using i64 = std::int64_t;

constexpr i64 kChannels = 32;  // from here on a window is copied in long enough runs
constexpr i64 kRows = 1024;    // columns of about so many pixels lie in memory at once

struct Sizes {
  i64 n, c, h, w, o, kh, kw, oh, ow, sh, sw, ph, pw;
  Sizes(const ConvShape& conv, const View& x, const View& wt, const View& y)
      : n(x.dim(0)),
        c(x.dim(1)),
        h(x.dim(2)),
        w(x.dim(3)),
        o(wt.dim(0)),
        kh(wt.dim(2)),
        kw(wt.dim(3)),
        oh(y.dim(2)),
        ow(y.dim(3)),
        sh(conv.stride_h()),
        sw(conv.stride),
        ph(conv.pad_h()),
        pw(conv.pad) {}
  i64 taps() const { return kh * kw; }
  i64 row() const { return taps() * c; }                                              // values of a column
  i64 pixels() const { return oh * ow; }                                              // outputs of an image
  i64 batch() const { return std::max<i64>(1, kRows / std::max<i64>(1, pixels())); }  // images at once
  // x is its own columns
  bool plain() const { return kh == 1 && kw == 1 && sh == 1 && sw == 1 && ph == 0 && pw == 0; }
};

float* memory(int slot, i64 n) {
  static thread_local std::array<Workspace, 2> blocks;
  return static_cast<float*>(blocks[static_cast<std::size_t>(slot)].get(static_cast<std::size_t>(n) * sizeof(float)));
}

void sgemm(char ta, char tb, i64 m, i64 n, i64 k, const float* a, i64 lda, const float* b, i64 ldb, bool add, float* c,
           i64 ldc) {
  const auto status = dnnl_sgemm(ta, tb, m, n, k, 1.0F, a, lda, b, ldb, add ? 1.0F : 0.0F, c, ldc);
  check(status == dnnl_success, "conv", "oneDNN's sgemm failed with status {}", static_cast<int>(status));
}

// Images [n0, n1) to columns [pixels, kh, kw, c].
const float* columns(const Sizes& s, const float* x, i64 n0, i64 n1, float* to) {
  if (s.plain()) return x + n0 * s.h * s.w * s.c;
  parallel_for((n1 - n0) * s.oh, s.ow * s.row(), [&](i64 begin, i64 end) {
    for (i64 line = begin; line < end; ++line) {
      const float* image = x + (n0 + line / s.oh) * s.h * s.w * s.c;
      const i64 top = line % s.oh * s.sh - s.ph;
      float* p = to + line * s.ow * s.row();
      for (i64 j = 0; j < s.ow; ++j, p += s.row()) {
        const i64 left = j * s.sw - s.pw;
        const i64 b0 = std::max<i64>(0, -left), b1 = std::max(b0, std::min(s.kw, s.w - left));  // taps inside
        for (i64 a = 0; a < s.kh; ++a) {
          float* q = p + a * s.kw * s.c;
          const i64 row = top + a;
          const bool inside = row >= 0 && row < s.h;
          const i64 from = inside ? b0 : s.kw, till = inside ? b1 : s.kw;
          std::memset(q, 0, static_cast<std::size_t>(from * s.c) * sizeof(float));
          if (from < till)
            std::memcpy(q + from * s.c, image + (row * s.w + left + from) * s.c,
                        static_cast<std::size_t>((till - from) * s.c) * sizeof(float));
          std::memset(q + till * s.c, 0, static_cast<std::size_t>((s.kw - till) * s.c) * sizeof(float));
        }
      }
    }
  });
  return to;
}

// The transpose: every input pixel sums what its columns hold, taps in order.
void gather(const Sizes& s, const float* from, i64 n0, i64 n1, float* dx) {
  parallel_for((n1 - n0) * s.h, s.w * s.row() / (s.sh * s.sw), [&](i64 begin, i64 end) {
    for (i64 line = begin; line < end; ++line) {
      const i64 n = line / s.h, row = line % s.h;
      float* to = dx + ((n0 + n) * s.h + row) * s.w * s.c;
      std::memset(to, 0, static_cast<std::size_t>(s.w * s.c) * sizeof(float));
      for (i64 a = 0; a < s.kh; ++a) {
        const i64 at = row + s.ph - a;
        if (at < 0 || at % s.sh != 0 || at / s.sh >= s.oh) continue;
        const float* p = from + ((n * s.oh + at / s.sh) * s.ow) * s.row() + a * s.kw * s.c;
        for (i64 j = 0; j < s.ow; ++j, p += s.row())
          for (i64 b = 0; b < s.kw; ++b) {
            const i64 column = j * s.sw - s.pw + b;
            if (column < 0 || column >= s.w) continue;
            float* sum = to + column * s.c;
            const float* add = p + b * s.c;
#pragma omp simd
            for (i64 c = 0; c < s.c; ++c) sum[c] += add[c];
          }
      }
    }
  });
}

// [o, c, taps] and [o, taps, c], one to the other.
void swap_taps(const Sizes& s, const float* from, float* to, bool to_taps_first) {
  const i64 taps = s.taps();
  parallel_for(s.o, s.row(), [&](i64 begin, i64 end) {
    for (i64 o = begin; o < end; ++o) {
      const float* p = from + o * s.row();
      float* q = to + o * s.row();
      for (i64 t = 0; t < taps; ++t)
        for (i64 c = 0; c < s.c; ++c)
          if (to_taps_first)
            q[t * s.c + c] = p[c * taps + t];
          else
            q[c * taps + t] = p[t * s.c + c];
    }
  });
}

const float* taps_first(const Sizes& s, const View& w, float* to) {
  if (s.taps() == 1) return w.ptr<float>();
  swap_taps(s, w.ptr<float>(), to, true);
  return to;
}

// f(first image, last) over the batch.
template <class F>
void in_parts(const Sizes& s, F&& f) {
  for (i64 n = 0; n < s.n; n += s.batch()) f(n, std::min(s.n, n + s.batch()));
}

}  // namespace

bool columns_win(ConvPass pass, const ConvShape& conv, const View& x, const View& w, bool with_bias) {
  if (dnnl_has_avx512() || with_bias || x.dtype != DType::f32 || x.dim(1) < kChannels || w.dim(0) < kChannels)
    return false;
  const bool pointwise = w.dim(2) == 1 && w.dim(3) == 1, strided = conv.stride > 1;
  // 1 x 1 and gradients of x at stride 1: as fast or faster in oneDNN
  return pass == ConvPass::data ? strided && !pointwise : !pointwise || (strided && pass == ConvPass::weights);
}

void conv_columns_fwd(const ConvFwd& v) {
  const Sizes s(v.conv, v.x, v.w, v.y);
  float* block = memory(0, s.batch() * s.pixels() * s.row());
  const float* w = taps_first(s, v.w, memory(1, s.o * s.row()));
  in_parts(s, [&](i64 n0, i64 n1) {
    const float* col = columns(s, v.x.ptr<float>(), n0, n1, block);
    sgemm('N', 'T', (n1 - n0) * s.pixels(), s.o, s.row(), col, s.row(), w, s.row(), false,
          v.y.ptr<float>() + n0 * s.pixels() * s.o, s.o);
  });
}

void conv_columns_data(const ConvBwd& v) {
  const Sizes s(v.conv, v.dx, v.w, v.dy);
  float* block = memory(0, s.batch() * s.pixels() * s.row());
  const float* w = taps_first(s, v.w, memory(1, s.o * s.row()));
  in_parts(s, [&](i64 n0, i64 n1) {
    sgemm('N', 'N', (n1 - n0) * s.pixels(), s.row(), s.o, v.dy.ptr<float>() + n0 * s.pixels() * s.o, s.o, w, s.row(),
          false, block, s.row());
    gather(s, block, n0, n1, v.dx.ptr<float>());
  });
}

void conv_columns_weights(const ConvBwd& v) {
  const Sizes s(v.conv, v.x, v.w, v.dy);
  float* block = memory(0, s.batch() * s.pixels() * s.row());
  float* dw = s.taps() == 1 ? v.dw.ptr<float>() : memory(1, s.o * s.row());
  in_parts(s, [&](i64 n0, i64 n1) {
    const float* col = columns(s, v.x.ptr<float>(), n0, n1, block);
    sgemm('T', 'N', s.o, s.row(), (n1 - n0) * s.pixels(), v.dy.ptr<float>() + n0 * s.pixels() * s.o, s.o, col, s.row(),
          n0 > 0, dw, s.row());
  });
  if (s.taps() != 1) swap_taps(s, dw, v.dw.ptr<float>(), false);
}

}  // namespace spn::kernels::cpu
