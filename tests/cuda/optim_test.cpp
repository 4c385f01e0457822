// Optimiser updates against the CPU: many tensors of many sizes, in f32 and f64 together, more than one launch takes.
#include <cmath>
#include <limits>

#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

class CudaOptim : public test::Twin {
 protected:
  struct Item {
    DType dtype;
    std::int64_t n, skip = 0;  // elements of the memory before it: off 16 bytes
  };
  static std::vector<Item> few() {
    return {{DType::f32, 1},    {DType::f32, 7},     {DType::f32, 0},    {DType::f32, 256},
            {DType::f64, 33},   {DType::f32, 17001}, {DType::f64, 1},    {DType::f32, 31, 1},
            {DType::f64, 9000}, {DType::f32, 8192},  {DType::f64, 5, 1}, {DType::f32, 300}};
  }
  // `count` tensors an item; tensor k of item i begins as random(…) in [low, high), the same on every device.
  static std::vector<std::vector<Tensor>> make(const std::vector<Item>& items, std::size_t count, Device device,
                                               double low = -1) {
    std::vector<std::vector<Tensor>> all;
    for (std::size_t i = 0; i < items.size(); ++i) {
      std::vector<Tensor> t;
      for (std::size_t k = 0; k < count; ++k)
        t.push_back(random({items[i].n + items[i].skip}, 10 * i + k, items[i].dtype, k == 2 && count > 3 ? 0 : low, 1)
                        .to(device)
                        .narrow(0, items[i].skip, items[i].n));
      all.push_back(t);
    }
    return all;
  }
  static void expect_equal(const std::vector<std::vector<Tensor>>& got, const std::vector<std::vector<Tensor>>& want,
                           std::int64_t reduction) {
    for (std::size_t i = 0; i < want.size(); ++i)
      for (std::size_t k = 0; k < want[i].size(); ++k)
        EXPECT_TRUE(test::close(got[i][k].contiguous().to(Device{}), want[i][k],
                                test::tolerance(want[i][k].dtype(), reduction)))
            << "tensor " << k << " of item " << i;
  }
  // update(tensors, rates, squares, updates) three times on the CPU and, in every order, on the device.
  template <class F>
  void hold(const std::vector<Item>& items, std::size_t count, F&& update, bool counts = true) {
    const auto run_on = [&](Device device) {
      auto t = make(items, count, device);
      const Tensor updates = Tensor::zeros({1}, DType::f64, device);
      for (int step = 1; step <= 3; ++step)
        update(t, Tensor::from(std::vector<double>{0.01 * step, 0.1}, {2}).to(device),
               Tensor::from(std::vector<double>{4}, {1}).to(device), updates);
      EXPECT_TRUE(updates.item() == 3 || !counts);
      return t;
    };
    const auto want = run_on(Device{});
    for (int order = 0; order < test::device_orders(); ++order) {
      test::use_order(order);
      expect_equal(run_on(test::kGpu), want, 8);
    }
    test::use_order(0);
  }

  static void adamw(const std::vector<std::vector<Tensor>>& t, const Tensor& rates, const Tensor& squares,
                    const Tensor& updates, double most) {
    std::vector<AdamWParam> p;
    for (std::size_t i = 0; i < t.size(); ++i)
      p.push_back({.w = t[i][0],
                   .grad = t[i][1],
                   .m = t[i][3],
                   .v = t[i][2],
                   .decay_scale = i % 2 == 0 ? 1.0 : 0.0,
                   .lr_scale = 1 + 0.5 * static_cast<double>(i % 3)});
    run<&Table::adamw>(
        {.params = p, .update = {.rates = rates, .updates = updates, .squares = squares, .max_norm = most}});
  }
  static void sgd(const std::vector<std::vector<Tensor>>& t, const Tensor& rates, const Tensor& squares,
                  const Tensor& updates, double most) {
    std::vector<SgdParam> p;
    for (std::size_t i = 0; i < t.size(); ++i)
      p.push_back({.w = t[i][0],
                   .grad = t[i][1],
                   .momentum = t[i][2],
                   .decay_scale = i % 2 == 0 ? 1.0 : 0.0,
                   .lr_scale = 1 + 0.5 * static_cast<double>(i % 3)});
    run<&Table::sgd>(
        {.params = p, .update = {.rates = rates, .updates = updates, .squares = squares, .max_norm = most}});
  }
};

