// embed: checkpoint and pack -> an .h5ad that scanpy opens.
#include <algorithm>
#include <iostream>

#include "data/write_h5ad/write_h5ad.h"
#include "engine/core/json.h"
#include "engine/core/log.h"
#include "engine/dist/together.h"
#include "launch/cli/command.h"
#include "launch/cli/embed_pack.h"
#include "launch/cli/features.h"
#include "launch/cli/output.h"
#include "launch/cli/version.h"

namespace spn::cli {
namespace {

// obsm keys, by models::Embedding.
constexpr const char* kKeys[models::kEmbeddings] = {"X_spot_image", "X_spot_gene", "X_niche_image",
                                                    "X_niche_gene", "X_spotniche", "X_spotniche_niche"};

// The number that all slides share, or one for each in the order of uns["slides"].
data::H5ad::Fact of_slides(const data::PackSet& packs, double data::PackSlide::*member) {
  std::vector<double> all;
  for (std::size_t p = 0; p < packs.packs(); ++p)
    for (const data::PackSlide& s : packs.pack(p).slides()) all.push_back(s.*member);
  if (std::all_of(all.begin(), all.end(), [&](double v) { return v == all[0]; })) return all[0];
  return all;
}

data::H5ad assemble(const ModelOnPacks& what, eval::Embeddings&& z, const EmbedOptions& o) {
  const LoadedModel& loaded = what.loaded;
  const data::PackSet& packs = what.packs;
  data::H5ad out;
  auto& slide = out.categorical["slide"];
  auto& row = out.integer["array_row"];
  auto& column = out.integer["array_col"];
  data::H5adMatrix spatial;
  spatial.columns = 2;
  bool grid_known = false;
  for (std::size_t p = 0; p < packs.packs(); ++p) {
    const auto& pack = packs.pack(p);
    const auto names = pack.read_names();
    out.obs_names.insert(out.obs_names.end(), names.begin(), names.end());
    for (const std::int32_t s : pack.read_slide_index())
      slide.push_back(pack.slides()[static_cast<std::size_t>(s)].name);
    for (const bool columns : {false, true}) {
      const auto v = pack.read_array(columns);
      auto& to = columns ? column : row;
      to.insert(to.end(), v.begin(), v.end());
      for (const std::int32_t e : v) grid_known = grid_known || e >= 0;
    }
    const auto xy = pack.read_xy();
    spatial.f64.insert(spatial.f64.end(), xy.begin(), xy.end());
  }
  out.categorical["library_id"] = slide;
  if (!grid_known) out.integer.clear();
  out.obsm["spatial"] = std::move(spatial);
  for (std::size_t e = 0; e < z.size(); ++e) {
    data::H5adMatrix m;
    m.columns = loaded.model->config().joint_width;
    m.f32 = std::move(z[e]);
    out.obsm[kKeys[e]] = std::move(m);
  }
  const auto& h = packs.header();
  auto& uns = out.uns["spotniche"];
  uns["version"] = std::string(version());
  uns["checkpoint"] = valid_utf8(loaded.folder);
  uns["checkpoint_sha256"] = loaded.checksum;
  uns["spot_window_um"] = h.spot_window_um;
  std::vector<std::string> slides;
  for (std::size_t p = 0; p < packs.packs(); ++p)
    for (const data::PackSlide& s : packs.pack(p).slides()) slides.push_back(s.name);
  uns["slides"] = slides;
  uns["niche_window_um"] = of_slides(packs, &data::PackSlide::niche_window_um);
  uns["niche_radius_um"] = of_slides(packs, &data::PackSlide::niche_radius_um);
  uns["um_per_px"] = of_slides(packs, &data::PackSlide::um_per_px);
  uns["weights"] = std::string(o.weights());
  uns["precision"] = o.precision.name;
  for (const auto& [name, value] : input_facts(packs)) uns[name] = value;
  if (loaded.seed) uns["seed"] = static_cast<std::int64_t>(*loaded.seed);
  return out;
}

}  // namespace

int run_embed(dist::Comm& world, const std::vector<std::string>& args) {
  EmbedOptions o;
  std::string output;
  Options options("embed", "Embeds every spot and niche of a pack with a trained model and writes an .h5ad.");
  o.add_to(options, "packs from `spotniche prepare`");
  options.add("output", &output, "the .h5ad to write");
  options.require("output");
  if (!options.parse(args, std::cout)) return exit_ok;
  require_file_place("embed", output);
  o.open(world, "embed");
  const ModelOnPacks what = load_model_on_packs(world, o);
  log::info("embedding {} spots of {} pack(s) with {}", what.packs.rows(), what.packs.packs(), what.loaded.folder);
  eval::Embeddings z = embed_packs(world, what, o);
  dist::together(world, "embed", [&] {
    if (world.rank() == 0) data::write_h5ad(output, assemble(what, std::move(z), o));
  });
  log::info("wrote {}: obsm X_spotniche and five more, {} columns each; open it with scanpy.read_h5ad", output,
            what.loaded.model->config().joint_width);
  return exit_ok;
}

}  // namespace spn::cli
