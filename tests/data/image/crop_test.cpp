// Resizing against Pillow's bytes, and windows in, across and beyond the image.
#include "data/image/crop.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/made_images.h"
#include "tests/support/temp_folder.h"

namespace spn::data {
namespace {

TEST(Resize, EqualsPillow) {
  const test::Golden golden("resize");
  ASSERT_GE(golden.cases().size(), 6U);
  Resizer resize;
  for (const std::string& name : golden.cases()) {
    const Tensor in = golden.tensor(name + ".in"), box = golden.tensor(name + ".box"),
                 want = golden.tensor(name + ".out");
    const double* b = box.view().ptr<double>();
    std::vector<std::uint8_t> got(static_cast<std::size_t>(want.view().numel()));
    resize(in.view().ptr<std::uint8_t>(), in.view().dim(1), in.view().dim(0), {b[0], b[1], b[2], b[3]}, got.data(),
           want.view().dim(1), want.view().dim(0));
    const std::uint8_t* w = want.view().ptr<std::uint8_t>();
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_LE(std::abs(got[i] - w[i]), 1) << name << " at " << i;
  }
}

TEST(Background, IsTheCommonestBrightColour) {
  std::vector<std::uint8_t> rgb;
  const auto add = [&](int n, int r, int g, int b) {
    for (int i = 0; i < n; ++i)
      for (const int v : {r, g, b}) rgb.push_back(static_cast<std::uint8_t>(v));
  };
  add(500, 0, 0, 0);        // a scanner's black frame
  add(100, 236, 236, 237);  // glass
  add(100, 238, 236, 237);
  for (int i = 0; i < 400; ++i) add(1, 150 + i % 90, 60 + i % 140, 150 + i % 60);  // tissue, many colours
  EXPECT_EQ(estimate_background(rgb), (Colour{237, 236, 237}));
  rgb.clear();
  add(995, 10, 10, 12);
  add(5, 250, 250, 250);
  EXPECT_EQ(estimate_background(rgb), (Colour{10, 10, 12}));
}

// Pixels of the picture, or the background where there is none.
std::vector<std::uint8_t> cut(std::int64_t left, std::int64_t top, std::int64_t side, std::int64_t w, std::int64_t h,
                              const Colour& background) {
  std::vector<std::uint8_t> out;
  for (std::int64_t y = top; y < top + side; ++y)
    for (std::int64_t x = left; x < left + side; ++x)
      for (int c = 0; c < 3; ++c)
        out.push_back(x >= 0 && y >= 0 && x < w && y < h ? test::pixel(x, y, c)
                                                         : background[static_cast<std::size_t>(c)]);
  return out;
}

TEST(Crop, InAcrossAndBeyondTheImage) {
  test::TempFolder folder;
  test::write_png(folder / "a.png", 90, 70, {});
  const auto image = open_image(folder / "a.png");
  const Colour background{240, 241, 242};
  Cropper crop;
  for (const auto& [left, top] : {std::pair{-500, -300}, {-5, -9}, {80, -3}, {20, 30}, {-3, 61}, {85, 65}}) {
    std::vector<std::uint8_t> out(16 * 16 * 3);
    const Window w{left + 0.0, top + 0.0, left + 16.0, top + 16.0};
    crop(*image, w, background, 16, out.data());
    EXPECT_EQ(out, cut(left, top, 16, 90, 70, background)) << left << ", " << top;
  }
}

TEST(Crop, FractionalWindowsAreTheResizeOfTheirPixels) {
  test::TempFolder folder;
  test::write_tiff(folder / "a", 90, 70, {.tile = 16});
  const auto image = open_image(folder / "a");
  const Window w{10.3, 20.75, 51.3, 61.75};
  std::vector<std::uint8_t> got(8 * 8 * 3), want(8 * 8 * 3);
  Cropper()(*image, w, {}, 8, got.data());
  const auto pixels = cut(10, 20, 42, 90, 70, {});
  Resizer()(pixels.data(), 42, 42, {w.left - 10, w.top - 20, w.right - 10, w.bottom - 20}, want.data(), 8, 8);
  int most = 0;
  for (std::size_t i = 0; i < got.size(); ++i) most = std::max(most, std::abs(got[i] - want[i]));
  EXPECT_EQ(most, 0);
  const auto what = test::error_of(ErrorKind::data, [&] { Cropper()(*image, {0, 0, 1e6, 1e6}, {}, 8, got.data()); });
  EXPECT_TRUE(test::has(what, "--pitch-um")) << what;
}

}  // namespace
}  // namespace spn::data
