// The frozen ViT over all niche images of a pack: blocks of rows go round the ranks, one forward pass each.
#include <unistd.h>

#include <cstdio>
#include <future>

#include "data/pack/reader.h"
#include "engine/core/log.h"
#include "engine/core/stopwatch.h"
#include "engine/dist/together.h"
#include "engine/models/st_align.h"
#include "engine/models/weights.h"
#include "engine/ops/image.h"
#include "engine/train/progress.h"
#include "launch/cli/encode.h"
#include "launch/cli/features.h"
#include "launch/cli/signals.h"
#include "launch/cli/version.h"

namespace spn::cli {
namespace {

// The ViT alone, under the names that it has in the model.
struct Encoder {
  nn::Registry registry;
  models::VitSize size;
  models::ViT vit;
  explicit Encoder(const EncodeImages& o)
      : registry(o.weights == "random" ? std::optional(o.seed) : std::nullopt, o.device),
        size(models::vit_size(o.model)),
        vit(registry.root() / "niche_image" / "backbone", size) {}
};

std::string load_weights(Encoder& encoder, const EncodeImages& o, bool says) {
  if (o.weights == "random") {
    if (says)
      log::warn(
          "the ViT has RANDOM WEIGHTS (seed {}): these features are for benchmarks and tests, they know no tissue",
          o.seed);
    return fmt::format("random, seed {}", o.seed);
  }
  const auto loaded = models::load_vit(encoder.registry, encoder.size, o.weights);
  for (const std::string& note : loaded.notes) log::info("{}", note);
  return loaded.source;
}

struct Rows {
  std::int64_t first, count;
};

// Niche images of parts of a pack, in order; while a part is encoded a thread reads the one after it.
class ReadAhead {
 public:
  ReadAhead(const data::PackReader& pack, std::int64_t px, std::vector<Rows> parts)
      : pack_(pack), bytes_(3 * px * px), parts_(std::move(parts)) {
    start();
  }
  // uint8 [count, px, px, 3] of the next part. Throws what reading it threw.
  std::vector<std::uint8_t> next() {
    auto images = reading_.get();
    start();
    return images;
  }

 private:
  void start() {
    if (at_ == parts_.size()) return;
    const Rows part = parts_[at_++];
    reading_ = std::async(std::launch::async, [this, part] {
      std::vector<std::uint8_t> images(static_cast<std::size_t>(part.count * bytes_));
      for (std::int64_t i = 0; i < part.count; ++i) {
        data::PackReader::Row row;
        row.niche_image = images.data() + i * bytes_;
        pack_.read_row(part.first + i, row);
      }
      return images;
    });
  }
  const data::PackReader& pack_;
  std::int64_t bytes_;
  std::vector<Rows> parts_;
  std::size_t at_ = 0;
  std::future<std::vector<std::uint8_t>> reading_;  // last: its end waits for the thread, which uses the others
};

// A block in parts of at most `batch` rows.
std::vector<Rows> parts_of(Rows block, std::int64_t batch) {
  std::vector<Rows> parts;
  for (std::int64_t at = 0; at < block.count; at += batch)
    parts.push_back({block.first + at, std::min(batch, block.count - at)});
  return parts;
}

// No gradient, no dropout, no augmentation.
void encode_rows(const Encoder& encoder, ReadAhead& images, const std::vector<Rows>& parts, DType compute,
                 Device device, std::vector<float>& out) {
  const NoGrad no_grad;
  nn::Context context;
  context.compute = compute;
  const std::int64_t px = encoder.size.px;
  out.clear();
  for (const Rows& part : parts) {
    const Tensor input = ops::image_embed(Tensor::from(images.next(), {part.count, px, px, 3}, device), {}, compute);
    const auto values = encoder.vit(Var(input), context).value().to_vector<float>();
    out.insert(out.end(), values.begin(), values.end());
  }
}

// The ViT's alone: it may go into models of any token width.
void check_sizes(const models::Config& c) {
  for (const std::int64_t v : {c.niche_image_px, c.vit_patch, c.vit_width, c.vit_depth, c.vit_heads, c.vit_mlp})
    if (v < 1) fail_usage("encode", "expected sizes of the ViT above 0, got {}", vit_config(c));
  if (c.niche_image_px % c.vit_patch != 0)
    fail_usage("encode", "--vit-patch: expected a divisor of {} px, got {}", c.niche_image_px, c.vit_patch);
  if (c.vit_width % c.vit_heads != 0)
    fail_usage("encode", "--vit-heads: expected a divisor of vit-width ({}), got {}", c.vit_width, c.vit_heads);
}

// A line redrawn on a terminal, one every 10 s elsewhere.
class Shown {
 public:
  void update(std::int64_t done, std::int64_t all) {
    const double now = watch_.seconds();
    const bool last = done == all;
    if (!last && now - shown_ < (terminal_ ? 0.1 : 10.0)) return;
    shown_ = now;
    const double rate = now > 0 ? static_cast<double>(done) / now : 0;
    const std::string text = fmt::format("encoded {} of {} niche images  {:.1f} images/s  left {}", done, all, rate,
                                         rate > 0 ? train::duration_text(static_cast<double>(all - done) / rate) : "?");
    if (terminal_)
      std::fprintf(stderr, "\r%s\x1b[K%s", text.c_str(), last ? "\n" : "");
    else
      log::info("{}", text);
  }

