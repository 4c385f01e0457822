// Embeddings out of .h5ad and .npy files, and how they find their spots.
#include "data/readers/embeddings.h"

#include <gtest/gtest.h>

#include <cmath>

#include "data/h5/h5.h"
#include "data/write_h5ad/write_h5ad.h"
#include "tests/support/errors.h"
#include "tests/support/find_python.h"
#include "tests/support/made_pack.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

// A pack of two slides (3 and 2 spots), or of one.
struct Made {
  test::TempFolder folder;
  std::string path = folder / "a.h5";
  explicit Made(const std::vector<std::int64_t>& rows = {3, 2}) {
    test::write_pack(test::world(), path, test::plan_pack(rows));
  }
};

// Row i is (i, -i).
Embeddings numbered(const std::vector<std::string>& names, const std::vector<std::string>& slides = {}) {
  Embeddings e{"e.h5ad", names, slides, 2, {}};
  for (std::size_t i = 0; i < names.size(); ++i) {
    e.values.push_back(static_cast<float>(i));
    e.values.push_back(-static_cast<float>(i));
  }
  return e;
}

using Rows = std::vector<std::int64_t>;

TEST(JoinEmbeddings, ByTheWholeName) {
  const Made made;
  const PackReader pack(made.path);
  const Embeddings e =
      numbered({"slide_1é_0x4", "nobody", "slide_0é_0x1", "slide_0é_0x0", "slide_0é_0x2", "slide_1é_0x3"});
  const Join j = join_embeddings(e, pack);
  EXPECT_EQ(j.row, (Rows{3, 2, 4, 5, 0}));
  EXPECT_EQ(j.surplus, 1);
  EXPECT_TRUE(j.missing.empty());
  EXPECT_EQ(joined_values(e, j, pack), (std::vector<float>{3, -3, 2, -2, 4, -4, 5, -5, 0, 0}));
}

TEST(JoinEmbeddings, BareNamesNeedTheirSlide) {
  const Made made;
  const PackReader pack(made.path);
  // the same bare name on two slides
  const Join j =
      join_embeddings(numbered({"0x0", "0x3", "0x0", "0x1"}, {"slide_0é", "slide_1é", "elsewhere", "slide_0é"}), pack);
  EXPECT_EQ(j.row, (Rows{0, 3, -1, 1, -1}));
  EXPECT_EQ(j.surplus, 1);
  EXPECT_EQ(j.missing, (std::vector<std::string>{"slide_0é_0x2", "slide_1é_0x4"}));
  const std::string message = test::error_of(ErrorKind::data, [&] { join_embeddings(numbered({"0x0", "0x3"}), pack); });
  EXPECT_TRUE(test::has(message, "'slide_0é_0x0'") && test::has(message, "'0x0'")) << message;
  EXPECT_TRUE(test::has(message, "obs['slide']")) << message;
}

TEST(JoinEmbeddings, BareNamesInAPackOfOneSlide) {
  const Made made({4});
  const PackReader pack(made.path);
  EXPECT_EQ(join_embeddings(numbered({"0x3", "slide_0é_0x0", "0x1", "0x2"}), pack).row, (Rows{1, 2, 3, 0}));
  // a file that tells slides is believed
  EXPECT_EQ(join_embeddings(numbered({"0x3", "0x1"}, {"slide_0é", "another"}), pack).row, (Rows{-1, -1, -1, 0}));
}

