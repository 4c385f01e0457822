#include "launch/cli/batches.h"

namespace spn::cli {

train::Batch to_batch(const data::HostBatch& h, const data::PackHeader& header) {
  const auto b = static_cast<std::int64_t>(h.row.size());
  const auto width = [b](const auto& values) { return static_cast<std::int64_t>(values.size()) / b; };
  train::Batch out;
  out.step = h.step;
  out.epoch = h.epoch;
  out.first_sample = h.first_position;
  out.spot_image = Tensor::from(h.spot_image, {b, header.spot_px, header.spot_px, 3});
  if (h.niche_feature.empty())
    out.niche_image = Tensor::from(h.niche_image, {b, header.niche_px, header.niche_px, 3});
  else
    out.niche_feature = Tensor::from(h.niche_feature, {b, width(h.niche_feature)});
  out.spot_gene = Tensor::from(h.spot_gene, {b, width(h.spot_gene)});
  out.niche_gene = Tensor::from(h.niche_gene, {b, header.niche_genes});
  out.slide = Tensor::from(h.slide, {b});
  out.cluster = Tensor::from(h.cluster, {b});
  out.xy_um = Tensor::from(h.xy_um, {b, 2});
  return out;
}

}  // namespace spn::cli
