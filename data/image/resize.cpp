#include "data/image/resize.h"

#include <algorithm>
#include <cmath>

#include "engine/core/check.h"

namespace spn::data {
namespace {

// 8 bits of value and 2 of headroom leave 22 for the fraction of a weight.
constexpr int kFraction = 32 - 8 - 2;
constexpr std::int32_t kHalf = std::int32_t{1} << (kFraction - 1);

std::uint8_t rounded(std::int32_t v) { return static_cast<std::uint8_t>(std::clamp(v >> kFraction, 0, 255)); }

double triangle(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }

}  // namespace

void Resizer::Taps::set(std::int64_t in, double from, double to, std::int64_t out) {
  const double scale = (to - from) / static_cast<double>(out), support = std::max(scale, 1.0);
  most = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  first.resize(static_cast<std::size_t>(out));
  count.resize(static_cast<std::size_t>(out));
  weight.assign(static_cast<std::size_t>(out * most), 0);
  scratch.resize(static_cast<std::size_t>(most));
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = from + (static_cast<double>(i) + 0.5) * scale;
    const std::int64_t a = std::max<std::int64_t>(std::lround(centre - support), 0);
    const std::int64_t b = std::min<std::int64_t>(std::lround(centre + support), in);
    double sum = 0;
    for (std::int64_t j = a; j < b; ++j) {
      const double w = triangle((static_cast<double>(j) - centre + 0.5) / support);
      scratch[static_cast<std::size_t>(j - a)] = w;
      sum += w;
    }
    for (std::int64_t j = a; j < b; ++j)
      weight[static_cast<std::size_t>(i * most + j - a)] =
          static_cast<std::int32_t>(std::lround(scratch[static_cast<std::size_t>(j - a)] / sum * (1 << kFraction)));
    first[static_cast<std::size_t>(i)] = a;
    count[static_cast<std::size_t>(i)] = b - a;
  }
}

void Resizer::operator()(const std::uint8_t* in, std::int64_t width, std::int64_t height, const Box& box,
                         std::uint8_t* out, std::int64_t out_width, std::int64_t out_height) {
  check(width > 0 && height > 0 && out_width > 0 && out_height > 0 && box.left >= 0 && box.top >= 0 &&
            box.right <= static_cast<double>(width) && box.bottom <= static_cast<double>(height) &&
            box.left < box.right && box.top < box.bottom,
        "resize", "expected a box inside {} x {} px, got [{}, {}] x [{}, {}]", width, height, box.left, box.right,
        box.top, box.bottom);
  across_.set(width, box.left, box.right, out_width);
  down_.set(height, box.top, box.bottom, out_height);

  narrow_.resize(static_cast<std::size_t>(height * out_width * 3));
  for (std::int64_t y = 0; y < height; ++y) {
    const std::uint8_t* row = in + y * width * 3;
    std::uint8_t* to = narrow_.data() + y * out_width * 3;
    for (std::int64_t x = 0; x < out_width; ++x) {
      const std::int32_t* w = &across_.weight[static_cast<std::size_t>(x * across_.most)];
      const std::uint8_t* p = row + across_.first[static_cast<std::size_t>(x)] * 3;
      const std::int64_t n = across_.count[static_cast<std::size_t>(x)];
      std::int32_t r = kHalf, g = kHalf, b = kHalf;
      for (std::int64_t i = 0; i < n; ++i) {
        r += p[i * 3] * w[i];
        g += p[i * 3 + 1] * w[i];
        b += p[i * 3 + 2] * w[i];
      }
      to[x * 3] = rounded(r);
      to[x * 3 + 1] = rounded(g);
      to[x * 3 + 2] = rounded(b);
    }
  }

  std::vector<std::int32_t> sum(static_cast<std::size_t>(out_width * 3));
  for (std::int64_t y = 0; y < out_height; ++y) {
    std::ranges::fill(sum, kHalf);
    const std::int64_t first = down_.first[static_cast<std::size_t>(y)];
    for (std::int64_t i = 0; i < down_.count[static_cast<std::size_t>(y)]; ++i) {
      const std::int32_t w = down_.weight[static_cast<std::size_t>(y * down_.most + i)];
      const std::uint8_t* row = narrow_.data() + (first + i) * out_width * 3;
      for (std::size_t x = 0; x < sum.size(); ++x) sum[x] += row[x] * w;
    }
    std::uint8_t* to = out + y * out_width * 3;
    for (std::size_t x = 0; x < sum.size(); ++x) to[x] = rounded(sum[x]);
  }
}

}  // namespace spn::data
