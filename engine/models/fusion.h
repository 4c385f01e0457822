// ABFN: image and gene tokens attend to each other, shrink, and are concatenated (docs/model.md, Fusion).
#pragma once

#include "engine/nn/layers.h"

namespace spn::models {

class Fusion {
 public:
  Fusion() = default;
  Fusion(const nn::Scope& s, std::int64_t width, std::int64_t heads, std::int64_t ffn_hidden, double dropout);
  // [B,T,D], [B,T,D] -> [B,T,D]
  Var operator()(const Var& image, const Var& gene, const nn::Context& c) const;

 private:
  struct Cross {
    nn::LayerNorm norm_q, norm_kv;
    nn::Linear q, k, v, proj;
    std::uint32_t id_weights = 0, id_proj = 0;
  };
  struct Ffn {
    nn::Linear in, out;
  };
  Cross make_cross(const nn::Scope& s, std::int64_t width) const;
  Var attend(const Cross& a, const Var& from, const Var& to, const nn::Context& c) const;
  std::int64_t heads_ = 1;
  double dropout_ = 0;
  Cross image_to_gene_, gene_to_image_;
  Ffn image_ffn_, gene_ffn_;
  nn::LayerNorm norm_;
};

}  // namespace spn::models
