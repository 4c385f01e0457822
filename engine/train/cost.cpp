#include "engine/train/cost.h"

#include <algorithm>

#include "engine/dist/comm.h"
#include "engine/models/st_align.h"
#include "engine/train/losses.h"
#include "kernels/table.h"

namespace spn::train {
namespace {

using kernels::meta_table;
using models::Embedding;

constexpr Device kMeta{DeviceType::meta, 0};

double in_use() { return static_cast<double>(meta_table().memory().in_use); }

// [32,3,64,64] as [B,3,64,64].
std::string per_pair(const Shape& s) {
  std::string text = "[B";
  for (int d = 1; d < s.ndim(); ++d) text += "," + std::to_string(s[d]);
  return text + "]";
}

// Parameters below a prefix, and those of them that want gradients.
void count_parameters(const nn::Registry& registry, const std::string& prefix, PartCost& part) {
  for (const auto& e : registry.entries())
    if (e.parameter && e.name.rfind(prefix, 0) == 0) {
      part.parameters += e.parameter.value().numel();
      if (e.parameter.requires_grad()) part.trained += e.parameter.value().numel();
    }
}

class Counter {
 public:
  Counter(const models::Config& config, const CostOptions& o)
      : config_(config),
        batch_(static_cast<double>(o.batch)),
        ranks_(o.ranks > 1),
        ema_(o.ema),
        model_(config, std::nullopt, kMeta) {
    context_.training = true;
    context_.checkpoint_blocks = o.activation_checkpointing;
    context_.compute = o.compute;
    const auto image = [&](std::int64_t px) {
      return Tensor::empty_channels_last({o.batch, 3, px, px}, DType::f32, kMeta);
    };
    inputs_.spot_image = image(config.spot_image_px);
    if (o.features)
      inputs_.niche_feature = Tensor::empty({o.batch, config.vit_width}, DType::f32, kMeta);
    else
      inputs_.niche_image = image(config.niche_image_px);
    inputs_.spot_gene = Tensor::empty({o.batch, config.spot_gene_width}, DType::f32, kMeta);
    inputs_.niche_gene = Tensor::empty({o.batch, config.genes}, DType::f32, kMeta);
    const NoGrad no_grad;
    model_.embed(inputs_, context_);  // weights that are kept rounded are, from here on
  }

  StepCost run() {
    StepCost cost;
    using namespace models;
    cost.parts.push_back(encoder(spot_image, inputs_.spot_image.shape()));
    cost.parts.push_back(encoder(spot_gene, inputs_.spot_gene.shape()));
    cost.parts.push_back(encoder(niche_image, niche_input().shape()));
    cost.parts.push_back(encoder(niche_gene, inputs_.niche_gene.shape()));
    for (const Embedding e : {spot, niche}) cost.parts.push_back(fusion(e));
    cost.parts.push_back(heads());
    cost.parts.push_back(losses());
    cost.total.name = "total";
    for (const PartCost& p : cost.parts) {
      cost.total.parameters += p.parameters;
      cost.total.trained += p.trained;
      cost.total.forward_flops += p.forward_flops;
      cost.total.backward_flops += p.backward_flops;
      cost.total.activation_bytes += p.activation_bytes;
    }
    whole_step(cost);
    return cost;
  }

 private:
  const Tensor& niche_input() const { return inputs_.niche_feature ? inputs_.niche_feature : inputs_.niche_image; }

  // Forward and backward of one part on its own; `forward` builds it from fresh leaves.
  template <class Forward>
  PartCost part(const std::string& name, const std::string& prefix, const std::string& from, Forward forward) {
    PartCost p;
    p.name = name;
    count_parameters(model_.registry(), prefix, p);
    const double before = in_use();
    kernels::meta_reset_work();
    std::vector<Var> out = forward();
    p.forward_flops = kernels::meta_work().flops / batch_;
    p.shapes = from + " -> " + per_pair(out[0].shape());
    p.activation_bytes = (in_use() - before) / batch_;
    kernels::meta_reset_work();
    std::vector<Tensor> seeds;
    for (const Var& v : out) seeds.push_back(Tensor::empty(v.shape(), v.dtype(), kMeta));
    backward(out, seeds);
    p.backward_flops = kernels::meta_work().flops / batch_;
    for (const Var& v : model_.registry().trainable()) v.clear_grad();
    return p;
  }