TEST_F(CudaOptim, AdamW) {
  for (const double most : {0.0, 1.0, 100.0})
    hold(few(), 4, [&](const auto& t, const Tensor& r, const Tensor& s, const Tensor& n) { adamw(t, r, s, n, most); });
}

// The copy is the device's own new weight, rounded; aligned or not, some tensors with and some without.
TEST_F(CudaOptim, AdamWWritesTheRoundedWeightToo) {
  for (int order = 0; order < test::device_orders(); ++order) {
    test::use_order(order);
    for (const Device device : {Device{}, test::kGpu}) {
      const auto t = make(few(), 4, device), without = make(few(), 4, device);
      std::vector<Tensor> copies;
      std::vector<AdamWParam> p;
      for (std::size_t i = 0; i < t.size(); ++i) {
        const bool has = t[i][0].dtype() == DType::f32 && i != 3;
        const std::int64_t skip = few()[i].skip;
        copies.push_back(
            has ? Tensor::full({t[i][0].numel() + skip}, 7, DType::bf16, device).narrow(0, skip, t[i][0].numel())
                : Tensor());
        p.push_back({.w = t[i][0],
                     .grad = t[i][1],
                     .m = t[i][3],
                     .v = t[i][2],
                     .copy = copies.back(),
                     .decay_scale = i % 2 == 0 ? 1.0 : 0.0,
                     .lr_scale = 1 + 0.5 * static_cast<double>(i % 3)});
      }
      const Tensor rates = Tensor::from(std::vector<double>{0.01, 0.1}, {2}).to(device),
                   updates = Tensor::zeros({1}, DType::f64, device),
                   squares = Tensor::from(std::vector<double>{4}, {1}).to(device);
      run<&Table::adamw>(
          {.params = p, .update = {.rates = rates, .updates = updates, .squares = squares, .max_norm = 1}});
      updates.fill(0);
      adamw(without, rates, squares, updates, 1);
      for (std::size_t i = 0; i < t.size(); ++i) {
        const Tensor w = t[i][0].contiguous().to(Device{});
        EXPECT_TRUE(test::close(w, without[i][0].contiguous().to(Device{}), {0, 0})) << i;
        if (!copies[i]) continue;
        EXPECT_TRUE(test::close(copies[i].contiguous().to(Device{}), w.to(DType::bf16), {0, 0})) << i;
      }
    }
  }
  test::use_order(0);
}

TEST_F(CudaOptim, Sgd) {
  for (const double most : {0.0, 1.0})
    hold(few(), 3, [&](const auto& t, const Tensor& r, const Tensor& s, const Tensor& n) { sgd(t, r, s, n, most); });
}

TEST_F(CudaOptim, MoreTensorsThanOneLaunchTakes) {
  std::vector<Item> items;
  for (int i = 0; i < 300; ++i) items.push_back({i % 50 == 3 ? DType::f64 : DType::f32, i % 9, i % 5 == 0 ? 1 : 0});
  hold(items, 4, [&](const auto& t, const Tensor& r, const Tensor& s, const Tensor& n) { adamw(t, r, s, n, 1); });
}

TEST_F(CudaOptim, GradientsThatAreNotFiniteChangeNothing) {
  for (const double squares : {std::numeric_limits<double>::infinity(), std::nan("")})
    for (const Device device : {Device{}, test::kGpu}) {
      const auto before = make(few(), 4, Device{});
      const Tensor rates = Tensor::from(std::vector<double>{0.1, 0.1}, {2}).to(device),
                   updates = Tensor::full({1}, 1, DType::f64, device),
                   s = Tensor::from(std::vector<double>{squares}, {1}).to(device);
      auto t = make(few(), 4, device);
      adamw(t, rates, s, updates, 1);
      sgd(t, rates, s, updates, 1);
      std::vector<LerpPair> pairs;
      for (const auto& one : t) pairs.push_back({.y = one[0], .x = one[1]});
      run<&Table::lerp>({.pairs = pairs, .weight = 0.5, .squares = s});
      EXPECT_EQ(updates.item(), 1);
      for (std::size_t i = 0; i < t.size(); ++i)
        for (std::size_t k = 0; k < 4; ++k)
          EXPECT_TRUE(test::close(t[i][k].contiguous().to(Device{}), before[i][k], {0, 0})) << i << " " << k;
    }
}

