#include "launch/cli/model_card.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "engine/core/json.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string as_text(const json& v) { return v.is_string() ? v.get<std::string>() : json_text(v); }

// Lines of a .jsonl that are whole.
template <class F>
void each_line(const fs::path& path, F&& f) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (const json j = try_json(line); j.is_object()) f(j);
}

std::string row(const std::string& what, const std::string& value) { return fmt::format("| {} | {} |\n", what, value); }

std::string origin(const Source& source) {
  if (source.option == "import") return "Imported from";
  if (source.option == "niche-features") return "In place of niche images the run read features of the packs, by";
  if (source.option == "spot-features") return "Spot genes were read as embeddings of the packs, from";
  return fmt::format("The run began with `--{}`", source.option);
}

std::string how_to_load(const CardFacts& f) {
  const models::Config& c = f.config;
  if (f.names == "timm" && f.part == "niche_image")
    return fmt::format(
        "import timm\nfrom safetensors.torch import load_file\n\n"
        "model = timm.models.VisionTransformer(img_size={}, patch_size={}, embed_dim={}, depth={}, num_heads={},\n"
        "                                      mlp_ratio={}, init_values={}, num_classes=0)\n"
        "model.load_state_dict(load_file(\"model.safetensors\"))\n",
        c.niche_adapter ? 224 : c.niche_image_px, c.vit_patch, c.vit_width, c.vit_depth, c.vit_heads,
        static_cast<double>(c.vit_mlp) / static_cast<double>(c.vit_width), f.layer_scale ? "1e-5" : "None");
  if (f.part == "spot_image" && f.names != "spotniche")
    return "import torch\nfrom safetensors.torch import load_file\nfrom torchvision.models.resnet import Bottleneck, "
           "ResNet\n\n" +
           fmt::format("model = ResNet(Bottleneck, [{}], num_classes={})\n", c.resnet_depths, c.token_width) +
           (c.resnet_stem == "cifar" ? "model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)  # the cifar stem\n"
                                       "model.maxpool = torch.nn.Identity()\n"
                                     : "") +
           (c.resnet_width != 64 ? fmt::format("# torchvision's first width is 64, here {}\n", c.resnet_width) : "") +
           "model.load_state_dict(load_file(\"model.safetensors\"), strict=False)  # fc is absent where it was never "
           "trained\n";
  if (f.part == "model")
    return "# docs/examples/load_in_pytorch.py of spotniche defines the model\n"
           "python load_in_pytorch.py THIS_FOLDER PACK.h5 EMBEDDINGS.h5ad\n";
  return "from safetensors.torch import load_file\n\nweights = load_file(\"model.safetensors\")\n";
}

std::string licences(const CardFacts& f) {
  std::string s =
      "Whoever trained this model says under which licence it is passed on. It cannot be freer than what it was made "
      "from:\n\n";
  for (const Source& source : f.sources) {
    s += fmt::format(
        "- {} `{}`: its licence applies to this folder as far as it holds it, or what was trained from it.\n",
        origin(source), source.file);
    if (!source.made_from.empty()) s += fmt::format("  That was itself made from {}.\n", source.made_from);
  }
  for (const std::string& pattern : f.left_out)
    s += fmt::format("- Tensors `{}` were left out of this folder.\n", pattern);
  return s +
         "- UNI is under CC BY-NC-ND 4.0 and gated: its weights may not be passed on, and its terms count models "
         "trained on its outputs as derivatives (no commercial use). Get it with your own token.\n"
         "- HEST-1k is under CC BY-NC-SA 4.0 and gated. Other slides: see where they were published.\n"
         "- spotniche itself is under Apache-2.0; that says nothing about weights.\n";
}

}  // namespace

