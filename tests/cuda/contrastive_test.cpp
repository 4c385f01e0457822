// The streamed contrastive loss against the CPU: negative rules, rows of several ranks, one panel and many, f32 and f64
// products, bf16 products within their tolerance.
#include <cmath>
#include <string>
#include <vector>

#include "kernels/cuda/panel_limits.h"
#include "tests/cuda/twin.h"

namespace spn::kernels {
namespace {

using test::random;

struct Case {
  std::int64_t rows, cols, first_row, d;
  double scale = 10;
  double offset = 0;                  // of all elements
  double x_spread = 1, y_spread = 1;  // rows in turn are then that much shorter, as they are, that much longer
};

// x, y and what the rules look at, on the host.
struct Batch {
  Tensor x, y, scale, row_slide, col_slide, row_xy, col_xy, row_cluster, col_cluster;
  std::int64_t first_row;

  Batch(const Case& c, DType t) : first_row(c.first_row) {
    const double size = std::sqrt(3.0 / static_cast<double>(c.d));  // rows of about unit length
    x = random({c.rows, c.d}, 1, t, -size, size);
    y = random({c.cols, c.d}, 2, t, -size, size);
    shift(x, c.offset, c.x_spread);
    shift(y, c.offset, c.y_spread);
    scale = Tensor::full({1}, c.scale, t);
    std::vector<std::int32_t> slide, cluster;
    std::vector<float> xy;
    for (std::int64_t j = 0; j < c.cols; ++j) {
      slide.push_back(static_cast<std::int32_t>(j / 7 % 3));
      cluster.push_back(static_cast<std::int32_t>(j % 5) - 1);
      xy.push_back(static_cast<float>(j * 37 % 400));
      xy.push_back(static_cast<float>(j * 53 % 300));
    }
    col_slide = Tensor::from(slide, {c.cols});
    col_cluster = Tensor::from(cluster, {c.cols});
    col_xy = Tensor::from(xy, {c.cols, 2});
    const auto own = [&](const Tensor& v) { return v.narrow(0, c.first_row, c.rows).clone(); };
    row_slide = own(col_slide);
    row_cluster = own(col_cluster);
    row_xy = own(col_xy);
  }

  static void shift(const Tensor& rows, double offset, double spread) {
    for (std::int64_t i = 0; i < rows.dim(0); ++i)
      for (std::int64_t k = i * rows.dim(1); k < (i + 1) * rows.dim(1); ++k) {
        const double by = std::pow(spread, static_cast<double>(i % 3 - 1));
        if (rows.dtype() == DType::f64)
          rows.data<double>()[k] = (rows.data<double>()[k] + offset) * by;
        else
          rows.data<float>()[k] = (rows.data<float>()[k] + static_cast<float>(offset)) * static_cast<float>(by);
      }
  }
};

class CudaContrastive : public test::Twin {
 protected:
  void TearDown() override { cuda::contrastive_panels() = {}; }

  // Where nothing counts, −inf: a number, so that it can be compared.
  static void bounded(const Tensor& t) {
    const Tensor least = Tensor::full(t.shape(), -1e6, t.dtype(), t.device());
    run<&Table::binary>({.op = BinaryOp::max, .a = t, .b = least, .y = t});
  }

