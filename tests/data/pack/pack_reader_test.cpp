// What a pack refuses and why; rows from many threads; packs rewritten by h5py.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "data/h5/h5.h"
#include "data/pack/reader.h"
#include "engine/core/check.h"
#include "tests/support/find_python.h"
#include "tests/support/made_pack.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"
#include "tests/support/world.h"

namespace spn::data {
namespace {

const test::MadePack& plan() {
  static const test::MadePack p = test::plan_pack({13, 4, 8});
  return p;
}

// Opening must fail as bad data, with each word in the message.
void expect_refused(const std::string& path, const std::vector<std::string>& words) {
  try {
    PackReader pack(path);
    FAIL() << "expected a throw for " << path;
  } catch (const Error& e) {
    EXPECT_EQ(e.status(), exit_data) << e.what();
    for (const std::string& w : words) EXPECT_NE(std::string(e.what()).find(w), std::string::npos) << e.what();
  }
}

void expect_rows(const PackReader& pack, std::int64_t begin, std::int64_t end) {
  const PackHeader& h = pack.header();
  std::vector<std::uint8_t> spot(static_cast<std::size_t>(3 * h.spot_px * h.spot_px)),
      niche(static_cast<std::size_t>(3 * h.niche_px * h.niche_px));
  std::vector<float> spot_gene(static_cast<std::size_t>(h.spot_genes)),
      niche_gene(static_cast<std::size_t>(h.niche_genes));
  for (std::int64_t row = begin; row < end; ++row) {
    pack.read_row(row, {spot.data(), niche.data(), spot_gene.data(), niche_gene.data()});
    const PackRows want = test::made_rows(plan(), row, 1);
    ASSERT_EQ(spot, want.spot_image) << row;
    ASSERT_EQ(niche, want.niche_image) << row;
    ASSERT_EQ(spot_gene, want.spot_gene) << row;
    ASSERT_EQ(niche_gene, want.niche_gene) << row;
  }
}

TEST(PackReader, ManyThreadsReadTheSamePack) {
  test::TempFolder folder;
  test::write_pack(test::world(), folder / "a.h5", plan());
  const PackReader pack(folder / "a.h5");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) expect_rows(pack, 0, 25);
    });
  for (auto& t : threads) t.join();
}

TEST(PackReader, OneDatasetAtATimeAndNoRowOutside) {
  test::TempFolder folder;
  test::write_pack(test::world(), folder / "a.h5", plan());
  const PackReader pack(folder / "a.h5");
  std::vector<float> gene(11);
  PackReader::Row row;
  row.niche_gene = gene.data();
  pack.read_row(24, row);
  EXPECT_EQ(gene, test::made_rows(plan(), 24, 1).niche_gene);
  EXPECT_THROW(pack.read_row(25, row), Error);
  EXPECT_THROW(pack.read_row(-1, row), Error);
}

TEST(PackReader, FingerprintFollowsTheContent) {
  test::TempFolder folder;
  const auto write = [&](const std::string& name, const test::MadePack& p) {
    test::write_pack(test::world(), folder / name, p);
    return PackReader(folder / name).fingerprint();
  };
  const std::string first = write("a.h5", plan());
  EXPECT_EQ(first.size(), 66U);
  EXPECT_EQ(first.substr(0, 2), "2:");
  EXPECT_EQ(write("b.h5", plan()), first);
  auto other = plan();
  other.genes[3] = "OTHER";
  EXPECT_NE(write("c.h5", other), first);
  EXPECT_NE(write("d.h5", test::plan_pack({13, 5, 7})), first);
  EXPECT_NE(write("e.h5", test::plan_pack({13, 4, 8}, GeneType::f16)), first);

  // values that somebody changed afterwards, in any row
  const auto changed = [&](const std::function<void(h5::File&)>& change) {
    std::filesystem::copy_file(folder / "a.h5", folder / "f.h5", std::filesystem::copy_options::overwrite_existing);
    h5::File file = h5::File::open_to_write(folder / "f.h5");
    change(file);
    file.close();
    return PackReader(folder / "f.h5").fingerprint();
  };
  const auto rows = test::made_rows(plan(), 7, 1);
  auto genes = rows.niche_gene;
  genes[2] += 1;
  auto image = rows.spot_image;
  image.back() ^= 1;
  auto xy = rows.xy;
  xy[1] += 0.5;
  EXPECT_NE(changed([&](auto& f) { f.write_rows("/spots/niche_gene", h5::Type::f32, genes.data(), 7, 1); }), first);
  EXPECT_NE(changed([&](auto& f) { f.write_rows("/spots/spot_image", h5::Type::u8, image.data(), 7, 1); }), first);
  EXPECT_NE(changed([&](auto& f) { f.write_rows("/spots/xy", h5::Type::f64, xy.data(), 7, 1); }), first);
  const std::vector<std::int32_t> slide{1};
  EXPECT_NE(changed([&](auto& f) { f.write_rows("/spots/slide", h5::Type::i32, slide.data(), 7, 1); }), first);
  EXPECT_EQ(changed([](auto&) {}), first);

  // of a pack larger than the sample: the first row, the last, and those between them that the sample has
  const auto sampled = [&](std::int64_t row) {
    std::filesystem::copy_file(folder / "a.h5", folder / "f.h5", std::filesystem::copy_options::overwrite_existing);
    h5::File file = h5::File::open_to_write(folder / "f.h5");
    file.write_rows("/spots/niche_gene", h5::Type::f32, genes.data(), row, 1);
    file.close();
    const PackReader pack(folder / "f.h5"), plain(folder / "a.h5");
    const auto five_rows = static_cast<std::int64_t>(
        5 * (rows.spot_image.size() + rows.niche_image.size() + 4 * (rows.spot_gene.size() + rows.niche_gene.size())));
    EXPECT_EQ(pack.names_fingerprint(), plain.names_fingerprint());
    return pack.fingerprint(five_rows) != plain.fingerprint(five_rows);
  };
  for (const std::int64_t row : {0, 6, 12, 18, 24}) EXPECT_TRUE(sampled(row)) << row;
  for (const std::int64_t row : {1, 7, 23}) EXPECT_FALSE(sampled(row)) << row;
}