  PartCost encoder(Embedding e, const Shape& input) {
    const std::string name = models::kEmbeddingNames[e];
    return part(name, name + ".", per_pair(input),
                [&] { return std::vector<Var>{model_.encode(e, inputs_, context_)}; });
  }
  // Tokens as they arrive in a step: wanting a gradient, already counted with the encoder that made them.
  Var tokens() const {
    const std::int64_t b = inputs_.spot_gene.dim(0);
    return Var(Tensor::empty({b, config_.tokens, config_.token_width}, context_.compute, kMeta), true);
  }
  PartCost fusion(Embedding e) {
    const std::string name = std::string(models::kEmbeddingNames[e]) + "_fusion";
    const Var image = tokens(), gene = tokens();
    return part(name, name + ".", "2 x " + per_pair(image.shape()),
                [&] { return std::vector<Var>{model_.fuse(e, image, gene, context_)}; });
  }
  PartCost heads() {
    std::vector<Var> in(models::kEmbeddings);
    for (Var& v : in) v = tokens();
    return part("heads", "heads.", "6 x " + per_pair(in[0].shape()), [&] {
      std::vector<Var> out;
      for (int e = 0; e < models::kEmbeddings; ++e)
        out.push_back(model_.head(static_cast<Embedding>(e), in[static_cast<std::size_t>(e)]));
      return out;
    });
  }
  PartCost losses() {
    const std::int64_t b = inputs_.spot_gene.dim(0);
    std::vector<Var> in(models::kEmbeddings);
    for (Var& v : in) v = Var(Tensor::empty({b, config_.joint_width}, DType::f32, kMeta), true);
    PartCost p = part("losses", "logit_scale.", "6 x " + per_pair(in[0].shape()),
                      [&] { return std::vector<Var>{contrastive_losses(model_, in, {}, {}, *comm_, 1).total}; });
    p.shapes = "6 x " + per_pair(in[0].shape()) + " -> 3";
    return p;
  }

  void whole_step(StepCost& cost) {
    for (const auto& e : model_.registry().entries()) cost.weight_bytes += static_cast<double>(e.value().bytes());
    cost.weight_bytes += static_cast<double>(model_.registry().rounded_bytes());
    for (const Var& v : model_.registry().trainable()) cost.gradient_bytes += static_cast<double>(v.value().bytes());
    cost.optimizer_bytes = 2 * cost.gradient_bytes;
    for (const auto& e : model_.registry().entries())  // as optim::Ema keeps them
      if (ema_ && (!e.parameter || e.parameter.requires_grad()))
        cost.ema_bytes += static_cast<double>(e.value().bytes());
    for (const Tensor& t : {inputs_.spot_image, niche_input(), inputs_.spot_gene, inputs_.niche_gene})
      cost.input_bytes += static_cast<double>(t.bytes());
    meta_table().reset_peak();
    const double before = in_use();
    // as GradSync does: a gradient goes into its bucket, which is there all the time, as soon as it is complete; those
    // that are made there are counted once more while they are, a little too much
    const auto trained = model_.registry().trainable();
    if (ranks_)
      for (const Var& v : trained) v.on_grad_ready([&v] { v.clear_grad(); });
    {
      const auto z = model_.embed(inputs_, context_);
      const Losses l = contrastive_losses(model_, {z.begin(), z.end()}, {}, {}, *comm_, 1);
      cost.activation_bytes = in_use() - before;
      backward(l.total);
    }
    const double held = cost.weight_bytes + cost.optimizer_bytes + cost.input_bytes + cost.ema_bytes;
    cost.peak_bytes =
        static_cast<double>(meta_table().memory().peak) - before + held + (ranks_ ? cost.gradient_bytes : 0);
    cost.floor_bytes = held + cost.gradient_bytes + cost.activation_bytes;
  }

  models::Config config_;
  double batch_;
  bool ranks_, ema_;
  models::StAlign model_;
  models::Inputs inputs_;
  nn::Context context_;
  std::unique_ptr<dist::Comm> comm_ = dist::make_self();
};

}  // namespace

StepCost step_cost(const models::Config& config, const CostOptions& options) {
  check(options.batch >= 2, "cost", "expected a batch of at least 2, got {}", options.batch);
  return Counter(config, options).run();
}

}  // namespace spn::train
