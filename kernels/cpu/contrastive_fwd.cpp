// Forward of the streamed symmetric InfoNCE: row and column statistics of S from one pass over its tiles.
#include "kernels/cpu/contrastive_tile.h"

namespace spn::kernels::cpu {
namespace {

// A logsumexp in the making: shift and Σ exp(S − shift). The shift is the running maximum, or stays 0.
template <class T>
struct Running {
  T shift;
  double sum;
};

template <class T>
void raise(Running<T>& a, T to) {
  if (!(to > a.shift)) return;
  if (a.sum != 0) a.sum *= std::exp(static_cast<double>(a.shift) - static_cast<double>(to));
  a.shift = to;
}

// A shift that can be subtracted: nothing seen yet is −inf.
template <class T>
T finite(T shift) {
  return shift == kNone<T> ? T(0) : shift;
}

template <class T>
double lse(const Running<T>& a) {
  return a.sum == 0 ? kNone<double> : static_cast<double>(a.shift) + std::log(a.sum);
}

template <class T>
struct Threads {  // a thread's own memory
  T *tile, *col_most, *col_shift, *col_part, *row_above;
  Running<T>* row;
};

template <class T>
class Forward {
 public:
  explicit Forward(const ContrastiveFwd& a)
      : a_(a),
        p_("contrastive_fwd", a),
        tile_(p_.threads * p_.tile_elements()),
        cols_(p_.threads * 3 * p_.tile_cols),
        above_(p_.threads * kPanelRows),
        rows_(p_.threads * kPanelRows),
        column_(p_.cols) {}

  void run() {
    bool ok = true;
    std::fill_n(column_.get(), p_.cols, start());
    std::fill_n(a_.col_above.ptr<double>(), p_.cols, kNone<double>);
#pragma omp parallel num_threads(p_.threads) reduction(&& : ok)
    {
      // loops over shares, not thread numbers: right even where fewer threads were granted
      for (std::int64_t r0 = 0; r0 < p_.rows; r0 += kPanelRows) {
        const std::int64_t r = p_.panel_rows(r0);
#pragma omp for schedule(static, 1)
        for (int t = 0; t < p_.threads; ++t) {
          const Threads<T> mine = memory_of(t);
          std::fill_n(mine.row, r, start());
          std::fill_n(mine.row_above, r, kNone<T>);
          for (std::int64_t i = p_.tile_begin(t); i < p_.tile_begin(t + 1); ++i)
            ok = tile(r0, r, i * p_.tile_cols, std::min(p_.tile_cols, p_.cols - i * p_.tile_cols), mine) && ok;
        }
#pragma omp for schedule(static)
        for (std::int64_t i = 0; i < r; ++i) merge_row(r0, i);
      }
      double* out = a_.col_lse.ptr<double>();
#pragma omp for schedule(static)
      for (std::int64_t j = 0; j < p_.cols; ++j) out[j] = lse(column_.get()[j]);
    }
    check(ok, "contrastive_fwd", "oneDNN's sgemm failed on a tile of {} x {} x {}", kPanelRows, p_.tile_cols, p_.d);
  }

 private:
  Running<T> start() const { return {p_.bounded ? T(0) : kNone<T>, 0}; }
  Threads<T> memory_of(int t) const {
    T* c = cols_.get() + t * 3 * p_.tile_cols;
    return {
        tile_.get() + t * p_.tile_elements(), c, c + p_.tile_cols, c + 2 * p_.tile_cols, above_.get() + t * kPanelRows,
        rows_.get() + t * kPanelRows};
  }

