// evaluate: retrieval of the three targets, both directions, per slide, beside chance.
#include <filesystem>
#include <iostream>

#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/core/log.h"
#include "engine/dist/together.h"
#include "engine/eval/retrieval.h"
#include "launch/cli/command.h"
#include "launch/cli/embed_pack.h"
#include "launch/cli/features.h"
#include "launch/cli/output.h"

namespace spn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Direction {
  const char* target;
  const char *forward, *backward;  // what finds what
};
constexpr Direction kDirections[3] = {{"spot", "image_to_gene", "gene_to_image"},
                                      {"niche", "image_to_gene", "gene_to_image"},
                                      {"cross", "spot_to_niche", "niche_to_spot"}};

Json to_json(const eval::Recall& r, const Direction& d) {
  Json j;
  for (std::size_t k = 0; k < eval::kRecallAt.size(); ++k) {
    const std::string at = "recall@" + std::to_string(eval::kRecallAt[k]);
    j[at] = {{d.forward, r.forward[k]}, {d.backward, r.backward[k]}, {"chance", r.chance[k]}};
  }
  return j;
}

void print(const std::string& title, const std::array<eval::Recall, 3>& targets) {
  std::cout << fmt::format("\n{} ({} spots)\n  {:<24}{:>20}{:>20}{:>20}\n", title, targets[0].queries, "target",
                           "recall@1 (chance)", "recall@5 (chance)", "recall@10 (chance)");
  for (std::size_t t = 0; t < 3; ++t)
    for (const bool forward : {true, false}) {
      const auto& r = targets[t];
      const auto& v = forward ? r.forward : r.backward;
      std::cout << fmt::format("  {:<24}", std::string(kDirections[t].target) + " " +
                                               (forward ? kDirections[t].forward : kDirections[t].backward));
      for (std::size_t k = 0; k < 3; ++k)
        std::cout << fmt::format("{:>20}", fmt::format("{:.4f} ({:.4f})", v[k], r.chance[k]));
      std::cout << "\n";
    }
}

struct Slide {
  std::string name;
  std::int64_t first = 0, rows = 0;
};

std::vector<Slide> slides_of(const data::PackSet& packs) {
  std::vector<Slide> slides;
  std::int64_t first = 0;
  for (std::size_t p = 0; p < packs.packs(); ++p)
    for (const auto& s : packs.pack(p).slides()) {
      slides.push_back({s.name, first, s.rows});
      first += s.rows;
    }
  return slides;
}

}  // namespace

int run_evaluate(dist::Comm& world, const std::vector<std::string>& args) {
  EmbedOptions o;
  std::string output;
  Options options("evaluate",
                  "Retrieval by a trained model: does a spot's image find its genes among all of its slide?");
  o.add_to(options, "packs of held-out slides");
  options.add("output", &output, "folder for metrics.json");
  options.require("output");
  if (!options.parse(args, std::cout)) return exit_ok;
  require_folder_place("evaluate", output);
  o.open(world, "evaluate");
  const ModelOnPacks what = load_model_on_packs(world, o);
  const LoadedModel& loaded = what.loaded;
  const data::PackSet& packs = what.packs;
  const eval::Embeddings z = embed_packs(world, what, o);
  dist::together(world, "evaluate", [&] {
    if (world.rank() != 0) return;
    const std::int64_t width = loaded.model->config().joint_width;
    Json json;
    json["checkpoint"] = loaded.folder;
    json["checkpoint_sha256"] = loaded.checksum;
    json["weights"] = o.weights();
    json["precision"] = o.precision.name;
    for (const auto& [name, value] : input_facts(packs)) json[name] = value;
    json["packs"] = o.packs;
    json["gallery"] = "all spots of the query's slide; ties count against";
    std::array<std::vector<eval::Recall>, 3> groups;
    for (const Slide& s : slides_of(packs)) {
      std::array<eval::Recall, 3> targets;
      Json entry;
      entry["spots"] = s.rows;
      for (std::size_t t = 0; t < 3; ++t) {
        const auto& target = models::kTargets[t];
        targets[t] =
            eval::recall(z[target.x].data() + s.first * width, z[target.y].data() + s.first * width, s.rows, width);
        groups[t].push_back(targets[t]);
        entry[target.name] = to_json(targets[t], kDirections[t]);
      }
      json["slides"][s.name] = entry;
      print(s.name, targets);
    }
    std::array<eval::Recall, 3> all;
    for (std::size_t t = 0; t < 3; ++t) {
      all[t] = eval::pooled(groups[t]);
      json["all"][models::kTargets[t].name] = to_json(all[t], kDirections[t]);
    }
    json["all"]["spots"] = packs.rows();
    if (groups[0].size() > 1) print("all slides, mean over spots", all);
    std::cout << "\nchance: a random order of the slide's spots would put the partner in the top k this often.\n";
    std::error_code error;
    std::filesystem::create_directories(output, error);
    if (error) fail_data("evaluate", "cannot make folder {}: {}", output, error.message());
    const std::string path = output + "/metrics.json";
    files::replace_text(path, lenient_json_text(json, 2) + "\n");  // paths need not be UTF-8
    std::cout << "wrote " << path << "\n";
  });
  return exit_ok;
}

}  // namespace spn::cli
