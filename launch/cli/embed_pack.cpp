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
  // rank 0 holds all rows, its own first; the others what they compute
  eval::Embeddings out;
  dist::together(world, "embed", [&] {
    for (auto& e : out) e.resize(static_cast<std::size_t>((world.rank() == 0 ? n : end - first) * width));
    for (std::int64_t at = first; at < end; at += batch) {
      std::vector<std::int64_t> rows(static_cast<std::size_t>(std::min(batch, end - at)));
      std::iota(rows.begin(), rows.end(), at);
      data::HostBatch host;
      packs.read(rows, host);
      const auto part = eval::embed_batch(model, to_batch(host, packs.header()), compute, device);
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