  void both(const Case& c, Negatives kind, DType t, DType products, bool every_output = true) {
    SCOPED_TRACE(std::string(name_of(t)) + ", products " + name_of(products) + ", rule " +
                 std::to_string(static_cast<int>(kind)) + ", " + std::to_string(c.rows) + " x " +
                 std::to_string(c.cols) + " x " + std::to_string(c.d) + " from " + std::to_string(c.first_row));
    const Batch b(c, t);
    const bool half = products == DType::bf16;
    // f64 results come from products of dtype t: to 3e-5 in f32. Those of bf16 products are held to bf16's tolerance.
    const std::int64_t terms = t == DType::f64 ? 4 * c.cols : std::int64_t{1} << 50;
    const auto sizes = static_cast<std::int64_t>(std::max(1.0, c.scale / 10));  // errors of logits grow with them
    const auto out = [&](const Shape& shape, DType as, std::int64_t n) {
      return half ? Out{shape, DType::bf16, 16} : Out{shape, as, n * sizes};
    };
    std::vector<Tensor> facts;
    const auto rule_at = [&](const auto& at) {
      facts = {at(b.row_slide), at(b.col_slide), at(b.row_xy), at(b.col_xy), at(b.row_cluster), at(b.col_cluster)};
      return NegativeRule{.kind = kind,
                          .radius_um = 120,
                          .row_slide = facts[0],
                          .col_slide = facts[1],
                          .row_xy = facts[2],
                          .col_xy = facts[3],
                          .row_cluster = facts[4],
                          .col_cluster = facts[5]};
    };
    const std::vector<Tensor> made = compare_all(
        [&](const auto& at, const std::vector<Tensor>& outs) {
          const Tensor x = at(b.x), y = at(b.y), scale = at(b.scale);
          const std::vector<Tensor> to = made_for(outs, half, DType::f64, DType::f64);
          run<&Table::contrastive_fwd>({.x = x,
                                        .y = y,
                                        .scale = scale,
                                        .first_row = c.first_row,
                                        .rule = rule_at(at),
                                        .products = products,
                                        .row_lse = to[0],
                                        .positive = to[1],
                                        .row_above = to[2],
                                        .col_lse = to[3],
                                        .col_above = to[4]});
          for (const Tensor& o : to) bounded(o);
          deliver(to, outs);
        },
        {out({c.rows}, DType::f64, terms), out({c.rows}, DType::f64, terms), out({c.rows}, DType::f64, terms),
         out({c.cols}, DType::f64, terms), out({c.cols}, DType::f64, terms)});
    const Tensor row_lse = made[0].to(DType::f64);
    // Columns of other ranks' rows alone: as if those had merged theirs.
    const Tensor col_lse = made[3].to(DType::f64).clone();
    for (std::int64_t j = 0; j < c.cols; ++j) col_lse.data<double>()[j] = std::max(col_lse.data<double>()[j], 1.0);
    const Tensor dloss = Tensor::full({1}, 0.75, t);
    std::vector<Out> wanted = {out({c.rows, c.d}, t, 64 * c.cols), out({c.cols, c.d}, t, 64 * c.cols),
                               out({1}, DType::f64, 64 * terms)};
    if (!every_output) wanted = {wanted[1]};
    compare_all(
        [&](const auto& at, const std::vector<Tensor>& outs) {
          const Tensor x = at(b.x), y = at(b.y), scale = at(b.scale), rows = at(row_lse), cols = at(col_lse),
                       d = at(dloss);
          const std::vector<Tensor> to = made_for(outs, half, t, DType::f64);
          run<&Table::contrastive_bwd>({.x = x,
                                        .y = y,
                                        .scale = scale,
                                        .row_lse = rows,
                                        .col_lse = cols,
                                        .dloss = d,
                                        .mul = 1 / c.scale,
                                        .first_row = c.first_row,
                                        .rule = rule_at(at),
                                        .products = products,
                                        .dx = every_output ? to[0] : Tensor(),
                                        .dy = every_output ? to[1] : to[0],
                                        .dscale = every_output ? to[2] : Tensor()});
          deliver(to, outs);
        },
        wanted);
  }

  // Where results are compared in bf16: tensors of the dtypes that the kernel writes (`last` for the last), and their
  // way to the results. Else the results themselves.
  static std::vector<Tensor> made_for(const std::vector<Tensor>& outs, bool half, DType dtype, DType last) {
    if (!half) return outs;
    std::vector<Tensor> to;
    for (std::size_t i = 0; i < outs.size(); ++i)
      to.push_back(Tensor::full(outs[i].shape(), std::nan(""), i + 1 == outs.size() ? last : dtype, outs[i].device()));
    return to;
  }
  static void deliver(const std::vector<Tensor>& to, const std::vector<Tensor>& outs) {
    for (std::size_t i = 0; i < outs.size(); ++i)
      if (outs[i].dtype() == DType::bf16) outs[i].copy_from(to[i]);
  }