TEST_F(CudaOptim, Lerp) {
  for (const double weight : {0.0, 0.25, 1.0})
    hold(
        few(), 2,
        [&](const auto& t, const Tensor&, const Tensor&, const Tensor&) {
          std::vector<LerpPair> p;
          for (const auto& pair : t) p.push_back({.y = pair[0], .x = pair[1]});
          run<&Table::lerp>({.pairs = p, .weight = weight});
        },
        false);
}

TEST_F(CudaOptim, SumOfSquares) {
  std::vector<Item> items = few();
  items.push_back({DType::bf16, 9001});
  items.push_back({DType::bf16, 15, 1});
  for (int i = 0; i < 300; ++i) items.push_back({DType::bf16, i % 11});
  const auto host = make(items, 1, Device{});
  const Tensor squares = compare(
      [&](const auto& at, const Tensor& out) {
        std::vector<Tensor> held;
        std::vector<View> views;
        for (const auto& t : host) held.push_back(at(t[0]));
        for (const Tensor& t : held) views.push_back(t);
        run<&Table::sum_of_squares>({.x = views, .out = out});
      },
      {1}, DType::f64, 64);
  EXPECT_GT(squares.item(), 1000);
  // channels-last, and NaN
  const Tensor image = random({2, 3, 4, 5}, 1, DType::f32).channels_last();
  compare(
      [&](const auto& at, const Tensor& out) {
        const Tensor t = at(image);
        const View views[] = {t};
        run<&Table::sum_of_squares>({.x = views, .out = out});
      },
      {1}, DType::f64, 8);
  image.fill(std::nan(""));
  const Tensor bad = image.to(test::kGpu), out = Tensor::zeros({1}, DType::f64, test::kGpu);
  const View views[] = {bad};
  run<&Table::sum_of_squares>({.x = views, .out = out});
  EXPECT_TRUE(std::isnan(out.item()));
}

TEST_F(CudaOptim, SumOverNothingIsZero) {
  const Tensor none = Tensor::empty({0});
  compare(
      [&](const auto& at, const Tensor& out) {
        const Tensor t = at(none);
        const View views[] = {t};
        run<&Table::sum_of_squares>({.x = views, .out = out});
      },
      {1}, DType::f64);
}

TEST_F(CudaOptim, RefusesWhatTheCpuRefuses) {
  const Tensor w = random({4}, 1, DType::f32).to(test::kGpu), other = random({5}, 1, DType::f32).to(test::kGpu),
               half = w.to(DType::bf16), ones = Tensor::zeros({1}, DType::f64, test::kGpu);
  const LerpPair unequal[] = {{.y = w, .x = other}}, narrow[] = {{.y = half, .x = half}}, fine[] = {{.y = w, .x = w}};
  EXPECT_THROW(run<&Table::lerp>({.pairs = unequal, .weight = 0.5}), Error);
  EXPECT_THROW(run<&Table::lerp>({.pairs = narrow, .weight = 0.5}), Error);
  EXPECT_THROW(run<&Table::lerp>({.pairs = fine, .weight = 1.5}), Error);
  EXPECT_THROW(run<&Table::lerp>({.pairs = fine, .weight = 0.5, .squares = w}), Error);
  const SgdParam p[] = {{.w = w, .grad = w, .momentum = w}};
  EXPECT_THROW(run<&Table::sgd>({.params = p, .update = {.rates = w, .updates = ones, .squares = ones}}), Error);
}

}  // namespace
}  // namespace spn::kernels
