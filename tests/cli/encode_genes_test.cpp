// encode --encoder spot_gene: embeddings of other programs joined by name, and models that read them.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "data/pack/reader.h"
#include "data/write_h5ad/write_h5ad.h"
#include "tests/support/cli_run.h"
#include "tests/support/find_python.h"

namespace spn {
namespace {

namespace fs = std::filesystem;
using data::FeatureKind;
using test::expect;
using test::made_data;
using test::on_ranks;
using test::run_binary;

constexpr std::int64_t kWidth = 16;  // the token width of test::kSmallModel

// Of the training pack's row i, whatever its place in the file.
float value(std::int64_t row, std::int64_t column) { return std::sin(static_cast<float>(row * kWidth + column)); }

struct Made {
  test::TempFolder folder;
  std::string pack = folder / "p.h5", h5ad = folder / "cells.h5ad";
  std::vector<std::string> names;
  data::H5ad content;

  Made() {
    fs::copy_file(made_data().train_pack, pack);
    names = data::PackReader(pack).read_names();
    // in another order, with spots that no pack has
    auto& m = content.obsm["X_scGPT"];
    m.columns = kWidth;
    add("nobody", -1);
    for (std::size_t i = names.size(); i-- > 0;) add(names[i], static_cast<std::int64_t>(i));
    add("nobody else", -1);
  }
  void add(const std::string& name, std::int64_t row) {
    content.obs_names.push_back(name);
    for (std::int64_t c = 0; c < kWidth; ++c) content.obsm["X_scGPT"].f32.push_back(value(row, c));
  }
  std::string encode(const std::string& more = "") const {
    return "encode --encoder spot_gene --pack '" + pack + "' --embeddings '" + h5ad + "'" + more;
  }
  void expect_values(std::int64_t zero_row = -1) const {
    const data::PackReader reader(pack);
    ASSERT_TRUE(reader.features(FeatureKind::spot_gene)->complete());
    std::vector<float> got(kWidth);
    data::PackReader::Row out;
    out.spot_feature = got.data();
    for (std::int64_t row = 0; row < reader.header().spots; ++row) {
      reader.read_row(row, out);
      for (std::int64_t c = 0; c < kWidth; ++c)
        ASSERT_EQ(got[static_cast<std::size_t>(c)], row == zero_row ? 0 : value(row, c)) << row;
    }
  }
};

TEST(EncodeGenes, JoinsByNameOnAnyRanks) {
  Made made;
  data::write_h5ad(made.h5ad, made.content);
  std::string first;
  for (const int ranks : {1, 2, 4}) {
    fs::copy_file(made_data().train_pack, made.pack, fs::copy_options::overwrite_existing);
    expect(run_binary(made.encode(), on_ranks(ranks)), 0, {"2 embeddings of", "width 16"});
    made.expect_values();
    if (ranks == 1) first = test::read_text(made.pack);
    EXPECT_TRUE(test::read_text(made.pack) == first) << ranks;
  }
  expect(run_binary(made.encode()), 0, {"nothing to do"});
  expect(run_binary("inspect '" + made.pack + "' --verify"), 0,
         {"spot_gene: width 16 as float32, complete", "cells.h5ad X_scGPT", "0 spots without", "whole"});
}

TEST(EncodeGenes, MissingSpotsAreNamedAndCounted) {
  Made made;
  // the first row's spot is called something else
  made.content.obs_names[made.names.size()] = "renamed";
  data::write_h5ad(made.h5ad, made.content);
  const std::string before = test::read_text(made.pack);
  expect(run_binary(made.encode()), 3, {"1 of 96 spots", "'" + made.names[0] + "'", "--missing zero"});
  EXPECT_TRUE(test::read_text(made.pack) == before);
  expect(run_binary(made.encode(" --missing zero")), 0, {"1 of 96 spots", "zero vectors", "3 embeddings of"});
  made.expect_values(0);
  expect(run_binary("inspect '" + made.pack + "'"), 0, {"1 spots without"});
  // the whole file is another set of values
  made.content.obs_names[made.names.size()] = made.names[0];
  data::write_h5ad(made.h5ad, made.content);
  expect(run_binary(made.encode()), 3, {"checksum", "--overwrite"});
  expect(run_binary(made.encode(" --overwrite --feature-type float16")), 0, {"width 16"});
  EXPECT_EQ(data::PackReader(made.pack).features(FeatureKind::spot_gene)->type, data::GeneType::f16);
}

TEST(EncodeGenes, BadFiles) {
  Made made;
  const std::string before = test::read_text(made.pack);
  made.content.obsm["X_scGPT"].f32[3 * kWidth + 5] = std::nanf("");
  data::write_h5ad(made.h5ad, made.content);
  expect(run_binary(made.encode()), 3, {"row 3", "column 5", "'" + made.names[93] + "'"});
  made.content.obs_names = std::vector<std::string>(98, "same");
  for (std::size_t i = 0; i < 98; ++i) made.content.obs_names[i] += std::to_string(i);
  data::write_h5ad(made.h5ad, made.content);
  expect(run_binary(made.encode()), 3, {"no name", made.names[0], "'same0'"});
  expect(run_binary(made.encode(" --key X_none")), 3, {"X_none", "'X_scGPT'"});
  fs::resize_file(made.h5ad, fs::file_size(made.h5ad) / 2);
  expect(run_binary(made.encode()), 3, {"cells.h5ad"});
  EXPECT_TRUE(test::read_text(made.pack) == before);
}

std::string pretrain(const std::string& pack, const std::string& run, const std::string& more) {
  return "pretrain --pack '" + pack + "' --output '" + run + "' --global-batch 16 --steps 4" + test::kSmallModel + more;
}

TEST(EncodeGenes, PrecomputedModelsReadThem) {
  Made made;
  const std::string run = made.folder / "run", precomputed = " --spot-gene-encoder precomputed";
  expect(run_binary(pretrain(made.pack, run, precomputed)), 3,
         {"has no spot_gene features", "encode --encoder spot_gene", "--spot-gene-encoder mlp"});
  data::write_h5ad(made.h5ad, made.content);
  ASSERT_EQ(run_binary(made.encode()).status, 0);
  expect(run_binary(pretrain(made.pack, run, precomputed)), 0, {"precomputed embeddings of width 16 (cells.h5ad)"});
  expect(run_binary("embed --checkpoint '" + run + "' --pack '" + made.pack + "' --output '" +
                    (made.folder / "o.h5ad") + "'"),
         0, {"precomputed embeddings"});
  expect(run_binary("evaluate --checkpoint '" + run + "' --pack '" + made.pack + "' --output '" + (made.folder / "e") +
                    "'"),
         0, {"recall@5"});
  // the held-out pack has none
  expect(run_binary("embed --checkpoint '" + run + "' --pack '" + made_data().held_out_pack + "' --output '" +
                    (made.folder / "h.h5ad") + "'"),
         3, {"held-out.h5", "encode --encoder spot_gene"});
  // other embeddings under a resumed run are another pack; the sizes of the model come from the embeddings
  for (float& v : made.content.obsm["X_scGPT"].f32) v += 1;
  data::write_h5ad(made.h5ad, made.content);
  ASSERT_EQ(run_binary(made.encode(" --overwrite")).status, 0);
  expect(run_binary(pretrain(made.pack, run, precomputed + " --steps 6")), 3, {"another pack"});
  made.content.obsm["X_scGPT"].columns = 8;
  made.content.obsm["X_scGPT"].f32.resize(98 * 8);
  data::write_h5ad(made.h5ad, made.content);
  ASSERT_EQ(run_binary(made.encode(" --overwrite")).status, 0);
  expect(run_binary(pretrain(made.pack, made.folder / "r2", precomputed)), 2, {"spot-gene-width", "got 8"});
  // models that do not read them are not disturbed
  expect(run_binary(pretrain(made.pack, made.folder / "r3", "")), 0, {});
}

TEST(EncodeGenes, AnotherKeyIsAnotherEmbedding) {
  Made made;
  made.content.obsm["X_other"] = made.content.obsm["X_scGPT"];
  data::write_h5ad(made.h5ad, made.content);
  ASSERT_EQ(run_binary(made.encode()).status, 0);
  const std::string run = made.folder / "run", precomputed = " --spot-gene-encoder precomputed";
  ASSERT_EQ(run_binary(pretrain(made.pack, run, precomputed)).status, 0);
  EXPECT_NE(test::read_text(run + "/checkpoints/step-00000004/config.json").find("\"spot_gene_key\": \"X_scGPT\""),
            std::string::npos);
  const std::string embed =
      "embed --checkpoint '" + run + "' --pack '" + made.pack + "' --output '" + (made.folder / "o.h5ad") + "'";
  ASSERT_EQ(run_binary(embed).status, 0);
  // the same width and shape, another program's: only the key tells
  ASSERT_EQ(run_binary(made.encode(" --key X_other --overwrite")).status, 0);
  expect(run_binary(embed), 3, {"are X_other", "was trained on X_scGPT"});
  expect(run_binary("evaluate --checkpoint '" + run + "' --pack '" + made.pack + "' --output '" + (made.folder / "e") +
                    "'"),
         3, {"are X_other", "was trained on X_scGPT"});
}

TEST(EncodeGenes, OfAnnDataAndNumPyFiles) {
  SPN_FIND_PYTHON(python, "anndata, numpy, pandas");
  const Made made;
  std::ofstream list(made.folder / "names.txt");
  for (const auto& n : made.names) list << n << "\n";
  list.close();
  const std::string script =
      "import anndata, numpy, pandas, sys\n"
      "d = sys.argv[1]; n = open(d + '/names.txt').read().split('\\n')[:-1]\n"
      "x = numpy.sin(numpy.arange(96 * 16, dtype='float32')).reshape(96, 16)\n"
      "numpy.save(d + '/x.npy', x)\n"
      "slide = [a.rsplit('_', 1)[0] for a in n]; bare = [a.rsplit('_', 1)[1] for a in n]\n"
      "a = anndata.AnnData(obs=pandas.DataFrame({'slide': slide}, index=bare)); a.obsm['X_scGPT'] = "
      "x.astype('float64')\n"
      "a[::-1].copy().write_h5ad(d + '/cells.h5ad')\n";
  const std::string file = made.folder / "script.py";
  std::ofstream(file) << script;
  ASSERT_EQ(std::system((python + " -W ignore '" + file + "' '" + made.folder.path() + "'").c_str()), 0);
  const auto close = [&] {
    const data::PackReader reader(made.pack);
    std::vector<float> got(kWidth);
    data::PackReader::Row out;
    out.spot_feature = got.data();
    for (std::int64_t row = 0; row < 96; ++row) {
      reader.read_row(row, out);
      for (std::int64_t c = 0; c < kWidth; ++c)
        ASSERT_TRUE(std::abs(got[static_cast<std::size_t>(c)] - value(row, c)) <= 1e-6) << row;
    }
  };
  // bare names that both slides have, told apart by obs['slide']
  expect(run_binary(made.encode()), 0, {"width 16"});
  close();
  expect(run_binary("encode --overwrite --encoder spot_gene --pack '" + made.pack + "' --embeddings '" +
                    (made.folder / "x.npy") + "' --names '" + (made.folder / "names.txt") + "'"),
         0, {"x.npy"});
  close();
}

}  // namespace
}  // namespace spn
