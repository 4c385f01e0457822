// Every layout of every format gives the same pixels, by region, from the top down, without holding the image.
#include "data/image/source.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/errors.h"
#include "tests/support/made_images.h"
#include "tests/support/temp_folder.h"

namespace spn::data {
namespace {

using test::error_of;
using test::has;

constexpr std::int64_t kWidth = 83, kHeight = 61;

// Regions from the top down, some overlapping, and the greatest difference from want(x, y, c).
template <class Want>
int worst(ImageSource& image, Want&& want) {
  EXPECT_EQ(image.width(), kWidth);
  EXPECT_EQ(image.height(), kHeight);
  int most = 0;
  for (const Rect& r : {Rect{0, 0, 5, 4}, Rect{78, 1, 5, 9}, Rect{10, 3, 60, 30}, Rect{0, 20, 83, 2},
                        Rect{31, 41, 33, 20}, Rect{82, 60, 1, 1}}) {
    image.release_above(r.top);
    std::vector<std::uint8_t> out(static_cast<std::size_t>(r.height * (r.width * 3 + 5)), 7);
    image.read(r, out.data(), r.width * 3 + 5);
    for (std::int64_t y = 0; y < r.height; ++y)
      for (std::int64_t i = 0; i < r.width * 3; ++i)
        most = std::max(most, std::abs(out[static_cast<std::size_t>(y * (r.width * 3 + 5) + i)] -
                                       want(r.left + i / 3, r.top + y, static_cast<int>(i % 3))));
    EXPECT_EQ(out[static_cast<std::size_t>(r.width * 3)], 7) << "wrote beyond the row";
  }
  return most;
}

int colour(std::int64_t x, std::int64_t y, int c) { return test::pixel(x, y, c); }
int grey(std::int64_t x, std::int64_t y, int) { return test::pixel(x, y, 0); }
int on_white(std::int64_t x, std::int64_t y, int c) { return x < kWidth / 2 ? 255 : test::pixel(x, y, c); }
int grey_on_white(std::int64_t x, std::int64_t y, int) { return x < kWidth / 2 ? 255 : test::pixel(x, y, 0); }

TEST(Png, EveryKindGivesRgb) {
  test::TempFolder folder;
  for (const int bits : {8, 16})
    for (const bool alpha : {false, true})
      for (const bool is_grey : {false, true})
        for (const bool interlaced : {false, true}) {
          const std::string path = folder / "a.png";
          test::write_png(path, kWidth, kHeight, {bits, alpha, is_grey, interlaced});
          const auto image = open_image(path);
          EXPECT_EQ(image->format(), "PNG");
          EXPECT_EQ(worst(*image, alpha     ? (is_grey ? grey_on_white : on_white)
                                  : is_grey ? grey
                                            : colour),
                    0)
              << bits << alpha << is_grey << interlaced;
        }
}

TEST(Jpeg, EveryKindGivesRgbUnderALyingName) {
  test::TempFolder folder;
  for (const auto kind :
       {test::JpegKind::baseline, test::JpegKind::progressive, test::JpegKind::grey, test::JpegKind::cmyk}) {
    const std::string path = folder / "lies.png";
    test::write_jpeg(path, kWidth, kHeight, kind);
    const auto image = open_image(path);
    EXPECT_EQ(image->format(), "JPEG");
    EXPECT_LE(worst(*image, kind == test::JpegKind::grey ? grey : colour), 8) << static_cast<int>(kind);
  }
}

TEST(Tiff, EveryLayoutGivesRgb) {
  test::TempFolder folder;
  struct Case {
    const char* name;
    test::TiffKind kind;
    int (*want)(std::int64_t, std::int64_t, int);
  };
  const Case cases[] = {
      {"strips", {}, colour},
      {"one strip", {.rows_per_strip = 0}, colour},
      {"LZW strips", {.compression = 5}, colour},
      {"tiles", {.tile = 16}, colour},
      {"deflate tiles, BigTIFF", {.big = true, .tile = 32, .compression = 8}, colour},
      {"16 bits", {.bits = 16}, colour},
      {"16 bit tiles", {.bits = 16, .tile = 16}, colour},
      {"RGBA", {.samples = 4}, on_white},
      {"RGBA, premultiplied, tiles", {.samples = 4, .tile = 16, .premultiplied = true}, on_white},
      {"RGBA planes", {.samples = 4, .planes = true}, on_white},
      {"grey", {.samples = 1}, grey},
      {"grey, 16 bit", {.bits = 16, .samples = 1, .tile = 16}, grey},
      {"planes", {.planes = true}, colour},
      {"planes in tiles", {.planes = true, .tile = 16, .compression = 5}, colour},
      {"planes, 16 bit, not called RGB", {.bits = 16, .planes = true, .minisblack = true}, colour},
      {"joined, not called RGB", {.minisblack = true}, colour},
      {"pages", {.pages = true}, colour},
      {"pages, 16 bit, tiles", {.bits = 16, .pages = true, .tile = 16}, colour},
      {"rows as planes", {.rows = true}, colour},
      {"rows as planes, 16 bit", {.bits = 16, .rows = true}, colour},
  };
  for (const Case& c : cases) {
    const std::string path = folder / "a.png";  // named as the data set does
    test::write_tiff(path, kWidth, kHeight, c.kind);
    const auto image = open_image(path);
    EXPECT_EQ(worst(*image, c.want), 0) << c.name;
    EXPECT_FALSE(image->sample().empty());
  }
  test::write_tiff(folder / "jpeg.tif", kWidth, kHeight, {.tile = 16, .compression = 7});
  EXPECT_LE(worst(*open_image(folder / "jpeg.tif"), colour), 30);  // quality 75
}

TEST(Tiff, OneLargeStripIsReadRowByRow) {
  test::TempFolder folder;
  const std::int64_t w = 3000, h = 2400;  // 21.6 MB of RGB
  for (const bool planes : {false, true}) {
    test::write_tiff(folder / "a.tif", w, h, {.planes = planes, .rows_per_strip = 0, .compression = 5});
    const auto image = open_image(folder / "a.tif");
    std::vector<std::uint8_t> out(300);
    for (std::int64_t y = 10; y < h; y += 700) {
      image->release_above(y);
      image->read({2000, y, 10, 10}, out.data(), 30);
      for (int i = 0; i < 300; ++i)
        ASSERT_EQ(out[static_cast<std::size_t>(i)], test::pixel(2000 + i % 30 / 3, y + i / 30, i % 3));
      EXPECT_LE(image->held_bytes(), w * 3 * 64 * 2);
    }
  }
}

TEST(Images, AreNeverHeldWhole) {
  test::TempFolder folder;
  const std::int64_t w = 400, h = 3000;
  test::write_jpeg(folder / "a", w, h);
  test::write_png(folder / "b", w, h, {});
  test::write_tiff(folder / "c", w, h, {.tile = 64});
  for (const char* name : {"a", "b", "c"}) {
    const auto image = open_image(folder / name);
    std::vector<std::uint8_t> out(100 * 100 * 3);
    for (std::int64_t y = 0; y + 100 <= h; y += 37) {
      image->release_above(y);
      image->read({y % 300, y, 100, 100}, out.data(), 300);
      ASSERT_LE(image->held_bytes(), w * 3 * 240) << image->format();
      ASSERT_LE(std::abs(out[30000 - 1] - test::pixel(y % 300 + 99, y + 99, 2)), 8) << image->format();
    }
  }
}

TEST(Images, SamplesCoverTheImage) {
  test::TempFolder folder;
  const std::int64_t w = 2100, h = 1300;
  test::write_jpeg(folder / "a", w, h);
  test::write_png(folder / "b", w, h, {});
  test::write_tiff(folder / "c", w, h, {.tile = 64});
  double mean = 0;
  const auto all = test::picture(w, h);
  for (const std::uint8_t v : all) mean += v / static_cast<double>(all.size());
  for (const char* name : {"a", "b", "c"}) {
    const auto sample = open_image(folder / name)->sample();
    ASSERT_GE(sample.size(), 3U * 512 * 300) << name;
    double got = 0;
    for (const std::uint8_t v : sample) got += v / static_cast<double>(sample.size());
    EXPECT_NEAR(got, mean, 3) << name;
  }
}

TEST(Images, DamagedAndUnknownFilesAreDataErrors) {
  test::TempFolder folder;
  const auto open = [&](const std::string& name) {
    return error_of(ErrorKind::data, [&] { open_image(folder / name); });
  };
  EXPECT_TRUE(has(open("none.png"), "missing"));
  folder.put("empty.png", "");
  EXPECT_TRUE(has(open("empty.png"), "is empty"));
  folder.put("lfs.png", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  EXPECT_TRUE(has(open("lfs.png"), "Git LFS pointer"));
  folder.put("text.png", "hello");
  EXPECT_TRUE(has(open("text.png"), "expected PNG, JPEG or TIFF"));
  test::write_jpeg(folder / "a.jpg", 200, 200);
  test::write_png(folder / "a.png", 200, 200, {});
  test::write_tiff(folder / "strips.tif", 200, 200, {.compression = 5});
  test::write_tiff(folder / "tiles.tif", 200, 200, {.tile = 16});
  for (const std::string name : {"a.jpg", "a.png", "strips.tif", "tiles.tif"}) {
    const std::string bytes = test::read_text(folder / name);
    for (const std::size_t part : {bytes.size() / 2, std::size_t{20}}) {
      folder.put("cut", bytes.substr(0, part));
      const std::string what = error_of(ErrorKind::data, [&] {
        const auto image = open_image(folder / "cut");
        std::vector<std::uint8_t> out(200 * 200 * 3);
        image->read({0, 0, 200, 200}, out.data(), 600);
      });
      EXPECT_TRUE(has(what, "cut") && has(what, "damaged")) << what;
    }
  }
}

// A PNG's checksum stands behind what it is of: rows above it look well.
TEST(Images, DamageBelowTheLastWindowIsFound) {
  test::TempFolder folder;
  test::write_png(folder / "a.png", 200, 200, {});
  std::string bytes = test::read_text(folder / "a.png");
  const std::size_t end = bytes.rfind("IEND");
  ASSERT_NE(end, std::string::npos);
  bytes[end - 8] = static_cast<char>(bytes[end - 8] ^ 0x55);  // of the checksum before it
  folder.put("bad.png", bytes);
  for (const char* name : {"a.png", "bad.png"}) {
    const std::string what = error_of(ErrorKind::data, [&] {
      const auto image = open_image(folder / name);
      std::vector<std::uint8_t> out(200 * 50 * 3);
      image->read({0, 0, 200, 50}, out.data(), 600);
      image->release_above(200);
      if (std::string(name) == "a.png") fail_data("test", "whole");
    });
    EXPECT_TRUE(has(what, std::string(name) == "a.png" ? "whole" : "damaged")) << what;
  }
}

}  // namespace
}  // namespace spn::data
