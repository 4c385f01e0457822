#include "engine/train/trainer.h"

#include <algorithm>

#include "engine/core/stopwatch.h"
#include "engine/ops/image.h"
#include "engine/train/micro_batch.h"

namespace spn::train {

Trainer::Trainer(models::StAlign& model, optim::Optimizer& optimizer, dist::Comm& world, const TrainerOptions& options,
                 std::int64_t rank_batch)
    : model_(model),
      optimizer_(optimizer),
      world_(world),
      options_(options),
      negatives_(make_negative_group(world, rank_batch, options.max_negatives)),
      sync_(model.registry().trainable(), world),
      staging_(options.device),
      graph_(model.registry(), options.device, options.graph, world.size() == 1),
      results_(Tensor::zeros({kResults}, DType::f64, options.device)) {
  const LossOptions& l = options.loss;
  if (!(l.alpha >= 0 && l.beta >= 0 && l.alpha + l.beta <= 1))
    fail_usage("pretrain", "expected alpha, beta >= 0 with alpha + beta <= 1, got {} and {}", l.alpha, l.beta);
  if (options_.compute == DType::bf16) options_.loss.products = DType::bf16;
  if (options_.micro_batch == 0) options_.micro_batch = rank_batch;
  if (options_.micro_batch < 0 || rank_batch % options_.micro_batch != 0)
    fail_usage("pretrain", "--micro-batch: expected a divisor of a rank's batch ({}), got {}", rank_batch,
               options_.micro_batch);
}

models::Inputs Trainer::inputs(std::int64_t first, std::int64_t rows) const {
  const Batch& batch = staging_.batch();
  kernels::ImageAugment augment;
  augment.dihedral = options_.augment_flips;
  augment.stain_jitter = options_.augment_stain;
  augment.seed = options_.seed;
  augment.step = batch.step;
  augment.first_sample = batch.first_sample + first;
  augment.clock = staging_.clock();
  const auto part = [&](const Tensor& t) { return t.narrow(0, first, rows); };
  models::Inputs in;
  in.spot_image = ops::image_embed(part(batch.spot_image), augment, options_.compute);
  if (batch.niche_feature)
    in.niche_feature = part(batch.niche_feature);
  else
    in.niche_image = ops::image_embed(part(batch.niche_image), augment, options_.compute);
  in.spot_gene = part(batch.spot_gene);
  in.niche_gene = part(batch.niche_gene);
  return in;
}

void Trainer::run(double clip_norm, StepReport& times) {
  const Batch& batch = staging_.batch();
  ops::PairFacts facts;
  facts.kind = options_.loss.negatives;
  facts.radius_um = options_.loss.exclude_radius_um;
  if (facts.kind != kernels::Negatives::all) {
    facts.slide = batch.slide;
    facts.xy = batch.xy_um;
    facts.cluster = batch.cluster;
    ops::gather_facts(facts, *negatives_.comm);
  }

  optimizer_.zero_grad();
  const std::int64_t rows = options_.micro_batch;
  Losses losses;
  const auto embed = [&](int part, bool update_running) {
    nn::Context c;
    c.training = true;
    c.batch_statistics = options_.batch_norm != BatchNormMode::frozen;
    c.comm = options_.batch_norm == BatchNormMode::sync && world_.size() > 1 ? &world_ : nullptr;
    c.seed = options_.seed;
    c.step = batch.step;
    c.first_sample = batch.first_sample + part * rows;
    c.clock = staging_.clock();
    c.update_running = update_running;
    c.compute = options_.compute;
    c.checkpoint_blocks = options_.activation_checkpointing;
    const auto z = model_.embed(inputs(part * rows, rows), c);
    return std::vector<Var>(z.begin(), z.end());
  };
  const auto loss = [&](const std::vector<Var>& embeddings) {
    losses = contrastive_losses(model_, embeddings, facts, options_.loss, *negatives_.comm, negatives_.groups);
    return losses.total;
  };
  const auto took =
      accumulate_gradients(static_cast<int>(batch.spot_image.dim(0) / rows), embed, loss, [&] { sync_.enable(true); });
  sync_.finish();
  const Stopwatch optimizer_time;
  optimizer_.update(clip_norm);
  model_.bound_temperature();
  times.forward_s = took.forward_s;
  times.backward_s = took.backward_s;
  times.optimizer_s = optimizer_time.seconds();

  const auto result = [&](std::size_t i) { return results_.select(0, static_cast<std::int64_t>(i)); };
  for (std::size_t t = 0; t < 3; ++t) {
    result(t).copy_from(losses.value[t].to(DType::f64));
    result(3 + t).copy_from(losses.accuracy[t].to(DType::f64));
  }
  result(6).copy_from(optimizer_.squares().reshape({}));
  if (negatives_.groups > 1) world_.all_reduce(results_.narrow(0, 0, 6));  // every rank holds its group's values
}

void Trainer::stage(const Batch& batch) { staging_.put(batch, options_.loss.negatives != kernels::Negatives::all); }

void Trainer::check_ranks() {
  world_.check_health();
  negatives_.comm->check_health();
}

void Trainer::begin(const optim::StepArgs& args) {
  Begun b;
  const auto blocked = [&] {
    return world_.blocked_seconds() + (negatives_.groups > 1 ? negatives_.comm->blocked_seconds() : 0);
  };
  const double blocked_before = blocked();
  staging_.take(std::array{args.lr, args.weight_decay}, optimizer_.rates());
  check_ranks();
  graph_.run([&] { run(args.clip_norm, b.report); });
  b.report.comm_s = blocked() - blocked_before;
  if (const auto download = kernels::table_for(options_.device).download; download != nullptr)
    b.download = download(results_.view().data, results_.bytes());
  else
    std::copy_n(results_.data<double>(), kResults, b.results.begin());
  begun_.push_back(b);
}

StepReport Trainer::finish() {
  check(!begun_.empty(), "trainer", "finish: no step was begun");
  Begun b = begun_.front();
  begun_.pop_front();
  if (b.download != nullptr) kernels::table_for(options_.device).collect(b.download, b.results.data());
  check_ranks();  // the sums of a step that lost a rank are no sums
  StepReport& report = b.report;
  std::array<double, kResults>& r = b.results;
  if (negatives_.groups > 1)
    for (std::size_t i = 0; i < 6; ++i) r[i] /= world_.size();
  const LossOptions& l = options_.loss;
  report.loss = l.alpha * r[0] + l.beta * r[1] + (1 - l.alpha - l.beta) * r[2];
  std::copy_n(r.begin(), 3, report.loss_of);
  std::copy_n(r.begin() + 3, 3, report.accuracy_of);
  const optim::StepResult update = optimizer_.finish(r[6]);
  report.grad_norm = update.grad_norm;
  report.skipped = update.skipped;
  return report;
}

Trainer::~Trainer() {
  for (const Begun& b : begun_) try {
      if (b.download != nullptr) kernels::table_for(options_.device).collect(b.download, nullptr);
    } catch (...) {  // the error that ends the run says more
    }
}

}  // namespace spn::train