void gather_run(const std::string& checkpoint, CardFacts& f) {
  std::error_code none;
  if (const fs::path state = fs::path(checkpoint) / "state.json"; fs::exists(state, none)) {
    std::ifstream in(state);
    const json j = try_json(in);
    if (!j.is_object()) return;
    f.step = j.value("step", std::int64_t{-1});
    f.epoch = j.value("epoch", std::int64_t{0});
    f.pairs_seen = j.value("pairs_seen", std::int64_t{0});
    f.global_batch = j.value("global_batch", std::int64_t{0});
    f.seed = j.value("seed", std::uint64_t{0});
    f.training_version = j.value("spotniche_version", std::string());
  }
  f.sources = sources_of(checkpoint);
  // a folder of `import` or `export` lies in no run
  std::ifstream config(fs::path(checkpoint) / "config.json");
  if (const json j = try_json(config); j.is_object() && j.contains("spotniche_folder")) return;
  // RUN_DIR/checkpoints/step-N
  const fs::path run = fs::absolute(checkpoint).lexically_normal() / ".." / "..";
  each_line(run / "events.jsonl", [&](const json& j) {
    const std::string kind = j.value("event", "");
    if (kind == "data") {
      f.data.clear();
      for (const char* key : {"packs", "slides", "pairs", "genes", "species", "technologies", "fingerprint"})
        if (const std::string text = j.contains(key) ? as_text(j[key]) : ""; !text.empty())
          f.data.emplace_back(key, text);
    }
  });
  each_line(run / "metrics.jsonl", [&](const json& j) {
    if (f.step < 0 || j.value("step", std::int64_t{-2}) != f.step) return;
    f.losses.clear();
    for (const char* key : {"loss", "loss_spot", "loss_niche", "loss_cross", "acc_spot", "acc_niche", "acc_cross"})
      if (j.contains(key)) f.losses.emplace_back(key, as_text(j[key]));
  });
}

std::string model_card(const CardFacts& f) {
  std::string s =
      "---\nlibrary_name: spotniche\nlicense: other\ntags:\n- spatial-transcriptomics\n- histology\n"
      "- contrastive-learning\n---\n\n";
  s += fmt::format("# {}\n\n", f.title);
  s += f.part == "model"
           ? "ST-Align, a model that embeds tissue images and gene expression of spots and their niches together, "
             "trained with spotniche.\n\n"
           : fmt::format("The {} encoder of an ST-Align model, under the names of {}, exported by spotniche.\n\n",
                         f.part == "niche_image" ? "niche image (ViT)" : "spot image (ResNet)", f.names);
  s += "| | |\n|---|---|\n";
  s += row("Tensors, values", fmt::format("{}, {}", f.tensors, f.parameters));
  s += row("Weights", f.ema        ? "averages over the run's steps (EMA)"
                      : f.step < 0 ? "as they were read"
                                   : "of the last step");
  if (!f.checksum.empty()) s += row("Checksum of the weights", f.checksum);
  s += row("Trained by", f.training_version.empty() ? "not known" : "spotniche " + f.training_version);
  s += row("Exported by", "spotniche " + f.version);
  if (f.step >= 0)
    s += row("Steps, epoch, pairs seen", fmt::format("{}, {}, {}", f.step, f.epoch, f.pairs_seen)) +
         row("Global batch, seed", fmt::format("{}, {}", f.global_batch, f.seed));
  else
    s += row("Steps", "not known: the checkpoint has no state.json");
  s += "\n## Data\n\n";
  if (f.data.empty()) s += "Not known: the run's events.jsonl does not say, or was not beside the checkpoint.\n";
  if (!f.data.empty()) s += "| | |\n|---|---|\n";
  for (const auto& [key, value] : f.data) s += row(key, value);
  for (const Source& source : f.sources)
    s += fmt::format("\n{} `{}`{}{}.\n", origin(source), source.file,
                     source.checksum.empty() ? "" : ", checksum " + source.checksum,
                     source.made_from.empty() ? "" : ", made from " + source.made_from);
  s += "\n## Losses at the last step\n\n";
  if (f.losses.empty()) s += "Not known: no metrics.jsonl with that step was beside the checkpoint.\n";
  if (!f.losses.empty()) s += "| | |\n|---|---|\n";
  for (const auto& [key, value] : f.losses) s += row(key, value);
  if (!f.losses.empty())
    s += fmt::format("\nOver the training batch{}; `acc_*` is top-1 over that batch, both directions.\n",
                     f.ema ? ", by the weights of that step, not their averages" : "");
  s += "\n## Files\n\n`model.safetensors`: parameters and running statistics under PyTorch's shapes. `config.json`: "
       "every "
       "size, and the names of the genes in their order.\n\n```python\n" +
       how_to_load(f) + "```\n\n";
  return s + "## Licences\n\n" + licences(f);
}

}  // namespace spn::cli
