// inspect --model: what a model is made of and what a training step of it costs, before anything runs.
#include <fmt/format.h>

#include <filesystem>
#include <iostream>

#include "engine/core/bytes.h"
#include "engine/core/commas.h"
#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/train/cost.h"
#include "launch/cli/inspect.h"
#include "launch/cli/model_options.h"

namespace spn::cli {
namespace {

namespace fs = std::filesystem;

// A .cfg of configs/model, a checkpoint's folder, or its config.json.
models::Config read_model_config(const std::string& path) {
  const fs::path json = fs::is_directory(path) ? fs::path(path) / "config.json" : fs::path(path);
  if (json.extension() == ".json") return models::from_json(files::read_text(json.string()), json.string());
  models::Config config;
  Options options("inspect --model", "");
  add_model_options(options, config);
  options.parse({"--config", path}, std::cout);
  config.validate();
  return config;
}

std::string megaflops(double flops) { return fmt::format("{:.3f}", flops / 1e6); }

}  // namespace

void inspect_model(const std::string& path, const train::CostOptions& options, bool json, std::ostream& out) {
  const train::StepCost cost = train::step_cost(read_model_config(path), options);
  if (json) {
    auto parts = nlohmann::ordered_json::array();
    const auto as_json = [](const train::PartCost& p) {
      return nlohmann::ordered_json{{"part", p.name},
                                    {"shapes", p.shapes},
                                    {"parameters", p.parameters},
                                    {"trained", p.trained},
                                    {"forward_flops", p.forward_flops},
                                    {"backward_flops", p.backward_flops},
                                    {"activation_bytes", p.activation_bytes}};
    };
    for (const auto& p : cost.parts) parts.push_back(as_json(p));
    const nlohmann::ordered_json j = {{"model", path},
                                      {"batch", options.batch},
                                      {"activation_checkpointing", options.activation_checkpointing},
                                      {"parts", parts},
                                      {"total", as_json(cost.total)},
                                      {"weight_bytes", cost.weight_bytes},
                                      {"gradient_bytes", cost.gradient_bytes},
                                      {"optimizer_bytes", cost.optimizer_bytes},
                                      {"ema_bytes", cost.ema_bytes},
                                      {"input_bytes", cost.input_bytes},
                                      {"activation_bytes", cost.activation_bytes},
                                      {"floor_bytes", cost.floor_bytes},
                                      {"peak_bytes", cost.peak_bytes}};
    out << json_text(j) << "\n";
    return;
  }
  print(out, "{}: a model; FLOPs (a multiply-add is 2) and activations are of one spot-niche pair\n", path);
  print(out, "  {:<13} {:>13} {:>13} {:>14} {:>14} {:>13}  {}\n", "part", "parameters", "trained", "MFLOP forward",
        "MFLOP backward", "activations", "shapes");
  const auto line = [&](const train::PartCost& p) {
    print(out, "  {:<13} {:>13} {:>13} {:>14} {:>14} {:>13}  {}\n", p.name, with_commas(p.parameters),
          with_commas(p.trained), megaflops(p.forward_flops), megaflops(p.backward_flops),
          mebibytes(p.activation_bytes), p.shapes);
  };
  for (const auto& p : cost.parts) line(p);
  line(cost.total);
  print(out, "  memory of a training step, {} pairs on a rank{}:\n", options.batch,
        std::string(options.activation_checkpointing ? ", activation checkpointing" : "") +
            (options.ranks > 1 ? fmt::format(", one of {} ranks", options.ranks) : ""));
  const auto amount = [&](const char* what, double bytes) {
    print(out, "    {:<24} {:>14}\n", what, mebibytes(bytes));
  };
  amount("weights", cost.weight_bytes);
  amount("gradients", cost.gradient_bytes);
  amount("optimiser (AdamW)", cost.optimizer_bytes);
  if (options.ema) amount("averaged weights", cost.ema_bytes);
  amount("inputs", cost.input_bytes);
  amount("activations kept", cost.activation_bytes);
  amount("their sum, the floor", cost.floor_bytes);
  amount("most at once", cost.peak_bytes);
}

}  // namespace spn::cli