TEST(PackReader, NoFileNoHdf5NoPack) {
  test::TempFolder folder;
  expect_refused(folder / "none.h5", {"none.h5", "No such file"});
  expect_refused(folder.path(), {"expected a pack file"});
  std::ofstream(folder / "text.h5") << "barcode,count\n";
  expect_refused(folder / "text.h5", {"text.h5", "signature"});
  h5::File::create(folder / "other.h5").close();
  expect_refused(folder / "other.h5", {"expected a pack", "spotniche prepare"});
}

TEST(PackReader, TruncatedFile) {
  test::TempFolder folder;
  test::write_pack(test::world(), folder / "a.h5", plan());
  std::filesystem::resize_file(folder / "a.h5", std::filesystem::file_size(folder / "a.h5") / 2);
  expect_refused(folder / "a.h5", {"a.h5", "truncated"});
}

TEST(PackReader, ChangedFilesAreNamedWithTheirFault) {
  struct Case {
    std::function<void(h5::File&)> change;
    std::vector<std::string> words;
  };
  const std::vector<Case> cases{
      {[](h5::File& f) { f.set_integer("/", "format_version", 7); }, {"format_version 1", "got 7"}},
      {[](h5::File& f) { f.set_text("/", "format", "spotniche-pick"); }, {"expected a pack"}},
      {[](h5::File& f) { f.set_text("/", "niche_window_um", "wide"); }, {"niche_window_um", "number"}},
      {[](h5::File& f) {
         const std::vector<std::int64_t> rows{13, 5, 8};
         f.write_rows("/slides/rows", h5::Type::i64, rows.data(), 0, 3);
       },
       {"slide_2", "row 18", "row 17"}},
  };
  for (const Case& c : cases) {
    test::TempFolder folder;
    test::write_pack(test::world(), folder / "a.h5", plan());
    h5::File file = h5::File::open_to_write(folder / "a.h5");
    c.change(file);
    file.close();
    expect_refused(folder / "a.h5", c.words);
  }
}