  bool tile(std::int64_t r0, std::int64_t r, std::int64_t c0, std::int64_t c, const Threads<T>& m) const {
    if (!p_.logits(r0, r, c0, c, m.tile)) return false;
    double* positive = a_.positive.ptr<double>() + r0;
    p_.each_positive(r0, r, c0, c, m.tile, [&](std::int64_t i, T& s) { positive[i] = static_cast<double>(s); });
    p_.exclude(r0, r, c0, c, m.tile);
    p_.each_positive(r0, r, c0, c, m.tile, [&](std::int64_t, T& s) { s = kNone<T>; });
    maxima(r, c, c0, m);
    // The sums do count the positive.
    Running<T>* column = column_.get() + c0;
    const std::int64_t shift = p_.first_row + r0 - c0;
    p_.each_positive(r0, r, c0, c, m.tile, [&](std::int64_t i, T& s) {
      s = static_cast<T>(positive[i]);
      if (p_.bounded) return;
      raise(m.row[i], s);
      raise(column[i + shift], s);
    });
    sums(r, c, c0, m);
    return true;
  }

  // The largest of every row and column, positives left out.
  void maxima(std::int64_t r, std::int64_t c, std::int64_t c0, const Threads<T>& m) const {
    std::fill_n(m.col_most, c, kNone<T>);
    for (std::int64_t i = 0; i < r; ++i) {
      const T* s = m.tile + i * p_.tile_cols;
      T* most = m.col_most;
      T row = kNone<T>;
#pragma omp simd reduction(max : row)
      for (std::int64_t j = 0; j < c; ++j) {
        row = s[j] > row ? s[j] : row;
        most[j] = s[j] > most[j] ? s[j] : most[j];
      }
      m.row_above[i] = std::max(m.row_above[i], row);
      if (!p_.bounded) raise(m.row[i], row);
    }
    double* above = a_.col_above.ptr<double>() + c0;
    Running<T>* column = column_.get() + c0;
    for (std::int64_t j = 0; j < c; ++j) {
      above[j] = std::max(above[j], static_cast<double>(m.col_most[j]));
      if (!p_.bounded) raise(column[j], m.col_most[j]);
    }
  }

  void sums(std::int64_t r, std::int64_t c, std::int64_t c0, const Threads<T>& m) const {
    Running<T>* column = column_.get() + c0;
    T *shift = m.col_shift, *part = m.col_part;
    for (std::int64_t j = 0; j < c; ++j) {
      shift[j] = finite(column[j].shift);
      part[j] = 0;
    }
    for (std::int64_t i = 0; i < r; ++i) {
      const T* s = m.tile + i * p_.tile_cols;
      T sum = 0;
      if (p_.bounded) {
#pragma omp simd reduction(+ : sum)
        for (std::int64_t j = 0; j < c; ++j) {
          const T e = exp_or_zero(s[j]);
          sum += e;
          part[j] += e;
        }
      } else {
        const T own = finite(m.row[i].shift);
#pragma omp simd reduction(+ : sum)
        for (std::int64_t j = 0; j < c; ++j) {
          sum += exp_or_zero(s[j] - own);
          part[j] += exp_or_zero(s[j] - shift[j]);
        }
      }
      m.row[i].sum += static_cast<double>(sum);
    }
    for (std::int64_t j = 0; j < c; ++j) column[j].sum += static_cast<double>(part[j]);
  }

  // Row i of the panel over all threads, in their order.
  void merge_row(std::int64_t r0, std::int64_t i) const {
    Running<T> all = rows_.get()[i];
    T most = above_.get()[i];
    for (int t = 1; t < p_.threads; ++t) {
      Running<T> other = rows_.get()[t * kPanelRows + i];
      raise(all, other.shift);
      raise(other, all.shift);
      all.sum += other.sum;
      most = std::max(most, above_.get()[t * kPanelRows + i]);
    }
    a_.row_lse.ptr<double>()[r0 + i] = lse(all);
    a_.row_above.ptr<double>()[r0 + i] = static_cast<double>(most);
  }

  const ContrastiveFwd& a_;
  const ContrastivePlan<T> p_;
  const KernelBuffer<T> tile_, cols_, above_;
  const KernelBuffer<Running<T>> rows_, column_;
};

}  // namespace

void contrastive_fwd(const ContrastiveFwd& a) {
  if (a.x.dtype == DType::f64)
    Forward<double>(a).run();
  else
    Forward<float>(a).run();
}

}  // namespace spn::kernels::cpu
