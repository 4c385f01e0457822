// Neighbours against brute force, array steps, and windows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "data/niche/neighbours.h"
#include "data/niche/windows.h"
#include "engine/core/philox.h"

namespace spn::data {
namespace {

struct Points {
  std::vector<double> x, y;
};

Points scattered(std::size_t n, double width, double height, std::uint64_t seed) {
  PhiloxStream r(seed, RandomUse::test);
  Points p;
  for (std::size_t i = 0; i < n; ++i) {
    p.x.push_back(r.uniform_double() * width - 7);
    p.y.push_back(r.uniform_double() * height + 3);
  }
  return p;
}

// All others of point i by distance then index, as (squared distance, index).
std::vector<std::pair<double, std::int32_t>> others(const Points& p, std::size_t i) {
  std::vector<std::pair<double, std::int32_t>> out;
  for (std::size_t j = 0; j < p.x.size(); ++j)
    if (j != i)
      out.emplace_back((p.x[j] - p.x[i]) * (p.x[j] - p.x[i]) + (p.y[j] - p.y[i]) * (p.y[j] - p.y[i]),
                       static_cast<std::int32_t>(j));
  std::sort(out.begin(), out.end());
  return out;
}

TEST(Neighbours, EqualBruteForceByRadiusAndByK) {
  for (const auto& [n, w, h] :
       {std::tuple{200U, 100.0, 80.0}, {157U, 1000.0, 0.0}, {1U, 5.0, 5.0}, {64U, 3.0, 900.0}}) {
    const Points p = scattered(n, w, h, n);
    for (double radius : {0.0, 4.0, 25.0, 5000.0}) {
      const Neighbours got = neighbours_within(p.x, p.y, radius);
      for (std::size_t i = 0; i < n; ++i) {
        std::vector<std::int32_t> want{static_cast<std::int32_t>(i)};
        for (const auto& [d2, j] : others(p, i))
          if (d2 <= radius * radius) want.push_back(j);
        const auto of = got.of(static_cast<std::int64_t>(i));
        ASSERT_EQ(std::vector<std::int32_t>(of.begin(), of.end()), want) << n << " points, radius " << radius;
      }
    }
    for (std::size_t k : {1U, 6U, 300U}) {
      const Neighbours got = nearest_neighbours(p.x, p.y, static_cast<std::int64_t>(k));
      for (std::size_t i = 0; i < n; ++i) {
        std::vector<std::int32_t> want{static_cast<std::int32_t>(i)};
        const auto all = others(p, i);
        for (std::size_t j = 0; j < std::min(k, all.size()); ++j) want.push_back(all[j].second);
        const auto of = got.of(static_cast<std::int64_t>(i));
        ASSERT_EQ(std::vector<std::int32_t>(of.begin(), of.end()), want) << n << " points, k " << k;
      }
    }
  }
}

TEST(Neighbours, EightOnASquareArraySixOnAHexagonalOne) {
  Points square, hexagonal;
  for (int r = 0; r < 9; ++r)
    for (int c = 0; c < 9; ++c) {
      square.x.push_back(200.0 * c);
      square.y.push_back(200.0 * r);
      hexagonal.x.push_back(100.0 * c + 50.0 * (r % 2));
      hexagonal.y.push_back(100.0 * std::sqrt(0.75) * r);
    }
  EXPECT_EQ(neighbours_within(square.x, square.y, 300).of(40).size(), 9U);
  EXPECT_EQ(neighbours_within(square.x, square.y, 300).of(0).size(), 4U);
  EXPECT_EQ(neighbours_within(hexagonal.x, hexagonal.y, 150).of(40).size(), 7U);
  EXPECT_NEAR(median_nearest_distance(square.x, square.y), 200, 1e-9);
  EXPECT_NEAR(median_nearest_distance(hexagonal.x, hexagonal.y), 100, 1e-9);
}

TEST(Neighbours, MedianDistanceEqualsBruteForce) {
  for (std::size_t n : {2U, 31U, 400U}) {
    const Points p = scattered(n, 50, 700, n + 1);
    std::vector<double> d;
    for (std::size_t i = 0; i < n; ++i) d.push_back(std::sqrt(others(p, i).front().first));
    std::sort(d.begin(), d.end());
    EXPECT_DOUBLE_EQ(median_nearest_distance(p.x, p.y), (d[(n - 1) / 2] + d[n / 2]) / 2);
  }
  EXPECT_EQ(median_nearest_distance(std::vector<double>{3, 3, 3}, std::vector<double>{4, 4, 4}), 0.0);
}

TEST(Windows, SidesInUmAboutTheCentre) {
  const Window w = window_around(50.25, 20, 100, 2);
  EXPECT_EQ(w.left, 25.25);
  EXPECT_EQ(w.right, 75.25);
  EXPECT_EQ(w.top, -5);
  EXPECT_TRUE(w.leaves(100, 100));
  EXPECT_FALSE(window_around(50, 50, 100, 1).leaves(100, 100));
  EXPECT_TRUE(window_around(50.5, 50, 100, 1).leaves(100, 100));
}

}  // namespace
}  // namespace spn::data
