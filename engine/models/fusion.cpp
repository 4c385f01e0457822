#include "engine/models/fusion.h"

#include "engine/ops/attention.h"
#include "engine/ops/shape.h"

namespace spn::models {

Fusion::Cross Fusion::make_cross(const nn::Scope& s, std::int64_t width) const {
  Cross a;
  a.norm_q = nn::LayerNorm(s / "norm_q", width);
  a.norm_kv = nn::LayerNorm(s / "norm_kv", width);
  a.q = nn::Linear(s / "q", width, width, false);
  a.k = nn::Linear(s / "k", width, width, false);
  a.v = nn::Linear(s / "v", width, width, false);
  a.proj = nn::Linear(s / "proj", width, width);
  a.id_weights = s.layer_id();
  a.id_proj = (s / "proj").layer_id();
  return a;
}

Fusion::Fusion(const nn::Scope& s, std::int64_t width, std::int64_t heads, std::int64_t ffn_hidden, double dropout)
    : heads_(heads), dropout_(dropout) {
  image_to_gene_ = make_cross(s / "image_to_gene", width);
  gene_to_image_ = make_cross(s / "gene_to_image", width);
  for (auto [ffn, name] : {std::pair{&image_ffn_, "image_ffn"}, std::pair{&gene_ffn_, "gene_ffn"}}) {
    ffn->in = nn::Linear(s / name / "0", width, ffn_hidden);
    ffn->out = nn::Linear(s / name / "2", ffn_hidden, width / 2);
  }
  norm_ = nn::LayerNorm(s / "norm", width);
}

// Queries of `from`, keys and values of `to`; no residual.
Var Fusion::attend(const Cross& a, const Var& from, const Var& to, const nn::Context& c) const {
  const Var target = a.norm_kv(to);
  const Var o = ops::cross_attention(a.q(a.norm_q(from)), a.k(target), a.v(target), static_cast<int>(heads_),
                                     c.dropout(a.id_weights, dropout_));
  return ops::dropout(a.proj(o), c.dropout(a.id_proj, dropout_));
}

Var Fusion::operator()(const Var& image, const Var& gene, const nn::Context& c) const {
  const auto ffn = [](const Ffn& f, const Var& x) { return f.out(f.in(x, ops::Activation::gelu)); };
  const Var a = ffn(image_ffn_, attend(image_to_gene_, image, gene, c));
  const Var b = ffn(gene_ffn_, attend(gene_to_image_, gene, image, c));
  return norm_(ops::concat({a, b}, 2));
}

}  // namespace spn::models