// A pack built object by object, one of them left out or of another shape or type.
TEST(PackReader, MissingOrDisagreeingDatasets) {
  const std::vector<std::string> names{"slide",      "xy",          "array_row", "array_col",
                                       "spot_image", "niche_image", "spot_gene", "niche_gene"};
  const std::vector<h5::Type> types{h5::Type::i32, h5::Type::f64, h5::Type::i32, h5::Type::i32,
                                    h5::Type::u8,  h5::Type::u8,  h5::Type::f32, h5::Type::f32};
  const std::vector<std::vector<std::int64_t>> shapes{{2},          {2, 2},       {2},    {2},
                                                      {2, 4, 4, 3}, {2, 6, 6, 3}, {2, 5}, {2, 5}};
  enum class Fault { none, missing, shape, type };
  for (std::size_t bad = 0; bad < names.size(); ++bad)
    for (Fault fault : {Fault::none, Fault::missing, Fault::shape, Fault::type}) {
      test::TempFolder folder;
      h5::File f = h5::File::create(folder / "a.h5");
      for (const char* group : {"/spots", "/slides", "/genes"}) f.make_group(group);
      for (std::size_t i = 0; i < names.size(); ++i) {
        if (i == bad && fault == Fault::missing) continue;
        auto shape = shapes[i];
        if (i == bad && fault == Fault::shape) ++shape[shape.size() > 2 ? 2 : 0];
        f.make_dataset("/spots/" + names[i], i == bad && fault == Fault::type ? h5::Type::i64 : types[i], shape);
      }
      f.write_strings("/spots/name", {"a", "b"});
      f.write_strings("/genes/name", {"1", "2", "3", "4", "5"});
      for (const char* text : {"name", "tissue", "species", "technology"})
        f.write_strings(std::string("/slides/") + text, {"s"});
      const double zero = 0;
      for (const char* number : {"um_per_px", "pitch_um", "niche_window_um", "niche_radius_um"})
        f.write_all(std::string("/slides/") + number, h5::Type::f64, {1}, &zero);
      const std::int64_t none = 0, two = 2;
      f.write_all("/slides/first_row", h5::Type::i64, {1}, &none);
      f.write_all("/slides/padded_windows", h5::Type::i64, {1}, &none);
      f.write_all("/slides/rows", h5::Type::i64, {1}, &two);
      for (const char* number : {"spot_window_um", "niche_window_um", "niche_radius_um"}) f.set_number("/", number, 0);
      f.set_integer("/", "niche_neighbours", 0);
      for (const char* text : {"normalisation", "source_format", "source", "spotniche_version"})
        f.set_text("/", text, "");
      f.set_integer("/", "format_version", kPackVersion);
      f.set_text("/", "format", kPackFormat);
      f.close();
      const bool small_table = bad < 4;  // read through HDF5, which converts integers and floats
      if (fault == Fault::none || (fault == Fault::type && small_table))
        EXPECT_NO_THROW(PackReader(folder / "a.h5")) << names[bad];
      else
        // a wrong row count of the first dataset shows up at the next one
        expect_refused(folder / "a.h5", {bad == 0 && fault == Fault::shape ? "/spots/" : "/spots/" + names[bad]});
    }
}

TEST(PackReader, H5pyReadsEveryObject) {
  SPN_FIND_PYTHON(python, "h5py, numpy");
  for (const auto& [type, word] : {std::pair{GeneType::f32, "f32"}, std::pair{GeneType::f16, "f16"}}) {
    test::TempFolder folder;
    test::write_pack(test::world(), folder / "a.h5", test::plan_pack({13, 4, 8}, type));
    const std::string script = python + " '" + std::string(SPN_SOURCE_DIR) + "/tests/support/check_pack.py' check '";
    EXPECT_EQ(std::system((script + (folder / "a.h5") + "' " + word).c_str()), 0) << word;
  }
}

TEST(PackReader, ReadsPacksThatH5pyRewroteChunkedOrCompressed) {
  SPN_FIND_PYTHON(python, "h5py, numpy");
  for (GeneType type : {GeneType::f32, GeneType::f16})
    for (const std::string how : {"chunked", "gzip"}) {
      test::TempFolder folder;
      test::write_pack(test::world(), folder / "a.h5", test::plan_pack({13, 4, 8}, type));
      const std::string script =
          python + " '" + std::string(SPN_SOURCE_DIR) + "/tests/support/check_pack.py' rewrite '";
      ASSERT_EQ(std::system((script + (folder / "a.h5") + "' '" + (folder / "b.h5") + "' " + how).c_str()), 0);
      const PackReader a(folder / "a.h5"), b(folder / "b.h5");
      EXPECT_EQ(a.fingerprint(), b.fingerprint());
      std::vector<std::thread> threads;
      for (int t = 0; t < 3; ++t) threads.emplace_back([&] { expect_rows(b, 0, 25); });
      for (auto& t : threads) t.join();
      EXPECT_EQ(a.read_clusters(), b.read_clusters());
    }
}

TEST(PackReader, NamesTheFilterItLacks) {
  SPN_FIND_PYTHON(python, "h5py, numpy");
  test::TempFolder folder;
  test::write_pack(test::world(), folder / "a.h5", plan());
  const std::string script = python + " '" + std::string(SPN_SOURCE_DIR) + "/tests/support/check_pack.py' rewrite '";
  ASSERT_EQ(std::system((script + (folder / "a.h5") + "' '" + (folder / "b.h5") + "' lzf").c_str()), 0);
  expect_refused(folder / "b.h5", {"lzf", "gzip"});
}

}  // namespace
}  // namespace spn::data
