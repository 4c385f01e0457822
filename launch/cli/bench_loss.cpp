#include "launch/cli/bench_loss.h"

#include <iostream>

#include "engine/core/check.h"
#include "engine/core/json.h"
#include "launch/bench/loss.h"
#include "launch/cli/device.h"
#include "launch/cli/options.h"
#include "launch/cli/threads.h"
#include "launch/cli/version.h"

namespace spn::cli {

int run_bench_loss(dist::Comm& world, const std::vector<std::string>& args) {
  bench::LossCase what;
  std::string negatives = "all";
  Options options("bench loss",
                  "Times one contrastive loss with global negatives, forward and backward, on random unit rows.");
  options.add("global-batch", &what.global_batch, "pairs over all ranks");
  options.add("width", &what.width, "of the embeddings");
  options.add("negatives", &negatives, "which pairs count");
  options.choices("negatives", {"all", "exclude_radius_um", "other_cluster"});
  options.add("exclude-radius-um", &what.radius_um, "of exclude_radius_um");
  options.add("scale", &what.scale, "1 / temperature");
  options.add("repeats", &what.repeats, "the fastest counts");
  options.add("profile", &what.profile, "also print the time by kernel");
  Precision precision;
  DeviceChoice device;
  precision.add_to(options);
  device.add_to(options);
  if (!options.parse(args, std::cout)) return exit_ok;
  if (!(what.scale > 0)) fail_usage("bench loss", "--scale: expected a number above 0, got {}", what.scale);
  if (!(what.radius_um > 0))
    fail_usage("bench loss", "--exclude-radius-um: expected a distance above 0, got {}", what.radius_um);
  if (options.given("exclude-radius-um") && negatives != "exclude_radius_um")
    fail_usage("bench loss", "--exclude-radius-um: expected --negatives exclude_radius_um with it, got {}", negatives);
  device.open(world, precision);
  what.device = device.device();
  // a CPU multiplies a loss in fp32, whatever the activations are in (kernels/args/contrastive.h)
  const bool cpu = what.device.type == DeviceType::cpu;
  what.products = cpu ? DType::f32 : precision.dtype();
  const std::string products = !cpu && precision.name == "tf32" ? "tf32" : name_of(what.products);
  if (negatives == "exclude_radius_um") what.negatives = kernels::Negatives::exclude_radius;
  if (negatives == "other_cluster") what.negatives = kernels::Negatives::other_cluster;
  const int threads = settle_threads();

  const auto f = bench::measure_loss(what, device.comm(world));
  if (world.rank() != 0) return exit_ok;
  const double of_matmul = f.gflops / f.matmul_gflops;
  const nlohmann::ordered_json j = {{"bench", "loss"},
                                    {"version", version()},
                                    {"ranks", world.size()},
                                    {"threads", threads},
                                    {"device", device.description()},
                                    {"precision", precision.name},
                                    {"products", products},
                                    {"global_batch", what.global_batch},
                                    {"width", what.width},
                                    {"negatives", negatives},
                                    {"scale", what.scale},
                                    {"loss", f.loss},
                                    {"seconds", f.seconds},
                                    {"forward_s", f.forward_s},
                                    {"backward_s", f.backward_s},
                                    {"gflops", f.gflops},
                                    {"matmul_gflops", f.matmul_gflops},
                                    {"matmul_size", f.matmul_size},
                                    {"of_matmul", of_matmul},
                                    {"extra_bytes", f.extra_bytes},
                                    {"rss_growth_bytes", f.rss_growth_bytes}};
  std::cout << json_text(j) << "\n"
            << fmt::format(
                   "{:.3f} s (forward {:.3f}, backward {:.3f}): {:.1f} GFLOP/s of 8 B^2 d, {:.0f} % of a {}-cubed "
                   "{} matmul; {:.1f} MiB beyond inputs and outputs on a rank ({:.1f} MiB of the process)\n",
                   f.seconds, f.forward_s, f.backward_s, f.gflops, 100 * of_matmul, f.matmul_size, products,
                   static_cast<double>(f.extra_bytes) / 1048576, static_cast<double>(f.rss_growth_bytes) / 1048576);
  std::cout << f.profile;
  return exit_ok;
}

}  // namespace spn::cli
