#include "engine/models/config.h"

#include <sstream>

#include "engine/core/check.h"
#include "engine/core/json.h"

namespace spn::models {
namespace {

std::vector<std::int64_t> parse_list(const char* key, const std::string& text) {
  std::vector<std::int64_t> out;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    std::istringstream one(part);
    std::int64_t v = 0;
    one >> v;
    if (one.fail() || !(one >> std::ws).eof() || v <= 0)
      fail_usage("model", "{}: expected positive numbers separated by commas, got '{}'", key, text);
    out.push_back(v);
  }
  if (out.empty()) fail_usage("model", "{}: expected at least one number, got none", key);
  return out;
}

struct Writer final : FieldVisitor {
  nlohmann::ordered_json json;
  void field(const char* key, std::int64_t& v, const char*) override { json[key] = v; }
  void field(const char* key, double& v, const char*) override { json[key] = v; }
  void field(const char* key, bool& v, const char*) override { json[key] = v; }
  void field(const char* key, std::string& v, const char*) override { json[key] = v; }
};

struct Reader final : FieldVisitor {
  Reader(const nlohmann::json& j, const std::string& s) : json(j), source(s) {}
  const nlohmann::json& json;
  const std::string& source;
  template <class T>
  void get(const char* key, T& v) {
    try {
      v = json.at(key).get<T>();
    } catch (const nlohmann::json::exception&) {
      fail_data("model", "{}: key \"{}\" is missing or of the wrong type; is it a spotniche config.json?", source, key);
    }
  }
  void field(const char* key, std::int64_t& v, const char*) override { get(key, v); }
  void field(const char* key, double& v, const char*) override { get(key, v); }
  void field(const char* key, bool& v, const char*) override { get(key, v); }
  void field(const char* key, std::string& v, const char*) override { get(key, v); }
};

void require(bool ok, const char* key, const std::string& message) {
  if (!ok) fail_usage("model", "{}: {}", key, message);
}

// Every whole number is a size, a count or a divisor.
struct AboveZero final : FieldVisitor {
  void field(const char* key, std::int64_t& v, const char*) override {
    require(v > 0, key, fmt::format("expected at least 1, got {}", v));
  }
  void field(const char*, double&, const char*) override {}
  void field(const char*, bool&, const char*) override {}
  void field(const char*, std::string&, const char*) override {}
};

}  // namespace

std::vector<std::int64_t> Config::depths() const { return parse_list("resnet-depths", resnet_depths); }
std::vector<std::int64_t> Config::gene_hidden() const { return parse_list("niche-gene-hidden", niche_gene_hidden); }

