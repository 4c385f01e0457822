#include "launch/cli/embed_pack.h"

#include <numeric>

#include "engine/core/log.h"
#include "engine/dist/together.h"
#include "launch/cli/batches.h"
#include "launch/cli/features.h"

namespace spn::cli {

void EmbedOptions::add_to(Options& options, const char* about_packs) {
  options.add("checkpoint", &checkpoint, "a checkpoint folder, or a run directory (its newest checkpoint)");
  options.add("pack", &packs, about_packs);
  add_features_option(options, &features);
  options.add("batch", &batch, "rows embedded at once on a rank");
  precision.add_to(options);
  device.add_to(options);
  options.add("ema", &ema, "use the averaged weights of a run with --ema-decay");
  for (const char* name : {"checkpoint", "pack"}) options.require(name);
}

void EmbedOptions::open(dist::Comm& world, const char* command) {
  if (batch < 1) fail_usage(command, "--batch: expected at least 1, got {}", batch);
  device.open(world, precision);
}

ModelOnPacks load_model_on_packs(dist::Comm& world, const EmbedOptions& o) {
  ModelOnPacks m{load_model(o.checkpoint, o.ema, o.device.device()), data::PackSet(o.packs)};
  const models::Config& config = m.loaded.model->config();
  use_spot_features(m.packs, config, m.loaded.trained_on.spot_gene_key);
  require_fits(config, m.loaded.trained_on.genes, m.packs, m.loaded.folder);
  const double window = m.packs.header().spot_window_um, trained = m.loaded.trained_on.spot_window_um;
  if (trained > 0 && trained != window)
    log::warn(
        "{} was trained on spot windows of {} um, and those of {} are {} um wide; prepare it with "
        "--spot-window-um {}",
        m.loaded.folder, trained, m.packs.pack(0).path(), window, trained);
  use_niche_features(world, m.packs, *m.loaded.model, {.mode = o.features, .weights_given = true});
  return m;
}

eval::Embeddings embed_packs(dist::Comm& world, const ModelOnPacks& what, const EmbedOptions& options) {
  const models::StAlign& model = *what.loaded.model;
  const data::PackSet& packs = what.packs;
  const std::int64_t n = packs.rows(), width = model.config().joint_width, batch = options.batch;
  const std::int64_t share = (n + world.size() - 1) / world.size();  // rows of a rank; the last may have fewer
  const std::int64_t first = std::min(n, share * world.rank()), end = std::min(n, first + share);
  // rank 0 holds all rows, its own first; the others what they compute
  eval::Embeddings out;
  dist::together(world, "embed", [&] {
    for (auto& e : out) e.resize(static_cast<std::size_t>((world.rank() == 0 ? n : end - first) * width));
    for (std::int64_t at = first; at < end; at += batch) {
      std::vector<std::int64_t> rows(static_cast<std::size_t>(std::min(batch, end - at)));
      std::iota(rows.begin(), rows.end(), at);
      data::HostBatch host;
      packs.read(rows, host);
      const auto part =
          eval::embed_batch(model, to_batch(host, packs.header()), options.precision.dtype(), options.device.device());
      for (std::size_t e = 0; e < part.size(); ++e)
        std::copy(part[e].begin(), part[e].end(), out[e].begin() + (at - first) * width);
    }
  });
  for (auto& e : out) {
    if (world.rank() != 0) {
      if (end > first) world.send(host_view(e.data(), {end - first, width}), 0);
      e.clear();
      continue;
    }
    for (int r = 1; r < world.size(); ++r) {
      const std::int64_t from = std::min(n, share * r), to = std::min(n, from + share);
      if (to > from) world.recv(host_view(e.data() + from * width, {to - from, width}), r);
    }
  }
  dist::together(world, "embed", [&] {
    for (const auto& e : out)
      for (const float v : e)
        if (!(v >= -2.0F && v <= 2.0F))
          fail("embed", "an embedding is not finite; was the checkpoint written by a run that diverged?");
  });
  return out;
}

}  // namespace spn::cli
