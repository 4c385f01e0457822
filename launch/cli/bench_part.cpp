#include "launch/cli/bench_part.h"

#include <algorithm>
#include <ctime>
#include <iostream>

#include "engine/core/json.h"
#include "engine/core/philox.h"
#include "engine/core/stopwatch.h"
#include "engine/models/resnet.h"
#include "engine/models/vit.h"
#include "engine/ops/image.h"
#include "engine/optim/optimizer.h"
#include "kernels/table.h"
#include "launch/bench/profile.h"
#include "launch/cli/device.h"
#include "launch/cli/model_options.h"
#include "launch/cli/precision.h"
#include "launch/cli/threads.h"
#include "launch/cli/version.h"

namespace spn::cli {
namespace {

Tensor random_images(std::int64_t batch, std::int64_t px) {
  PhiloxStream rng(1, RandomUse::test, 0);
  std::vector<std::uint8_t> v(static_cast<std::size_t>(batch * px * px * 3));
  for (auto& e : v) e = static_cast<std::uint8_t>(rng.next_u32());
  return Tensor::from(v, {batch, px, px, 3});
}

struct Case {
  std::string part = "niche_image";
  std::int64_t batch = 8, warm_up = 1, steps = 5;
  Precision precision;
  DeviceChoice device;
};

// One step, as often as asked for.
class Encoder {
 public:
  Encoder(const Case& what, const models::Config& c)
      : images_(random_images(what.batch, what.part == "niche_image" ? c.niche_image_px : c.spot_image_px)
                    .to(what.device.device())),
        registry_(1, what.device.device()) {
    context_.compute = what.precision.dtype();
    const nn::Scope backbone = registry_.root() / "backbone";
    if (what.part == "niche_image") {
      vit_ = models::ViT(backbone, {c.niche_image_px, c.vit_patch, c.vit_width, c.vit_depth, c.vit_heads, c.vit_mlp});
      return;
    }
    resnet_ = models::ResNet(backbone, c.depths(), c.resnet_width, c.resnet_stem == "imagenet", c.token_width);
    optimizer_ = optim::make_adamw(optim::make_items(registry_.trainable()));
    grad_ = Tensor::full({what.batch, c.token_width}, 1e-3, context_.compute, images_.device());
    context_.training = true;
  }
  std::int64_t parameters() const { return registry_.count(); }
  void step() {
    const Var x(ops::image_embed(images_, {}, context_.compute));
    if (!optimizer_) {
      const NoGrad no_grad;
      vit_(x, context_);
      return;
    }
    optimizer_->zero_grad();
    backward({resnet_(x, context_)}, {grad_});
    optimizer_->step({.lr = 1e-4, .weight_decay = 0.04});
  }

 private:
  Tensor images_, grad_;
  nn::Registry registry_;
  nn::Context context_;
  models::ViT vit_;
  models::ResNet resnet_;
  std::unique_ptr<optim::Optimizer> optimizer_;
};

}  // namespace

int run_bench_part(dist::Comm& world, const std::vector<std::string>& args) {
  Case what;
  models::Config config;
  bool profile = false;
  Options options(
      "bench part",
      "Times one image encoder with random weights on random images. niche_image: the ViT's forward pass, as "
      "`encode` runs it. spot_image: the ResNet's training step with AdamW.");
  options.add("part", &what.part, "which encoder");
  options.choices("part", {"niche_image", "spot_image"});
  options.add("batch", &what.batch, "images a step");
  options.add("steps", &what.steps, "timed steps");
  options.add("warm-up", &what.warm_up, "steps before them");
  what.precision.add_to(options);
  what.device.add_to(options);
  options.add("profile", &profile, "also print the time by kernel");
  add_model_options(options, config);
  if (!options.parse(args, std::cout)) return exit_ok;
  if (what.batch < 1 || what.steps < 1 || what.warm_up < 0)
    fail_usage("bench part",
               "expected --batch and --steps of at least 1 and --warm-up of at least 0, got {}, {} and {}", what.batch,
               what.steps, what.warm_up);
  if (world.size() != 1) fail_usage("bench part", "bench part times one rank, got {}; leave mpirun out", world.size());
  config.validate();
  const int threads = settle_threads();

  what.device.open(world, what.precision);
  const kernels::Table& table = kernels::table_for(what.device.device());
  Encoder encoder(what, config);
  for (std::int64_t i = 0; i < what.warm_up; ++i) encoder.step();
  table.sync();
  if (profile) bench::start_profile(what.device.device());
  std::vector<double> seconds, cpu;  // cpu: of the process, all threads; on a shared machine it says more
  double total = 0;
  for (std::int64_t i = 0; i < what.steps; ++i) {
    const Stopwatch watch;
    const std::clock_t start = std::clock();
    encoder.step();
    table.sync();
    cpu.push_back(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    seconds.push_back(watch.seconds());
    total += seconds.back();
  }
  const auto profiled = kernels::profile_stop();  // empty where nothing was profiled
  const double s = bench::median(seconds);
  const nlohmann::ordered_json j = {{"bench", "part"},
                                    {"version", version()},
                                    {"part", what.part},
                                    {"threads", threads},
                                    {"device", what.device.description()},
                                    {"precision", what.precision.name},
                                    {"batch", what.batch},
                                    {"parameters", encoder.parameters()},
                                    {"steps", what.steps},
                                    {"step_s", s},
                                    {"step_s_min", *std::min_element(seconds.begin(), seconds.end())},
                                    {"cpu_s", bench::median(cpu)},
                                    {"images_per_s", static_cast<double>(what.batch) / s},
                                    {"peak_bytes", table.memory().peak}};
  std::cout << json_text(j) << "\n"
            << fmt::format("{:.2f} images/s: {:.1f} ms for {} in {}; median of {}\n",
                           static_cast<double>(what.batch) / s, s * 1e3, what.batch, what.precision.name, what.steps);
  if (profile)
    std::cout << bench::profile_lines(profiled, total, what.steps,
                                      bench::measure_rates(world, what.device.device(), what.precision.dtype()));
  return exit_ok;
}

}  // namespace spn::cli