void visit_fields(Config& c, FieldVisitor& v) {
  v.field("tokens", c.tokens, "T: tokens of each encoder");
  v.field("token-width", c.token_width, "D: width of a token");
  v.field("genes", c.genes, "G: genes of the niche vector, a multiple of T");
  v.field("joint-width", c.joint_width, "E: width of the embeddings");
  v.field("head-hidden", c.head_hidden, "H: hidden width of the six heads");
  v.field("spot-image-px", c.spot_image_px, "S: side of the spot image");
  v.field("resnet-depths", c.resnet_depths, "bottlenecks of layer1, layer2, …");
  v.field("resnet-width", c.resnet_width, "channels after the stem");
  v.field("resnet-stem", c.resnet_stem, "cifar: 3x3 stride 1; imagenet: 7x7 stride 2 and max-pool");
  v.field("niche-image-px", c.niche_image_px, "N: side of the niche image");
  v.field("vit-patch", c.vit_patch, "side of a patch");
  v.field("vit-width", c.vit_width, "width of the niche image encoder, a multiple of D");
  v.field("vit-depth", c.vit_depth, "blocks of the niche image encoder");
  v.field("vit-heads", c.vit_heads, "attention heads of the niche image encoder");
  v.field("vit-mlp", c.vit_mlp, "hidden width of its MLP");
  v.field("vit-frozen", c.vit_frozen, "keep the niche image encoder's weights");
  v.field("niche-adapter", c.niche_adapter, "batch norm, resize to 224 and convolution before the ViT");
  v.field("spot-gene-encoder", c.spot_gene_encoder, "mlp over expression, or precomputed embeddings");
  v.field("spot-gene-width", c.spot_gene_width, "Gs: width of the spot gene vector");
  v.field("spot-gene-hidden", c.spot_gene_hidden, "hidden width of the spot gene MLP");
  v.field("niche-gene-hidden", c.niche_gene_hidden, "hidden widths of the niche gene MLP");
  v.field("niche-gene-blocks", c.niche_gene_blocks, "transformer blocks over gene tokens");
  v.field("niche-gene-heads", c.niche_gene_heads, "their heads");
  v.field("niche-gene-head-width", c.niche_gene_head_width, "width of each head");
  v.field("niche-gene-mlp", c.niche_gene_mlp, "hidden width of their MLP");
  v.field("niche-gene-proj", c.niche_gene_proj, "hidden width of the projection to tokens");
  v.field("fusion-heads", c.fusion_heads, "heads of the fusion's cross-attention");
  v.field("fusion-ffn-hidden", c.fusion_ffn_hidden, "hidden width after the cross-attention");
  v.field("dropout", c.dropout, "dropout of gene blocks and fusion");
  v.field("temperature", c.temperature, "tau of the contrastive losses");
  v.field("learnable-temperature", c.learnable_temperature, "train logit_scale.* = ln(1/tau), 1/tau <= 100");
}

void Config::validate() const {
  Config sizes = *this;
  AboveZero above_zero;
  visit_fields(sizes, above_zero);
  require(genes % tokens == 0, "genes", fmt::format("expected a multiple of tokens ({}), got {}", tokens, genes));
  require(vit_width % token_width == 0, "vit-width",
          fmt::format("expected a multiple of token-width ({}), got {}", token_width, vit_width));
  require(token_width % fusion_heads == 0, "fusion-heads",
          fmt::format("expected a divisor of token-width ({}), got {}", token_width, fusion_heads));
  require(token_width % 2 == 0, "token-width", fmt::format("expected an even number, got {}", token_width));
  require(vit_width % vit_heads == 0, "vit-heads",
          fmt::format("expected a divisor of vit-width ({}), got {}", vit_width, vit_heads));
  const std::int64_t niche_px = niche_adapter ? 224 : niche_image_px;
  require(niche_px % vit_patch == 0, "vit-patch",
          fmt::format("expected a divisor of {} px, got {}", niche_px, vit_patch));
  require(resnet_stem == "cifar" || resnet_stem == "imagenet", "resnet-stem",
          "expected cifar or imagenet, got " + resnet_stem);
  require(spot_gene_encoder == "mlp" || spot_gene_encoder == "precomputed", "spot-gene-encoder",
          "expected mlp or precomputed, got " + spot_gene_encoder);
  require(spot_gene_encoder == "mlp" || spot_gene_width == token_width, "spot-gene-width",
          fmt::format("expected token-width ({}) for precomputed embeddings, got {}", token_width, spot_gene_width));
  require(dropout >= 0 && dropout < 1, "dropout", fmt::format("expected 0 <= p < 1, got {}", dropout));
  require(temperature >= 0.01, "temperature", fmt::format("expected at least 0.01, got {}", temperature));
  (void)depths();
  (void)gene_hidden();
}

std::string to_json(const Config& c) {
  Config copy = c;
  Writer w;
  w.json["model_type"] = "st_align";
  visit_fields(copy, w);
  return json_text(w.json, 2) + "\n";
}

Config from_json(const std::string& text, const std::string& source) {
  nlohmann::json j;
  try {
    j = parse_json(text);
  } catch (const nlohmann::json::exception& e) {
    fail_data("model", "{} is not JSON: {}", source, e.what());
  }
  Config c;
  Reader r(j, source);
  visit_fields(c, r);
  c.validate();
  return c;
}

}  // namespace spn::models
