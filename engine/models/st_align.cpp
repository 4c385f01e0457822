#include "engine/models/st_align.h"

#include <cmath>

#include "engine/core/commas.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/pool.h"
#include "engine/ops/shape.h"

namespace spn::models {
namespace {

constexpr double kMaxInverseTemperature = 100;                          // CLIP's clamp
const double kMaxLogitScale = std::log(kMaxInverseTemperature) - 1e-6;  // exp of it in fp32 stays below the limit
constexpr std::int64_t kAdapterPx = 224;

}  // namespace

VitSize vit_size(const Config& c) {
  return {
      c.niche_adapter ? kAdapterPx : c.niche_image_px, c.vit_patch, c.vit_width, c.vit_depth, c.vit_heads, c.vit_mlp};
}

StAlign::StAlign(const Config& config, std::optional<std::uint64_t> seed, Device device, DType dtype)
    : config_(config), registry_(std::make_unique<nn::Registry>(seed, device, dtype)) {
  config.validate();
  const Config& c = config_;
  const nn::Scope root = registry_->root();
  const std::int64_t T = c.tokens, D = c.token_width, W = c.genes / T;

  resnet_ = ResNet(root / "spot_image" / "backbone", c.depths(), c.resnet_width, c.resnet_stem == "imagenet", D);
  spot_image_tokens_ = nn::Tokens(root / "spot_image" / "tokens", T, 1);

  const nn::Scope niche = root / "niche_image";
  if (c.niche_adapter) {
    adapter_.bn = nn::BatchNorm(niche / "adapter" / "bn", 3);
    adapter_.conv = nn::Conv2d(niche / "adapter" / "conv", 3, 3, 3, 1, 1, true);
  }
  vit_ = ViT(niche / "backbone", vit_size(c));
  if (c.vit_frozen) registry_->freeze("niche_image.backbone.*");
  niche_image_tokens_ = nn::Tokens(niche / "tokens", T, c.vit_width / D);

  if (c.spot_gene_encoder == "mlp")
    spot_gene_mlp_ = nn::Mlp(root / "spot_gene" / "mlp", {c.spot_gene_width, c.spot_gene_hidden, D});
  spot_gene_tokens_ = nn::Tokens(root / "spot_gene" / "tokens", T, 1);

  std::vector<std::int64_t> sizes{c.genes};
  for (const std::int64_t h : c.gene_hidden()) sizes.push_back(h);
  sizes.push_back(c.genes);
  niche_gene_mlp_ = nn::Mlp(root / "niche_gene" / "mlp", sizes);
  for (std::int64_t i = 0; i < c.niche_gene_blocks; ++i)
    gene_blocks_.emplace_back(
        root / "niche_gene" / "blocks" / std::to_string(i),
        nn::BlockSize{W, c.niche_gene_heads, c.niche_gene_head_width, c.niche_gene_mlp, 1e-5, c.dropout, false});
  niche_gene_proj_ = nn::Mlp(root / "niche_gene" / "proj", {W, c.niche_gene_proj, D});

  spot_fusion_ = Fusion(root / "spot_fusion", D, c.fusion_heads, c.fusion_ffn_hidden, c.dropout);
  niche_fusion_ = Fusion(root / "niche_fusion", D, c.fusion_heads, c.fusion_ffn_hidden, c.dropout);
  for (int e = 0; e < kEmbeddings; ++e)
    heads_[static_cast<std::size_t>(e)] =
        nn::Mlp(root / "heads" / kEmbeddingNames[e], {T * D, c.head_hidden, c.joint_width});
  for (std::size_t t = 0; t < 3; ++t) {
    const double ln = std::log(1 / c.temperature);
    logit_scale_[t] = c.learnable_temperature
                          ? root.parameter(std::string("logit_scale.") + kTargets[t].name, {}, nn::Init::constant(ln))
                          : Var(Tensor::full({1}, 1 / c.temperature, dtype, device));
  }
}

Var StAlign::inverse_temperature(int target) const {
  const Var& s = logit_scale_[static_cast<std::size_t>(target)];
  return config_.learnable_temperature ? ops::clamp_max(ops::exp(ops::reshape(s, {1})), kMaxInverseTemperature) : s;
}

void StAlign::bound_temperature() {
  if (!config_.learnable_temperature) return;
  const NoGrad none;
  for (const Var& s : logit_scale_) {
    if (!s.requires_grad()) continue;  // frozen
    const Tensor value = s.value().reshape({1});
    value.copy_from(ops::clamp_max(Var(value), kMaxLogitScale).value());
  }
}

Var StAlign::encode_niche_image(const Inputs& in, const nn::Context& c) const {
  if (in.niche_feature) return niche_image_tokens_(Var(in.niche_feature.to(c.compute)));
  Var x(in.niche_image.to(c.compute));
  if (config_.niche_adapter)
    x = adapter_.conv(ops::adaptive_avg_pool2d(adapter_.bn(x, c, false), kAdapterPx, kAdapterPx));
  return niche_image_tokens_(vit_(x, c));
}

Var StAlign::encode_niche_gene(const Var& x, const nn::Context& c) const {
  const Var y = ops::reshape(niche_gene_mlp_(x), {x.dim(0), config_.tokens, config_.genes / config_.tokens});
  return niche_gene_proj_(nn::run_blocks(gene_blocks_, y, c).sum());
}

Var StAlign::encode(Embedding e, const Inputs& in, const nn::Context& c) const {
  const auto input = [&](const Tensor& t) { return Var(t.to(c.compute)); };  // layers follow their input's dtype
  switch (e) {
    case spot_image: return spot_image_tokens_(resnet_(input(in.spot_image), c));
    case spot_gene: {
      const Var genes = input(in.spot_gene);
      return spot_gene_tokens_(config_.spot_gene_encoder == "mlp" ? spot_gene_mlp_(genes) : genes);
    }
    case niche_image: return encode_niche_image(in, c);
    case niche_gene: return encode_niche_gene(input(in.niche_gene), c);
    default: fail("st_align", "expected one of the four encoders, got {}", kEmbeddingNames[e]);
  }
}

Var StAlign::fuse(Embedding e, const Var& image, const Var& gene, const nn::Context& c) const {
  check(e == spot || e == niche, "st_align", "expected spot or niche, got {}", kEmbeddingNames[e]);
  return (e == spot ? spot_fusion_ : niche_fusion_)(image, gene, c);
}

Var StAlign::head(Embedding e, const Var& tokens) const {
  return ops::cast(
      heads_[static_cast<std::size_t>(e)](ops::reshape(tokens, {tokens.dim(0), config_.tokens * config_.token_width})),
      registry_->dtype());
}

std::array<Var, kEmbeddings> StAlign::embed(const Inputs& in, const nn::Context& c) const {
  const std::int64_t batch = in.spot_image.dim(0);
  const auto require = [&](const char* what, const Tensor& t, const Shape& want) {
    check(t.shape() == want, "st_align", "expected {} of shape {}, got {}", what, want.str(), t.shape().str());
  };
  require("spot_image", in.spot_image, {batch, 3, config_.spot_image_px, config_.spot_image_px});
  if (in.niche_feature) {
    require("niche_feature", in.niche_feature, {batch, config_.vit_width});
    check(!config_.niche_adapter, "st_align", "expected images, got features: the adapter comes before the ViT");
  } else {
    require("niche_image", in.niche_image, {batch, 3, config_.niche_image_px, config_.niche_image_px});
  }
  require("spot_gene", in.spot_gene, {batch, config_.spot_gene_width});
  require("niche_gene", in.niche_gene, {batch, config_.genes});

  std::array<Var, kEmbeddings> tokens, out;
  for (const Embedding e : {spot_image, spot_gene, niche_image, niche_gene}) tokens[e] = encode(e, in, c);
  tokens[spot] = fuse(spot, tokens[spot_image], tokens[spot_gene], c);
  tokens[niche] = fuse(niche, tokens[niche_image], tokens[niche_gene], c);
  for (std::size_t e = 0; e < kEmbeddings; ++e) out[e] = head(static_cast<Embedding>(e), tokens[e]);
  return out;
}

std::string StAlign::summary() const {
  std::string s;
  for (const char* part :
       {"spot_image", "spot_gene", "niche_image", "niche_gene", "spot_fusion", "niche_fusion", "heads", "logit_scale"})
    if (const std::int64_t n = registry_->count(std::string(part) + "."); n > 0)
      s += fmt::format("  {:<13} {:>13}\n", part, with_commas(n));
  return s + fmt::format("  {:<13} {:>13} parameters\n", "total", with_commas(registry_->count()));
}

}  // namespace spn::models
