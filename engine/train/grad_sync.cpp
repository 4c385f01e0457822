// Parameters' hooks, their slots in the buckets, and the way back.
#include "engine/train/grad_sync.h"

#include "engine/dist/buckets.h"

namespace spn::train {
namespace {

// The slot as a tensor of the parameter's shape and memory order.
Tensor shaped_as(const Tensor& flat, std::int64_t offset, const Tensor& value) {
  const Tensor part = flat.narrow(0, offset, value.numel());
  if (!value.is_contiguous() && value.is_channels_last())
    return part.reshape({value.dim(0), value.dim(2), value.dim(3), value.dim(1)}).permute({0, 3, 1, 2});
  return part.reshape(value.shape());
}

}  // namespace

struct GradSync::Impl {
  Impl(std::vector<Var> p, dist::Comm& comm, std::size_t bytes) : parameters(std::move(p)) {
    std::vector<dist::BucketPiece> pieces;
    for (const Var& v : parameters) pieces.push_back({v.value().numel(), v.dtype()});
    layout = dist::lay_out_buckets(pieces, bytes);
    std::vector<View> views;
    for (const auto& b : layout.buckets) {
      flat.push_back(Tensor::zeros({b.numel}, b.dtype, parameters.front().value().device()));
      views.push_back(flat.back());
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto& slot = layout.slots[i];
      const auto bucket = static_cast<std::size_t>(slot.bucket);
      slots.push_back(shaped_as(flat[bucket], slot.offset, parameters[i].value()));
      flags.push_back(flat[bucket].narrow(0, layout.buckets[bucket].flags + slot.place, 1));
    }
    in_place.resize(parameters.size(), false);
    reducer = std::make_unique<dist::BucketReducer>(comm, layout, views);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      make_in_slot(i);
      parameters[i].on_grad_ready([this, i] {
        if (enabled) put(i);
      });
    }
  }
  ~Impl() {
    for (const Var& v : parameters) {
      v.make_grad_in({});
      v.on_grad_ready(nullptr);
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // A layer's kernel may write the gradient where the bucket wants it, but for parameters with gaps.
  void make_in_slot(std::size_t i) {
    const Tensor& value = parameters[i].value();
    if (value.is_contiguous() || value.is_channels_last()) parameters[i].make_grad_in(slots[i]);
  }

  void put(std::size_t i) {
    check(!in_place[i], "grad_sync",
          "parameter {} got a second gradient since enable(true); enable for the last backward() of a step only",
          parameters[i].name());
    const Tensor& grad = parameters[i].grad();
    if (!grad)
      slots[i].fill(0);
    else if (grad.view().data != slots[i].view().data)  // summed up, or handed over by an op
      slots[i].copy_from(grad);
    // on a device only the first step's are read, and a fill is a launch
    if (brought.empty() || flags[i].device().type == DeviceType::cpu) flags[i].fill(grad ? 1 : 0);
    parameters[i].clear_grad();      // the bucket has it: no second copy of all gradients at the end of backward
    parameters[i].make_grad_in({});  // and may be under way: nobody writes there until finish()
    in_place[i] = true;
    reducer->arrived(layout.slots[i].bucket);
  }

  // Which parameters have a gradient on any rank. On a device the first answer stands for all steps, which must not
  // wait for the host: a model's tape is the same every time.
  void read_flags() {
    const bool host = flags.front().device().type == DeviceType::cpu;
    if (!brought.empty() && !host) return;
    brought.assign(parameters.size(), false);
    for (std::size_t i = 0; i < parameters.size(); ++i) brought[i] = flags[i].item() > 0;
    if (host) return;
    // every step sums them again: they would grow without end
    for (std::size_t b = 0; b < flat.size(); ++b)
      flat[b].narrow(0, layout.buckets[b].flags, layout.buckets[b].pieces).fill(0);
  }

  std::vector<Var> parameters;
  dist::BucketLayout layout;
  std::vector<Tensor> flat, slots, flags;
  std::vector<bool> in_place, brought;
  bool enabled = false;
  std::unique_ptr<dist::BucketReducer> reducer;  // last: waits for what is in flight before the memory goes
};

GradSync::GradSync(std::vector<Var> parameters, dist::Comm& comm, std::size_t bucket_bytes) {
  if (comm.size() == 1) return;
  std::vector<Var> trained;
  for (Var& v : parameters)
    if (v.requires_grad()) trained.push_back(std::move(v));
  if (trained.empty()) return;
  const bool host = trained.front().value().device().type == DeviceType::cpu;
  if (bucket_bytes == 0) bucket_bytes = std::size_t{host ? 4U : 25U} << 20;
  impl_ = std::make_unique<Impl>(std::move(trained), comm, bucket_bytes);
}

GradSync::~GradSync() = default;

void GradSync::enable(bool on) {
  if (impl_) impl_->enabled = on;
}

void GradSync::finish() {
  if (!impl_) return;
  Impl& m = *impl_;
  m.enabled = false;
  // what no hook brought: unused parameters, and gradients of earlier backward() calls; in the buckets' order
  for (std::size_t i = m.parameters.size(); i-- > 0;)
    if (!m.in_place[i]) m.put(i);
  m.reducer->finish();
  m.read_flags();
  for (std::size_t i = 0; i < m.parameters.size(); ++i) {
    m.in_place[i] = false;
    m.make_in_slot(i);
    if (m.brought[i]) m.parameters[i].set_grad(m.slots[i]);
  }
}

int GradSync::buckets() const { return impl_ ? static_cast<int>(impl_->flat.size()) : 0; }

}  // namespace spn::train