TEST(JoinEmbeddings, RefusesTwoOfOneSpotAndValuesThatAreNotFinite) {
  const Made made;
  const PackReader pack(made.path);
  const auto twice = numbered({"slide_0é_0x0", "0x1", "0x0"}, {"slide_0é", "slide_0é", "slide_0é"});
  const std::string message = test::error_of(ErrorKind::data, [&] { join_embeddings(twice, pack); });
  EXPECT_TRUE(test::has(message, "rows 0") && test::has(message, " 2 ('0x0')")) << message;
  Embeddings e = numbered({"slide_0é_0x0", "elsewhere"});
  e.values[3] = std::nanf("");  // of no spot: harmless
  EXPECT_EQ(joined_values(e, join_embeddings(e, pack), pack)[0], 0);
  e.values[1] = std::nanf("");
  const std::string bad = test::error_of(ErrorKind::data, [&] { joined_values(e, join_embeddings(e, pack), pack); });
  EXPECT_TRUE(test::has(bad, "'slide_0é_0x0'") && test::has(bad, "column 1")) << bad;
}

TEST(H5adEmbeddings, ReadsWhatWeWrite) {
  const test::TempFolder folder;
  H5ad content;
  content.obs_names = {"a", "b", "c"};
  content.categorical["library_id"] = {"s2", "s1", "s2"};
  content.obsm["X_scGPT"] = {2, {1, 2, 3, 4, 5, 6}, {}};
  content.obsm["spatial"] = {2, {}, {.5, 1, 2, 3, 4, 5}};
  write_h5ad(folder / "a.h5ad", content);
  const Embeddings e = read_h5ad_embeddings(folder / "a.h5ad", "X_scGPT");
  EXPECT_EQ(e.names, content.obs_names);
  EXPECT_EQ(e.slides, content.categorical["library_id"]);
  EXPECT_EQ(e.width, 2);
  EXPECT_EQ(e.values, content.obsm["X_scGPT"].f32);
  EXPECT_EQ(read_h5ad_embeddings(folder / "a.h5ad", "spatial").values, (std::vector<float>{.5, 1, 2, 3, 4, 5}));
  const std::string message =
      test::error_of(ErrorKind::data, [&] { read_h5ad_embeddings(folder / "a.h5ad", "X_none"); });
  EXPECT_TRUE(test::has(message, "'X_scGPT', 'spatial'") && test::has(message, "--key")) << message;
}

TEST(H5adEmbeddings, RefusesWhatIsNoMatrixOfFloats) {
  const test::TempFolder folder;
  const std::string path = folder / "a.h5ad";
  H5ad content;
  content.obs_names = {"a", "b"};
  content.obsm["good"] = {1, {1, 2}, {}};
  write_h5ad(path, content);
  {
    h5::File f = h5::File::open_to_write(path);
    f.write_all("/obsm/whole", h5::Type::i32, {2, 1}, std::vector<std::int32_t>{1, 2}.data());
    f.write_all("/obsm/long", h5::Type::f32, {3, 1}, std::vector<float>{1, 2, 3}.data());
    f.write_all("/obsm/flat", h5::Type::f32, {2}, std::vector<float>{1, 2}.data());
    f.make_group("/obsm/sparse");
    f.set_text("/obsm/sparse", "encoding-type", "csr_matrix");
    f.close();
  }
  for (const auto& [key, word] : {std::pair{"whole", "int32"}, std::pair{"long", "[3, 1]"}, std::pair{"flat", "[2]"},
                                  std::pair{"sparse", "csr_matrix"}}) {
    const std::string message = test::error_of(ErrorKind::data, [&, &k = key] { read_h5ad_embeddings(path, k); });
    EXPECT_TRUE(test::has(message, word)) << message;
  }
  EXPECT_EQ(read_h5ad_embeddings(path, "good").width, 1);
  const Made pack;
  EXPECT_TRUE(test::has(test::error_of(ErrorKind::data, [&] { read_h5ad_embeddings(pack.path, "good"); }), "obsm"));
  test::error_of(ErrorKind::data, [&] { read_h5ad_embeddings(folder.put("t.h5ad", "text"), "good"); });
}

