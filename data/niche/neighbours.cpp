#include "data/niche/neighbours.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/check.h"

namespace spn::data {
namespace {

struct Near {
  double d2;
  std::int32_t index;
  friend bool operator<(const Near& a, const Near& b) { return a.d2 != b.d2 ? a.d2 < b.d2 : a.index < b.index; }
};

// Points sorted into square cells of about two points each (or of the wanted side).
class Grid {
 public:
  Grid(std::span<const double> x, std::span<const double> y, double side) : x_(x), y_(y) {
    check(x.size() == y.size() && !x.empty(), "neighbours", "expected as many x as y and at least one, got {} and {}",
          x.size(), y.size());
    const auto [x0, x1] = std::ranges::minmax(x);
    const auto [y0, y1] = std::ranges::minmax(y);
    const double w = x1 - x0, h = y1 - y0;
    check(w - w == 0 && h - h == 0, "neighbours", "expected finite coordinates");
    // at most about 4 n cells, whatever side is asked for
    const double least = std::max(std::sqrt(w * h / (4.0 * static_cast<double>(x.size()))),
                                  std::max(w, h) / (4.0 * static_cast<double>(x.size())));
    side_ = std::max({side > 0 ? side : 2 * least, least, 1e-9});
    left_ = x0;
    top_ = y0;
    columns_ = static_cast<std::int64_t>(w / side_) + 1;
    rows_ = static_cast<std::int64_t>(h / side_) + 1;
    begin_.assign(static_cast<std::size_t>(columns_ * rows_ + 1), 0);
    for (std::size_t i = 0; i < x.size(); ++i) ++begin_[static_cast<std::size_t>(cell(i)) + 1];
    std::partial_sum(begin_.begin(), begin_.end(), begin_.begin());
    points_.resize(x.size());
    auto next = begin_;
    for (std::size_t i = 0; i < x.size(); ++i)
      points_[static_cast<std::size_t>(next[static_cast<std::size_t>(cell(i))]++)] = static_cast<std::int32_t>(i);
  }

  double side() const { return side_; }
  std::int64_t rings() const { return std::max(columns_, rows_); }

  // fn(Near) for every other point in the cells at ring distance r of point i's cell.
  template <class F>
  void ring(std::size_t i, std::int64_t r, F&& fn) const {
    const std::int64_t cx = column(i), cy = row(i);
    for (std::int64_t y = std::max<std::int64_t>(cy - r, 0); y <= std::min(cy + r, rows_ - 1); ++y) {
      const bool whole_row = y == cy - r || y == cy + r;
      const std::int64_t step = whole_row || r == 0 ? 1 : 2 * r;
      for (std::int64_t c = cx - r; c <= cx + r; c += step)
        if (c >= 0 && c < columns_) visit(i, y * columns_ + c, fn);
    }
  }

 private:
  std::int64_t column(std::size_t i) const { return static_cast<std::int64_t>((x_[i] - left_) / side_); }
  std::int64_t row(std::size_t i) const { return static_cast<std::int64_t>((y_[i] - top_) / side_); }
  std::int64_t cell(std::size_t i) const { return row(i) * columns_ + column(i); }

  template <class F>
  void visit(std::size_t i, std::int64_t c, F&& fn) const {
    for (std::int64_t p = begin_[static_cast<std::size_t>(c)]; p < begin_[static_cast<std::size_t>(c) + 1]; ++p) {
      const std::int32_t j = points_[static_cast<std::size_t>(p)];
      if (static_cast<std::size_t>(j) == i) continue;
      const double dx = x_[static_cast<std::size_t>(j)] - x_[i], dy = y_[static_cast<std::size_t>(j)] - y_[i];
      fn(Near{dx * dx + dy * dy, j});
    }
  }

  std::span<const double> x_, y_;
  double side_ = 1, left_ = 0, top_ = 0;
  std::int64_t columns_ = 1, rows_ = 1;
  std::vector<std::int64_t> begin_;
  std::vector<std::int32_t> points_;
};

// The k nearest others of point i, sorted, in `near`.
void k_nearest(const Grid& grid, std::size_t i, std::size_t k, std::vector<Near>& near) {
  near.clear();
  for (std::int64_t r = 0; r < grid.rings(); ++r) {
    // points of ring r are at least (r - 1) sides away: stop when k are nearer than that
    if (near.size() == k && r > 0) {
      const double least = static_cast<double>(r - 1) * grid.side();
      if (near.back().d2 < least * least) break;
    }
    grid.ring(i, r, [&](const Near& n) {
      if (near.size() == k && !(n < near.back())) return;
      near.insert(std::upper_bound(near.begin(), near.end(), n), n);
      if (near.size() > k) near.pop_back();
    });
  }
}

void append(Neighbours& out, std::size_t self, const std::vector<Near>& near) {
  out.index.push_back(static_cast<std::int32_t>(self));
  for (const Near& n : near) out.index.push_back(n.index);
  out.begin.push_back(static_cast<std::int64_t>(out.index.size()));
}

}  // namespace

Neighbours neighbours_within(std::span<const double> x, std::span<const double> y, double radius) {
  check(radius >= 0, "neighbours", "expected a radius ≥ 0, got {}", radius);
  const Grid grid(x, y, radius);
  const auto rings = std::min(static_cast<std::int64_t>(std::ceil(radius / grid.side())), grid.rings());
  Neighbours out;
  out.begin.push_back(0);
  std::vector<Near> near;
  for (std::size_t i = 0; i < x.size(); ++i) {
    near.clear();
    for (std::int64_t r = 0; r <= rings; ++r)
      grid.ring(i, r, [&](const Near& n) {
        if (n.d2 <= radius * radius) near.push_back(n);
      });
    std::sort(near.begin(), near.end());
    append(out, i, near);
  }
  return out;
}

Neighbours nearest_neighbours(std::span<const double> x, std::span<const double> y, std::int64_t k) {
  check(k >= 1, "neighbours", "expected k ≥ 1, got {}", k);
  const Grid grid(x, y, 0);
  Neighbours out;
  out.begin.push_back(0);
  std::vector<Near> near;
  for (std::size_t i = 0; i < x.size(); ++i) {
    k_nearest(grid, i, static_cast<std::size_t>(k), near);
    append(out, i, near);
  }
  return out;
}

double median_nearest_distance(std::span<const double> x, std::span<const double> y) {
  check(x.size() >= 2, "neighbours", "expected at least 2 spots, got {}", x.size());
  const Grid grid(x, y, 0);
  std::vector<double> d;
  std::vector<Near> near;
  for (std::size_t i = 0; i < x.size(); ++i) {
    k_nearest(grid, i, 1, near);
    d.push_back(std::sqrt(near.front().d2));
  }
  std::ranges::sort(d);
  const std::size_t m = d.size() / 2;
  return d.size() % 2 ? d[m] : (d[m - 1] + d[m]) / 2;
}

}  // namespace spn::data