  static constexpr Negatives kRules[] = {Negatives::all, Negatives::exclude_radius, Negatives::other_cluster};
};

TEST_F(CudaContrastive, OnePanel) {
  for (const DType t : {DType::f32, DType::f64})
    for (const Negatives kind : kRules)
      for (const Case& c : {Case{1, 1, 0, 1}, Case{7, 7, 0, 5}, Case{33, 100, 31, 16}, Case{70, 300, 230, 8, 90}})
        both(c, kind, t, t);
}

// Panels of several tiles and of parts of one, groups of several panels, ragged at every edge.
TEST_F(CudaContrastive, ManyPanelsAreOne) {
  for (const DType t : {DType::f32, DType::f64})
    for (const Negatives kind : kRules) {
      cuda::contrastive_panels() = {.rows = 5, .cols = 11, .group = 24};
      both({17, 50, 20, 6}, kind, t, t);
      cuda::contrastive_panels() = {.rows = 70, .cols = 290, .group = 600};
      both({150, 1000, 420, 12}, kind, t, t);
    }
}

TEST_F(CudaContrastive, Bf16Products) {
  for (const Negatives kind : kRules) {
    both({33, 100, 31, 16}, kind, DType::f32, DType::bf16);
    cuda::contrastive_panels() = {.rows = 20, .cols = 40, .group = 64};
    both({50, 130, 40, 24}, kind, DType::f32, DType::bf16);
    cuda::contrastive_panels().rounded_bytes = 0;  // a panel at a time
    both({50, 130, 40, 24}, kind, DType::f32, DType::bf16);
    cuda::contrastive_panels() = {};
  }
}

TEST_F(CudaContrastive, GradientsThatNobodyWants) {
  both({20, 30, 4, 8}, Negatives::all, DType::f32, DType::f32, false);
}

// Statistics at CLIP's largest scale, where an unshifted exp would overflow.
TEST_F(CudaContrastive, LargeLogits) {
  for (const DType t : {DType::f32, DType::f64}) both({40, 60, 10, 4, 300}, Negatives::all, t, t);
}

// Tiles of rows and columns whose largest logits are e^40 and more apart, where each direction has its own exp, with
// positives and without.
TEST_F(CudaContrastive, LogitsFarApart) {
  for (const DType t : {DType::f32, DType::f64})
    for (const Negatives kind : kRules) both({130, 600, 450, 6, 60, 0, 4, 4}, kind, t, t);
}

// Columns alone far apart, their logits about 8, 31 and 125: the largest of each row is near to the first row's. Only
// here would one exp, taken because rows are near, leave whole columns 0 in f32: a logsumexp of −inf.
TEST_F(CudaContrastive, ColumnsFarApart) {
  for (const DType t : {DType::f32, DType::f64})
    for (const Negatives kind : kRules) both({64, 512, 300, 96, 1.3, 0.5, 1, 4}, kind, t, t);
}

// Rows alone far apart, the first of them long: the same for one exp that is taken because columns are near.
TEST_F(CudaContrastive, RowsFarApart) {
  for (const DType t : {DType::f32, DType::f64})
    for (const Negatives kind : kRules) both({64, 512, 300, 96, 1.3, 0.5, 0.25, 1}, kind, t, t);
}

// Logits about 100: one exp serves both directions, but would overflow without a shift.
TEST_F(CudaContrastive, LogitsFarFromZero) {
  for (const DType t : {DType::f32, DType::f64})
    for (const Negatives kind : kRules) both({64, 512, 300, 4, 0.7, 6}, kind, t, t);
}

TEST_F(CudaContrastive, PanelsFromTheEnvironment) {
  const cuda::PanelLimits usual, set = cuda::panel_limits_from("1024x8192");
  EXPECT_EQ(cuda::panel_limits_from(nullptr).cols, usual.cols);
  EXPECT_EQ(set.rows, 1024);
  EXPECT_EQ(set.cols, 8192);
  EXPECT_EQ(set.group, usual.group);
  for (const char* wrong : {"", "1024", "x4096", "1024x", "1024x4096x2", "0x4096", "-1x-1", "65536x65536", "large"})
    EXPECT_THROW(cuda::panel_limits_from(wrong), Error) << wrong;
}

TEST_F(CudaContrastive, RefusesPositivesBeyondTheColumns) {
  const Tensor x = random({4, 2}, 1, DType::f32).to(test::kGpu), scale = Tensor::full({1}, 1, DType::f32, test::kGpu);
  const Tensor out = Tensor::empty({4}, DType::f64, test::kGpu);
  EXPECT_THROW(run<&Table::contrastive_fwd>({.x = x,
                                             .y = x,
                                             .scale = scale,
                                             .first_row = 1,
                                             .row_lse = out,
                                             .positive = out,
                                             .row_above = out,
                                             .col_lse = out,
                                             .col_above = out}),
               Error);
}

}  // namespace
}  // namespace spn::kernels