TEST(H5adEmbeddings, ReadsWhatAnnDataWrites) {
  SPN_FIND_PYTHON(python, "anndata, pandas, numpy");
  const test::TempFolder folder;
  const std::string script =
      "import anndata, pandas, numpy, sys, scipy.sparse as sp\n"
      "n = ['a', 'b', 'c', 'd']; m = numpy.arange(12).reshape(4, 3) / 4\n"
      "a = anndata.AnnData(X=sp.csr_matrix((4, 2), dtype='float32'), obs=pandas.DataFrame({'slide': ['p', 'q', 'p', "
      "'q'], "
      "'number': [1, 2, 1, 2]}, index=n))\n"
      "for t in ('float16', 'float32', 'float64'): a.obsm[t] = m.astype(t)\n"
      "a.obsm['frame'] = pandas.DataFrame(m, index=n, columns=['z', 'y', 'x'])\n"
      "a.obsm['order'] = numpy.asfortranarray(m)\n"
      "a.write_h5ad(sys.argv[1], compression='gzip')\n";
  const std::string path = folder / "a.h5ad";
  ASSERT_EQ(std::system((python + " -W ignore -c \"" + script + "\" '" + path + "'").c_str()), 0);
  for (const char* key : {"float16", "float32", "float64", "frame", "order"}) {
    const Embeddings e = read_h5ad_embeddings(path, key);
    EXPECT_EQ(e.names, (std::vector<std::string>{"a", "b", "c", "d"}));
    EXPECT_EQ(e.slides, (std::vector<std::string>{"p", "q", "p", "q"}));
    ASSERT_EQ(e.width, 3) << key;
    for (std::size_t i = 0; i < 12; ++i) ASSERT_EQ(e.values[i], static_cast<float>(i) / 4) << key;
  }
}

TEST(NpyEmbeddings, NamesAreItsLines) {
  const test::TempFolder folder;
  std::string file("\x93NUMPY\x01\x00", 8);
  const std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n";
  const auto n = static_cast<std::uint16_t>(header.size());
  file.append(reinterpret_cast<const char*>(&n), 2);
  const float values[2] = {7, 8};
  const std::string npy = folder.put("a.npy", file + header + std::string(reinterpret_cast<const char*>(values), 8));
  const Embeddings e = read_npy_embeddings(npy, folder.put("names.txt", "one\r\ntwo words\n"));
  EXPECT_EQ(e.names, (std::vector<std::string>{"one", "two words"}));
  EXPECT_EQ(e.values, (std::vector<float>{7, 8}));
  EXPECT_TRUE(e.slides.empty());
  const auto refused = [&](const std::string& names, const std::string& word) {
    const std::string path = folder.put("names.txt", names);
    const std::string message = test::error_of(ErrorKind::data, [&] { read_npy_embeddings(npy, path); });
    EXPECT_TRUE(test::has(message, word)) << message;
  };
  refused("one\n", "expected 2 names");
  refused("one\n\nthree\n", "line 2");
  test::error_of(ErrorKind::data, [&] { read_npy_embeddings(npy, folder / "none.txt"); });
}

// anndata 0.7 keeps the words of obs[column] in obs/__categories/column.
TEST(ReadEmbeddings, CategoriesOfOldFiles) {
  const test::TempFolder folder;
  {
    h5::File file = h5::File::create(folder / "old.h5ad");
    for (const char* group : {"/obs", "/obs/__categories", "/obsm"}) file.make_group(group);
    file.set_text("/obs", "_index", "_index");
    file.write_strings("/obs/_index", {"a", "b", "c"});
    const std::vector<std::int32_t> codes{1, 0, 1};
    file.write_all("/obs/slide", h5::Type::i32, {3}, codes.data());
    file.write_strings("/obs/__categories/slide", {"S1", "S2"});
    const std::vector<float> values{1, 2, 3};
    file.write_all("/obsm/X", h5::Type::f32, {3, 1}, values.data());
    file.close();
  }
  const Embeddings e = read_h5ad_embeddings(folder / "old.h5ad", "X");
  EXPECT_EQ(e.slides, (std::vector<std::string>{"S2", "S1", "S2"}));
}

}  // namespace
}  // namespace spn::data
