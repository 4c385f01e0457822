// ST-Align: four encoders, two fusions, six heads (docs/model.md). Tensor names are those of the exported file.
#pragma once

#include <array>
#include <memory>

#include "engine/models/config.h"
#include "engine/models/fusion.h"
#include "engine/models/resnet.h"
#include "engine/models/vit.h"

namespace spn::models {

// The six embeddings, in the order of everything that lists them.
enum Embedding : int { spot_image, spot_gene, niche_image, niche_gene, spot, niche, kEmbeddings };
inline constexpr const char* kEmbeddingNames[kEmbeddings] = {"spot_image", "spot_gene", "niche_image",
                                                             "niche_gene", "spot",      "niche"};
// The three targets: which embeddings each aligns.
struct Target {
  const char* name;
  Embedding x, y;
};
inline constexpr Target kTargets[3] = {
    {"spot", spot_image, spot_gene}, {"niche", niche_image, niche_gene}, {"cross", spot, niche}};

// One batch of normalised inputs on the model's device; images may be bf16.
struct Inputs {
  Tensor spot_image;     // f32 [B,3,S,S]
  Tensor niche_image;    // f32 [B,3,N,N]
  Tensor niche_feature;  // f32 [B,vit_width]: the ViT's output in place of niche_image; absent: the image is encoded
  Tensor spot_gene;      // f32 [B,Gs]
  Tensor niche_gene;     // f32 [B,G]
};

// The niche image encoder that a configuration asks for.
VitSize vit_size(const Config& c);

class StAlign {
 public:
  // seed: of the initial weights; nullopt: zeros, to be loaded. dtype: of parameters and embeddings; f64, with a
  // context that computes in f64, for checks.
  StAlign(const Config& config, std::optional<std::uint64_t> seed, Device device = {}, DType dtype = DType::f32);

  // Six embeddings [B,E] in fp32, not normalised; everything before them in c.compute.
  std::array<Var, kEmbeddings> embed(const Inputs& in, const nn::Context& c) const;
  // Its parts. Tokens [B,T,D] of one of the four encoders (spot_image to niche_gene); of a fusion (spot, niche) from
  // image and gene tokens; an embedding from tokens.
  Var encode(Embedding e, const Inputs& in, const nn::Context& c) const;
  Var fuse(Embedding e, const Var& image, const Var& gene, const nn::Context& c) const;
  Var head(Embedding e, const Var& tokens) const;
  // 1/τ of a target [1]: exp(logit_scale), at most 100, or the constant.
  Var inverse_temperature(int target) const;
  // After an update: a trained logit_scale beyond its limit is put just below it, as CLIP's training does. Left there
  // it would get no gradient any more.
  void bound_temperature();

  const Config& config() const { return config_; }
  nn::Registry& registry() { return *registry_; }
  const nn::Registry& registry() const { return *registry_; }
  // "spot_image  570,144 parameters" a line, and the sum.
  std::string summary() const;

 private:
  Var encode_niche_image(const Inputs& in, const nn::Context& c) const;
  Var encode_niche_gene(const Var& x, const nn::Context& c) const;

  Config config_;
  std::unique_ptr<nn::Registry> registry_;
  ResNet resnet_;
  nn::Tokens spot_image_tokens_, niche_image_tokens_, spot_gene_tokens_;
  struct Adapter {
    nn::BatchNorm bn;
    nn::Conv2d conv;
  };
  Adapter adapter_;
  ViT vit_;
  nn::Mlp spot_gene_mlp_, niche_gene_mlp_, niche_gene_proj_;
  std::vector<nn::Block> gene_blocks_;
  Fusion spot_fusion_, niche_fusion_;
  std::array<nn::Mlp, kEmbeddings> heads_;
  std::array<Var, 3> logit_scale_;
};

}  // namespace spn::models
