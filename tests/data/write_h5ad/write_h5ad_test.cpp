// The file as Python's anndata and scanpy see it (tests/support/check_h5ad.py), what is refused, and a full disk.
#include "data/write_h5ad/write_h5ad.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "data/h5/h5.h"
#include "engine/core/check.h"
#include "tests/support/find_python.h"
#include "tests/support/full_disk.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"

namespace spn::data {
namespace {

H5ad made(int n) {
  H5ad c;
  H5adMatrix embedding{6, {}, {}}, spatial{2, {}, {}};
  for (int i = 0; i < n; ++i) {
    c.obs_names.push_back(fmt::format("slide-{}_é{}", i % 3, i));
    c.categorical["slide"].push_back(fmt::format("slide-{}", i % 3));
    // more than 127 categories, and missing values
    c.categorical["library_id"].push_back(i % 5 ? fmt::format("lib{}", i) : "");
    c.integer["array_row"].push_back(i);
    c.integer["array_col"].push_back(-i);
    for (int j = 0; j < 6; ++j) embedding.f32.push_back(static_cast<float>(std::sin(static_cast<double>(i * 6 + j))));
    spatial.f64.push_back(i + 0.125);
    spatial.f64.push_back(3.0 * i);
  }
  c.obsm["X_spotniche"] = embedding;
  c.obsm["spatial"] = spatial;
  c.uns["spotniche"] = {
      {"version", "0.1.0"},
      {"checkpoint_sha256", std::string("abababababababababababababababababababababababababababababababab")},
      {"niche_window_um", 200.5},
      {"seed", std::int64_t{42}}};
  return c;
}

TEST(WriteH5ad, AnndataAndScanpyOpenIt) {
  SPN_FIND_PYTHON(python, "anndata, scanpy, h5py");
  test::TempFolder folder;
  write_h5ad(folder / "a.h5ad", made(200));
  const std::string command =
      python + " '" + std::string(SPN_SOURCE_DIR) + "/tests/support/check_h5ad.py' '" + (folder / "a.h5ad") + "' 200";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(WriteH5ad, HoldsTheDocumentedObjects) {
  test::TempFolder folder;
  write_h5ad(folder / "a.h5ad", made(40));
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a.h5ad"});
  const h5::File f = h5::File::open(folder / "a.h5ad");
  EXPECT_EQ(f.children("/"), (std::vector<std::string>{"layers", "obs", "obsm", "obsp", "uns", "var", "varm", "varp"}));
  EXPECT_EQ(f.text("/", "encoding-type"), "anndata");
  EXPECT_EQ(f.texts("/obs", "column-order"),
            (std::vector<std::string>{"library_id", "slide", "array_col", "array_row"}));
  EXPECT_TRUE(f.has_attribute("/var", "column-order"));
  EXPECT_TRUE(f.texts("/var", "column-order").empty());
  EXPECT_TRUE(f.read_strings("/var/_index").empty());
  EXPECT_EQ(f.read_strings("/obs/_index"), made(40).obs_names);
  EXPECT_EQ(f.dataset("/obsm/X_spotniche").shape, (std::vector<std::int64_t>{40, 6}));
  EXPECT_EQ(f.dataset("/obsm/spatial").type, h5::Type::f64);
  EXPECT_EQ(f.dataset("/obs/library_id/codes").type, h5::Type::i8);
  std::vector<float> embedding(240);
  f.read_rows("/obsm/X_spotniche", h5::Type::f32, embedding.data(), 0, 40);
  EXPECT_EQ(embedding, made(40).obsm.at("X_spotniche").f32);
}

TEST(WriteH5ad, RefusesWhatAnndataWouldMisread) {
  test::TempFolder folder;
  const auto refuse = [&](const H5ad& c, const std::string& word) {
    try {
      write_h5ad(folder / "a.h5ad", c);
      ADD_FAILURE() << "expected a throw for " << word;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
    EXPECT_TRUE(folder.files().empty());
  };
  H5ad c = made(9);
  c.obs_names[4] = c.obs_names[2];
  refuse(c, c.obs_names[2]);
  c = made(9);
  c.obsm["a/b"] = c.obsm["spatial"];
  refuse(c, "'a/b'");
  c = made(9);
  c.integer["_index"] = c.integer["array_row"];
  refuse(c, "_index");
  c = made(9);
  c.integer["slide"] = c.integer["array_row"];
  refuse(c, "given twice");
  c = made(9);
  c.integer["array_row"].pop_back();
  refuse(c, "expected 9 values in obs column 'array_row', got 8");
  c = made(9);
  c.obsm["spatial"].columns = 3;
  refuse(c, "9 x 3");
  c = made(9);
  c.obsm["spatial"].f32.resize(18);
  refuse(c, "one type");
}

TEST(WriteH5ad, FullDiskAndMissingFolderLeaveTheOldFile) {
  test::TempFolder folder;
  write_h5ad(folder / "a.h5ad", made(5));
  for (rlim_t bytes : {0U, 2000U, 20'000U, 60'000U}) {
    try {
      const test::FileLimit limit(bytes);
      write_h5ad(folder / "a.h5ad", made(3000));
      ADD_FAILURE() << "expected a throw at " << bytes;
    } catch (const Error& e) {
      EXPECT_EQ(e.status(), exit_data) << e.what();
      EXPECT_NE(std::string(e.what()).find("File too large"), std::string::npos) << e.what();
    }
    EXPECT_EQ(folder.files(), std::vector<std::string>{"a.h5ad"});
    EXPECT_EQ(h5::File::open(folder / "a.h5ad").read_strings("/obs/_index").size(), 5U);
  }
  try {
    write_h5ad(folder / "none/a.h5ad", made(5));
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), exit_data);
  }
}

TEST(WriteH5ad, FullTmpfs) {
  test::TempFolder folder;
  const test::Tmpfs disk(folder / "disk", "size=64k");
  if (!disk.mounted) GTEST_SKIP() << "a tmpfs cannot be mounted here: a full disk was not tried";
  try {
    write_h5ad(disk.path + "/a.h5ad", made(3000));
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), exit_data);
    EXPECT_NE(std::string(e.what()).find("No space left"), std::string::npos) << e.what();
  }
  EXPECT_TRUE(std::filesystem::is_empty(disk.path));
}

}  // namespace
}  // namespace spn::data
