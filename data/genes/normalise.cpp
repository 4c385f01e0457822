#include "data/genes/normalise.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"

namespace spn::data {
namespace {
std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

void add_row(const Counts& c, std::int64_t spot, std::span<const std::int32_t> to_list, std::span<float> out) {
  for (std::int64_t i = c.row_begin[at(spot)]; i < c.row_begin[at(spot) + 1]; ++i) {
    const std::int32_t g = to_list[at(c.column[at(i)])];
    if (g >= 0) out[at(g)] += c.value[at(i)];
  }
}
}  // namespace

void normalise(Counts& counts) {
  for (std::int64_t s = 0; s < counts.spots(); ++s) {
    const std::int64_t begin = counts.row_begin[at(s)], end = counts.row_begin[at(s) + 1];
    double sum = 0;
    for (std::int64_t i = begin; i < end; ++i) sum += counts.value[at(i)];
    check(sum > 0, "normalise", "spot {} has no counts; empty spots are dropped before", s);
    for (std::int64_t i = begin; i < end; ++i)
      counts.value[at(i)] = static_cast<float>(std::log1p(1e4 * counts.value[at(i)] / sum));
  }
}

void spot_expression(const Counts& counts, std::int64_t spot, std::span<const std::int32_t> to_list,
                     std::span<float> out) {
  std::ranges::fill(out, 0.0F);
  add_row(counts, spot, to_list, out);
}

void mean_expression(const Counts& counts, std::span<const std::int32_t> spots, std::span<const std::int32_t> to_list,
                     std::span<float> out) {
  check(!spots.empty(), "mean_expression", "expected at least the spot itself, got no spots");
  std::ranges::fill(out, 0.0F);
  for (std::int32_t s : spots) add_row(counts, s, to_list, out);
  const float scale = 1.0F / static_cast<float>(spots.size());
  for (float& v : out) v *= scale;
}

void take_rows(Counts& counts, const std::vector<std::int64_t>& rows) {
  std::vector<std::int64_t> begin{0};
  std::int64_t n = 0;
  for (const std::int64_t r : rows) begin.push_back(n += counts.row_begin[at(r) + 1] - counts.row_begin[at(r)]);
  std::vector<std::int32_t> column;
  std::vector<float> value;
  column.reserve(at(n));
  value.reserve(at(n));
  for (const std::int64_t r : rows) {
    const std::int64_t b = counts.row_begin[at(r)], e = counts.row_begin[at(r) + 1];
    column.insert(column.end(), counts.column.begin() + b, counts.column.begin() + e);
    value.insert(value.end(), counts.value.begin() + b, counts.value.begin() + e);
  }
  counts.row_begin = std::move(begin);
  counts.column = std::move(column);
  counts.value = std::move(value);
}

}  // namespace spn::data
