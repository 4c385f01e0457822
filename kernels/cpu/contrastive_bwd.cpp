// Backward of the streamed symmetric InfoNCE: logits are recomputed a tile at a time, turned into G in place, and
// multiplied into dx and dy.
#include "kernels/cpu/contrastive_tile.h"

namespace spn::kernels::cpu {
namespace {

template <class T>
class Backward {
 public:
  explicit Backward(const ContrastiveBwd& a)
      : a_(a),
        p_("contrastive_bwd", a),
        weight_(a.mul * static_cast<double>(*a.dloss.ptr<T>())),
        need_rows_(a.dx || a.dscale),
        tile_(p_.threads * p_.tile_elements()),
        rows_(need_rows_ ? p_.threads * kPanelRows * p_.d : 0),
        row_term_(p_.rows),
        col_term_(p_.cols),
        saved_(p_.threads * kPanelRows),
        dscale_(p_.threads) {}

  void run() {
    terms(a_.row_lse, row_term_.get(), p_.rows);
    terms(a_.col_lse, col_term_.get(), p_.cols);
    bool ok = true;
    std::fill_n(dscale_.get(), p_.threads, 0.0);
#pragma omp parallel num_threads(p_.threads) reduction(&& : ok)
    for (std::int64_t r0 = 0; r0 < p_.rows; r0 += kPanelRows) {
      const std::int64_t r = p_.panel_rows(r0);
#pragma omp for schedule(static, 1)
      for (int t = 0; t < p_.threads; ++t)
        for (std::int64_t i = p_.tile_begin(t); i < p_.tile_begin(t + 1); ++i)
          ok = tile(r0, r, i * p_.tile_cols, std::min(p_.tile_cols, p_.cols - i * p_.tile_cols), t) && ok;
      if (!need_rows_) continue;
#pragma omp for schedule(static, 1)
      for (int t = 0; t < p_.threads; ++t)
        dscale_.get()[t] += merge_rows(r0, r * t / p_.threads, r * (t + 1) / p_.threads);
    }
    check(ok, "contrastive_bwd", "oneDNN's sgemm failed on a tile of {} x {} x {}", kPanelRows, p_.tile_cols, p_.d);
    if (!a_.dscale) return;
    double sum = 0;
    for (int t = 0; t < p_.threads; ++t) sum += dscale_.get()[t];
    *a_.dscale.ptr<double>() = weight_ * sum;
  }

 private:
  // exp(S) · (row term + column term) where S is bounded, exp(S − term) otherwise.
  void terms(const View& lse, T* out, std::int64_t n) const {
    const double* in = lse.ptr<double>();
    for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(p_.bounded ? std::exp(-in[i]) : in[i]);
  }

  bool tile(std::int64_t r0, std::int64_t r, std::int64_t c0, std::int64_t c, int t) const {
    T* s = tile_.get() + t * p_.tile_elements();
    T* saved = saved_.get() + t * kPanelRows;
    if (!p_.logits(r0, r, c0, c, s)) return false;
    p_.each_positive(r0, r, c0, c, s, [&](std::int64_t i, T& v) { saved[i] = v; });
    p_.exclude(r0, r, c0, c, s);
    p_.each_positive(r0, r, c0, c, s, [&](std::int64_t i, T& v) { v = saved[i]; });
    const T* col = col_term_.get() + c0;
    for (std::int64_t i = 0; i < r; ++i) {
      T* g = s + i * p_.tile_cols;
      const T row = row_term_.get()[r0 + i];
      if (p_.bounded) {
#pragma omp simd
        for (std::int64_t j = 0; j < c; ++j) g[j] = exp_or_zero(g[j]) * (row + col[j]);
      } else {
#pragma omp simd
        for (std::int64_t j = 0; j < c; ++j) g[j] = exp_or_zero(g[j] - row) + exp_or_zero(g[j] - col[j]);
      }
    }
    p_.each_positive(r0, r, c0, c, s, [](std::int64_t, T& v) { v -= T(2); });
    bool ok = true;
    if (need_rows_) {
      const T keep = c0 == p_.tile_begin(t) * p_.tile_cols ? T(0) : T(1);
      ok = tile_gemm(false, false, r, p_.d, c, T(1), s, p_.tile_cols, p_.y + c0 * p_.d, p_.d, keep, rows_of(t), p_.d);
    }
    if (a_.dy) {
      const T w = static_cast<T>(weight_ * static_cast<double>(p_.scale)), keep = r0 == 0 ? T(0) : T(1);
      ok = tile_gemm(true, false, c, p_.d, r, w, s, p_.tile_cols, p_.x + r0 * p_.d, p_.d, keep,
                     a_.dy.ptr<T>() + c0 * p_.d, p_.d) &&
           ok;
    }
    return ok;
  }

  T* rows_of(int t) const { return rows_.get() + t * kPanelRows * p_.d; }

  // Rows begin…end of the panel: G y summed over threads into dx; returns their Σ G · (x yᵀ) = Σ x · (G y).
  double merge_rows(std::int64_t r0, std::int64_t begin, std::int64_t end) const {
    const T w = static_cast<T>(weight_ * static_cast<double>(p_.scale));
    double dscale = 0;
    for (std::int64_t i = begin * p_.d; i < end * p_.d; ++i) {
      T sum = 0;
      for (int t = 0; t < p_.threads; ++t)
        if (p_.tile_begin(t) < p_.tile_begin(t + 1)) sum += rows_of(t)[i];
      dscale += static_cast<double>(sum) * static_cast<double>(p_.x[r0 * p_.d + i]);
      if (a_.dx) a_.dx.ptr<T>()[r0 * p_.d + i] = w * sum;
    }
    return dscale;
  }

  const ContrastiveBwd& a_;
  const ContrastivePlan<T> p_;
  const double weight_;
  const bool need_rows_;
  const KernelBuffer<T> tile_, rows_, row_term_, col_term_, saved_;
  const KernelBuffer<double> dscale_;
};

}  // namespace

void contrastive_bwd(const ContrastiveBwd& a) {
  if (a.x.dtype == DType::f64)
    Backward<double>(a).run();
  else
    Backward<float>(a).run();
}

}  // namespace spn::kernels::cpu
