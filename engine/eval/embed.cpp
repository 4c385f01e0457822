#include "engine/eval/embed.h"

#include "engine/ops/image.h"
#include "engine/ops/norm.h"

namespace spn::eval {

Embeddings embed_batch(const models::StAlign& model, const models::Batch& batch, DType compute, Device device) {
  const NoGrad no_grad;
  models::Inputs in;
  in.spot_image = ops::image_embed(batch.spot_image.to(device), {}, compute);
  if (batch.niche_feature)
    in.niche_feature = batch.niche_feature.to(device);
  else
    in.niche_image = ops::image_embed(batch.niche_image.to(device), {}, compute);
  in.spot_gene = batch.spot_gene.to(device);
  in.niche_gene = batch.niche_gene.to(device);
  nn::Context c;
  c.compute = compute;
  const auto z = model.embed(in, c);
  Embeddings out;
  for (std::size_t e = 0; e < out.size(); ++e) out[e] = ops::l2_normalise(z[e]).value().to_vector<float>();
  return out;
}

}  // namespace spn::eval
