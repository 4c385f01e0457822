#include "engine/train/trainer.h"

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
      graph_(model.registry(), options.device, options.graph),
      values_(Tensor::zeros({6}, DType::f64, options.device)) {
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
  times.forward_s = took.forward_s;
  times.backward_s = took.backward_s;
  times.optimizer_s = optimizer_time.seconds();

  for (std::size_t t = 0; t < 3; ++t) {
    values_.select(0, static_cast<std::int64_t>(t)).copy_from(losses.value[t].to(DType::f64));
    values_.select(0, static_cast<std::int64_t>(3 + t)).copy_from(losses.accuracy[t].to(DType::f64));
  }
  if (negatives_.groups > 1) world_.all_reduce(values_);  // every rank holds its group's values
}

void Trainer::stage(const Batch& batch) { staging_.put(batch, options_.loss.negatives != kernels::Negatives::all); }

StepReport Trainer::step(const optim::StepArgs& args, const std::function<void()>& meanwhile) {
  StepReport report;
  const double blocked_before = world_.blocked_seconds() + negatives_.comm->blocked_seconds();
  staging_.take();
  optimizer_.set_rates(args);
  const auto check_ranks = [&] {
    world_.check_health();
    negatives_.comm->check_health();
  };
  check_ranks();
  graph_.run([&] { run(args.clip_norm, report); });
  if (meanwhile) meanwhile();
  kernels::table_for(options_.device).sync();
  check_ranks();  // the sums of a step that lost a rank are no sums
  const optim::StepResult update = optimizer_.finish();

  std::vector<double> values = values_.to_vector<double>();
  if (negatives_.groups > 1)
    for (double& v : values) v /= world_.size();
  const LossOptions& l = options_.loss;
  report.loss = l.alpha * values[0] + l.beta * values[1] + (1 - l.alpha - l.beta) * values[2];
  for (std::size_t t = 0; t < 3; ++t) {
    report.loss_of[t] = values[t];
    report.accuracy_of[t] = values[3 + t];
  }
  report.grad_norm = update.grad_norm;
  report.skipped = update.skipped;
  report.comm_s = world_.blocked_seconds() + negatives_.comm->blocked_seconds() - blocked_before;
  return report;
}

}  // namespace spn::train
