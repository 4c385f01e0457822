// embed and evaluate over a trained checkpoint: any number of ranks, and against PyTorch with the same weights.
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/core/json.h"
#include "tests/support/cli_run.h"
#include "tests/support/find_python.h"
#include "tests/support/paths.h"

namespace spn {
namespace {

using test::made_data;
using test::on_ranks;
using test::run_binary;

const std::string& trained() {
  static const test::TempFolder folder;
  static const std::string run = [] {
    const auto ran = run_binary("pretrain --pack '" + made_data().train_pack + "' --output '" + (folder / "run") +
                                "' --global-batch 16 --steps 6" + test::kSmallModel);
    check(ran.status == 0, "test", "{}", ran.text);
    return folder / "run";
  }();
  return run;
}

std::string embed_args(const std::string& out) {
  return "embed --checkpoint '" + trained() + "' --pack '" + made_data().held_out_pack + "' --output '" + out +
         "' --batch 7";
}

TEST(Embed, OpensInScanpyWithNeighbours) {
  SPN_FIND_PYTHON(python, "anndata, scanpy");
  const test::TempFolder folder;
  const auto ran = run_binary(embed_args(folder / "a.h5ad"));
  ASSERT_EQ(ran.status, 0) << ran.text;
  const std::string script =
      "import anndata, scanpy, numpy, sys; a = anndata.read_h5ad(sys.argv[1]); assert a.n_obs == 48, a.n_obs; "
      "x = a.obsm['X_spotniche']; assert numpy.allclose(numpy.linalg.norm(x, axis=1), 1, atol=1e-5); "
      "scanpy.pp.neighbors(a, use_rep='X_spotniche'); assert a.obsp['connectivities'].nnz > 0; "
      "assert a.obsm['spatial'].shape == (48, 2) and a.uns['spotniche']['checkpoint_sha256']; "
      "assert a.uns['spotniche']['seed'] == 42; "
      "assert {'X_spotniche_niche','X_spot_image','X_spot_gene','X_niche_image','X_niche_gene'} <= set(a.obsm); "
      "assert a.obs['slide'].dtype == 'category' and a.obs_names[0].startswith(a.obs['slide'].iloc[0])";
  // UMAP's graph, interpreted: compiling it would take a minute
  EXPECT_EQ(
      std::system(
          ("NUMBA_DISABLE_JIT=1 " + python + " -W ignore -c \"" + script + "\" '" + (folder / "a.h5ad") + "'").c_str()),
      0);
}

// Slides of other scales in one file: what they do not share is told for each. On two ranks, as on one.
TEST(Embed, TellsWhatEachSlideIs) {
  SPN_FIND_PYTHON(python, "anndata, h5py, numpy");
  const test::TempFolder folder;
  for (const int ranks : {1, 2}) {
    const auto ran = run_binary("embed --checkpoint '" + trained() + "' --pack '" + made_data().train_pack + "' '" +
                                    made_data().held_out_pack + "' --output '" + (folder / std::to_string(ranks)) + "'",
                                on_ranks(ranks));
    ASSERT_EQ(ran.status, 0) << ran.text;
  }
  const std::string script =
      "import anndata, h5py, numpy as np, sys; a, b = (anndata.read_h5ad(p) for p in sys.argv[1:3]); "
      "packs = [h5py.File(p)['slides'] for p in sys.argv[3:]]; u = a.uns['spotniche']; "
      "all = lambda k: np.concatenate([p[k][:] for p in packs]); "
      "assert list(u['slides']) == [n.decode() for n in all('name')]; "
      "assert np.array_equal(u['um_per_px'], all('um_per_px')) and len(set(u['um_per_px'])) > 1; "
      "assert u['niche_window_um'] == all('niche_window_um')[0]; "
      "[np.testing.assert_allclose(a.obsm[k], b.obsm[k], atol=1e-6) for k in a.obsm]";
  EXPECT_EQ(std::system((python + " -W ignore -c \"" + script + "\" '" + (folder / "1") + "' '" + (folder / "2") +
                         "' '" + made_data().train_pack + "' '" + made_data().held_out_pack + "'")
                            .c_str()),
            0);
}

TEST(Embed, EqualsPyTorchWithTheSameWeights) {
  SPN_FIND_PYTHON(python, "anndata, h5py");
  if (std::system((python + " -c 'import torch' 2>/dev/null").c_str()) != 0)
    GTEST_SKIP()
        << "PyTorch is not installed (launch/local/install.sh --with-torch): embeddings were not compared with it";
  const test::TempFolder folder;
  ASSERT_EQ(run_binary(embed_args(folder / "a.h5ad")).status, 0);
  EXPECT_EQ(
      std::system((python + " '" + std::string(SPN_SOURCE_DIR) + "/tests/support/check_checkpoint.py' --checkpoint '" +
                   trained() + "' --pack '" + made_data().held_out_pack + "' --h5ad '" + (folder / "a.h5ad") + "'")
                      .c_str()),
      0);
}

TEST(Evaluate, SameNumbersOnAnyRanks) {
  const test::TempFolder folder;
  const auto evaluate = [&](int ranks) {
    const std::string out = folder / std::to_string(ranks);
    const auto ran = run_binary(
        "evaluate --checkpoint '" + trained() + "' --pack '" + made_data().held_out_pack + "' --output '" + out + "'",
        on_ranks(ranks));
    EXPECT_EQ(ran.status, 0) << ran.text;
    EXPECT_NE(ran.text.find("recall@5"), std::string::npos);
    return parse_json(test::read_text(out + "/metrics.json"));
  };
  const auto one = evaluate(1);
  const auto three = evaluate(3);
  EXPECT_EQ(one["all"], three["all"]);
  const auto& at5 = one["all"]["spot"]["recall@5"];
  EXPECT_NEAR(at5["chance"].get<double>(), 5.0 / 48, 1e-12);
  for (const char* d : {"image_to_gene", "gene_to_image"}) {
    EXPECT_GE(at5[d].get<double>(), 0);
    EXPECT_LE(at5[d].get<double>(), 1);
  }
}

}  // namespace
}  // namespace spn
