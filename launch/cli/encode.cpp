// encode: frozen features into a pack, so that pretrain reads them instead of computing them again and again.
#include "launch/cli/encode.h"

#include <filesystem>
#include <iostream>

#include "engine/core/file.h"
#include "engine/core/json.h"
#include "launch/cli/checkpoint_files.h"
#include "launch/cli/command.h"
#include "launch/cli/device.h"
#include "launch/cli/model_options.h"
#include "launch/cli/options.h"
#include "launch/cli/signals.h"
#include "launch/cli/threads.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;

// The ViT's keys, and what an exported encoder calls them; the model's others do not matter here.
struct VitKey {
  const char* key;
  std::int64_t models::Config::*member;
  const char* exported;
};
constexpr VitKey kVitKeys[] = {
    {"niche-image-px", &models::Config::niche_image_px, "img_size"},
    {"vit-patch", &models::Config::vit_patch, "patch_size"},
    {"vit-width", &models::Config::vit_width, "embed_dim"},
    {"vit-depth", &models::Config::vit_depth, "depth"},
    {"vit-heads", &models::Config::vit_heads, "num_heads"},
    {"vit-mlp", &models::Config::vit_mlp, "mlp_dim"},
};

// Weights in a folder of ours bring their own sizes; a run directory stands for its newest checkpoint.
void adopt_folder(const Options& options, EncodeImages& o) {
  o.weights = resolve_checkpoint(o.weights);
  const std::string path = (fs::path(o.weights) / "config.json").string();
  if (!fs::exists(path)) return;
  const std::string text = files::read_text(path);
  const auto json = try_json(text);
  const bool typed = json.is_object() && json.contains("model_type") && json["model_type"].is_string();
  const std::string type = typed ? json["model_type"].get<std::string>() : "";
  models::Config theirs = o.model;
  if (type == "st_align")
    theirs = models::from_json(text, path);
  else if (type == "vit" && json.contains("spotniche_folder"))  // an exported encoder
    for (const auto& [key, member, exported] : kVitKeys) {
      if (!json.contains(exported) || !json[exported].is_number_integer())
        fail_data("encode", "{} has no number \"{}\"; export the encoder again", path, exported);
      theirs.*member = json[exported].get<std::int64_t>();
    }
  else
    return;  // timm's own folders have a config.json too
  for (const auto& [key, member, exported] : kVitKeys)
    if (options.given(key) && o.model.*member != theirs.*member)
      fail_usage("encode", "--{} is {} but {} says {}; leave it out", key, o.model.*member, path, theirs.*member);
  const bool adapter = o.model.niche_adapter;
  o.model = theirs;
  o.any_px = false;
  o.model.niche_adapter = o.model.niche_adapter || adapter;
}

}  // namespace

int run_encode(dist::Comm& world, const std::vector<std::string>& args) {
  std::vector<std::string> packs;
  std::string encoder = "niche_image", type = "float32", missing = "error";
  EncodeImages images;
  EncodeGenes genes;
  genes.key = "X_scGPT";
  bool overwrite = false;
  DeviceChoice device;
  Options options(
      "encode",
      "Stores what a frozen encoder gives in the pack: niche image features of a ViT, or embeddings of spots "
      "that another program computed. A stopped run goes on when given again.");
  options.add("pack", &packs, "packs from `spotniche prepare`; they are written in place");
  options.add("encoder", &encoder, "what to store");
  options.choices("encoder", {"niche_image", "spot_gene"});
  options.add("feature-type", &type, "stored as (--precision: computed in)");
  options.choices("feature-type", {"float32", "float16"});
  options.add("overwrite", &overwrite,
              "replace features that are complete, or of other weights or values; incomplete ones of the same go on");
  options.section("niche_image");
  options.add(
      "weights", &images.weights,
      "timm safetensors (file or folder), a checkpoint, run or export of ours; random: for benchmarks and tests");
  options.add("batch", &images.batch, "images encoded at once on a rank; also rows a block: what a kill can lose");
  options.add("seed", &images.seed, "of --weights random: those of pretrain with this --seed");
  images.precision.add_to(options);
  device.add_to(options);
  options.section("spot_gene");
  options.add("embeddings", &genes.embeddings, "an .h5ad, or an .npy with --names");
  options.add("key", &genes.key, "of obsm in the .h5ad");
  options.add("names", &genes.names, "of the rows of the .npy, one a line");
  options.add("missing", &missing, "spots without an embedding: error, or zero vectors");
  options.choices("missing", {"error", "zero"});
  add_model_options(options, images.model);
  options.require("pack");
  if (!options.parse(args, std::cout)) return exit_ok;
  settle_threads();
  images.half = genes.half = type == "float16";
  images.overwrite = genes.overwrite = overwrite;
  genes.zero_missing = missing == "zero";
  const bool of_images = encoder == "niche_image";
  for (const char* name : {"embeddings", "key", "names", "missing"})
    if (of_images && options.given(name)) fail_usage("encode", "--{} is of --encoder spot_gene", name);
  for (const char* name : {"weights", "batch", "seed", "precision", "device"})
    if (!of_images && options.given(name)) fail_usage("encode", "--{} is of --encoder niche_image", name);

  if (of_images) {
    if (images.weights.empty())
      fail_usage("encode", "give --weights: timm safetensors, or a checkpoint or export of ours");
    if (images.batch < 1) fail_usage("encode", "--batch: expected at least 1, got {}", images.batch);
    images.any_px = !options.given("niche-image-px");
    if (images.weights != "random") adopt_folder(options, images);
    if (images.model.niche_adapter)
      fail_usage("encode",
                 "niche-adapter = true: the adapter lies before the ViT and is trained, so the ViT's input and its "
                 "features change with every step and cannot be stored; train without the adapter, or on images");
  } else {
    if (genes.embeddings.empty()) fail_usage("encode", "give --embeddings: an .h5ad, or an .npy with --names");
    const bool npy = fs::path(genes.embeddings).extension() == ".npy";
    if (npy != !genes.names.empty())
      fail_usage("encode", "{}",
                 npy ? "give --names: a file with the name of each row of the .npy, one a line"
                     : "--names is for an .npy; the names of an .h5ad are its obs_names");
  }
  if (of_images) {
    device.open(world, images.precision);
    images.device = device.device();
  }
  for (const std::string& pack : packs) {
    const int status = of_images ? encode_images(world, pack, images) : encode_genes(world, pack, genes);
    if (status != exit_ok) return status;
  }
  return exit_ok;
}

}  // namespace spn::cli
