// Sizes of an ST-Align model: everything configs/model/*.cfg says.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace spn::models {

struct Config {
  std::int64_t tokens = 8, token_width = 128, genes = 512, joint_width = 128, head_hidden = 256;
  std::int64_t spot_image_px = 32, resnet_width = 16;
  std::string resnet_depths = "1,1,1,1", resnet_stem = "cifar";
  std::int64_t niche_image_px = 64, vit_patch = 16, vit_width = 128, vit_depth = 2, vit_heads = 4, vit_mlp = 256;
  bool vit_frozen = false, niche_adapter = false;
  std::string spot_gene_encoder = "mlp";
  std::int64_t spot_gene_width = 512, spot_gene_hidden = 1024;
  std::string niche_gene_hidden = "256,128";
  std::int64_t niche_gene_blocks = 2, niche_gene_heads = 4, niche_gene_head_width = 64, niche_gene_mlp = 128,
               niche_gene_proj = 128;
  std::int64_t fusion_heads = 4, fusion_ffn_hidden = 16;
  double dropout = 0.1, temperature = 0.1;
  bool learnable_temperature = false;

  std::vector<std::int64_t> depths() const;       // of resnet_depths
  std::vector<std::int64_t> gene_hidden() const;  // of niche_gene_hidden
  // Usage error that names the key when sizes do not fit together (genes not a multiple of tokens, …).
  void validate() const;
};

// One visitor for all keys: option tables, config.json and comparisons are written from it.
struct FieldVisitor {
  virtual ~FieldVisitor() = default;
  virtual void field(const char* key, std::int64_t& v, const char* help) = 0;
  virtual void field(const char* key, double& v, const char* help) = 0;
  virtual void field(const char* key, bool& v, const char* help) = 0;
  virtual void field(const char* key, std::string& v, const char* help) = 0;
};
void visit_fields(Config& c, FieldVisitor& v);

// config.json of a checkpoint, and back. from_json: data error naming `source` when a key is missing or ill-typed.
std::string to_json(const Config& c);
Config from_json(const std::string& text, const std::string& source);

}  // namespace spn::models
