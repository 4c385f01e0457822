#include "launch/cli/embed_pack.h"

#include <numeric>

#include "engine/core/log.h"
#include "engine/dist/together.h"
#include "launch/cli/batches.h"

namespace spn::cli {

eval::Embeddings embed_packs(dist::Comm& world, const models::StAlign& model, const data::PackSet& packs,
                             std::int64_t batch, DType compute, Device device) {
  const std::int64_t n = packs.rows(), width = model.config().joint_width;
  const std::int64_t share = (n + world.size() - 1) / world.size();  // rows of a rank; the last may have fewer
  const std::int64_t first = std::min(n, share * world.rank()), end = std::min(n, first + share);
  eval::Embeddings mine;
  for (auto& e : mine) e.assign(static_cast<std::size_t>(share * width), 0.0F);
  dist::together(world, "embed", [&] {
    for (std::int64_t at = first; at < end; at += batch) {
      std::vector<std::int64_t> rows(static_cast<std::size_t>(std::min(batch, end - at)));
      std::iota(rows.begin(), rows.end(), at);
      data::HostBatch host;
      packs.read(rows, host);
      const auto part = eval::embed_batch(model, to_batch(host, packs.header()), compute, device);
      for (std::size_t e = 0; e < part.size(); ++e)
        std::copy(part[e].begin(), part[e].end(), mine[e].begin() + (at - first) * width);
    }
  });
  eval::Embeddings all;
  for (std::size_t e = 0; e < all.size(); ++e) {
    std::vector<float> joined(static_cast<std::size_t>(share * world.size() * width));
    world.all_gather(host_view(mine[e].data(), {share, width}),
                     host_view(joined.data(), {share * world.size(), width}));
    if (world.rank() != 0) continue;
    joined.resize(static_cast<std::size_t>(n * width));
    for (const float v : joined)
      if (!(v >= -2.0F && v <= 2.0F))
        fail("embed", "an embedding is not finite; was the checkpoint written by a run that diverged?");
    all[e] = std::move(joined);
  }
  return all;
}

}  // namespace spn::cli