 private:
  Stopwatch watch_;
  double shown_ = 0;
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
};

}  // namespace

int encode_images(dist::Comm& world, const std::string& path, const EncodeImages& options) {
  const data::PackReader pack(path);
  EncodeImages o = options;
  if (o.any_px) o.model.niche_image_px = pack.header().niche_px;
  check_sizes(o.model);
  if (pack.header().niche_px != o.model.niche_image_px)
    fail_data(
        "encode",
        "niche images of '{}' are {} px, the ViT takes {} px; prepare the pack with --niche-image-px {}, or give the "
        "ViT's --config",
        path, pack.header().niche_px, o.model.niche_image_px, o.model.niche_image_px);
  Encoder encoder(o);
  data::FeatureInfo want;
  want.width = o.model.vit_width;
  want.type = o.half ? data::GeneType::f16 : data::GeneType::f32;
  want.block_rows = o.batch;
  want.facts["encoder"] = "niche_image";
  want.facts["encoder_config"] = vit_config(o.model);
  want.facts["weights"] = load_weights(encoder, o, world.rank() == 0);
  want.facts["precision"] = o.precision.name;
  want.facts["spotniche_version"] = version();
  want.checksum = models::weights_checksum(encoder.registry, models::kVitPrefix);

  data::FeatureWriter writer(world, path, data::FeatureKind::niche_image, want, o.overwrite);
  const auto& todo = writer.todo();
  const auto left = static_cast<std::int64_t>(todo.size());
  if (left == 0) {
    log::info("{}: niche_image features of weights {} are complete; nothing to do", path, want.checksum.substr(0, 12));
    return exit_ok;
  }
  log::info(
      "{}: {} niche images of {} px by a ViT of {} blocks, width {} ({}, weights {}) in {}; {} ranks, {} rows a block",
      path, pack.header().spots, o.model.niche_image_px, o.model.vit_depth, want.width, want.facts["weights"],
      want.checksum.substr(0, 12), o.precision.name, world.size(), writer.info().block_rows);
  if (left < writer.info().blocks) log::info("going on: {} are done", writer.info().progress());
  std::int64_t all = 0, done = 0;
  for (const std::int64_t block : todo) all += writer.rows(block);
  const auto parts = [&](std::int64_t block) {
    return parts_of({writer.first_row(block), writer.rows(block)}, o.batch);
  };
  std::vector<Rows> mine_in_order;
  for (std::int64_t i = world.rank(); i < left; i += world.size())
    for (const Rows& part : parts(todo[static_cast<std::size_t>(i)])) mine_in_order.push_back(part);
  ReadAhead images(pack, o.model.niche_image_px, std::move(mine_in_order));
  Shown shown;
  std::vector<float> values;
  for (std::int64_t at = 0; at < left; at += world.size()) {
    const std::int64_t mine = at + world.rank();
    dist::together(world, "encode", [&] {
      if (mine >= left) return;
      const std::int64_t block = todo[static_cast<std::size_t>(mine)];
      encode_rows(encoder, images, parts(block), o.precision.dtype(), o.device, values);
      writer.write(block, values);
    });
    const std::int64_t end = std::min<std::int64_t>(left, at + world.size());
    for (std::int64_t i = at; i < end; ++i) done += writer.rows(todo[static_cast<std::size_t>(i)]);
    if (world.rank() == 0) shown.update(done, all);
    if (dist::any(world, stop_signal() != 0) && end < left) {
      writer.finish();
      log::warn("stopped by a signal with {} rows left; run the same command again to go on", all - done);
      return exit_requeue;
    }
  }
  writer.finish();
  log::info("{}: niche_image features are complete: width {}, {}", path, want.width, o.half ? "float16" : "float32");
  return exit_ok;
}

}  // namespace spn::cli
