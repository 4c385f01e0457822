// The tape: nodes, records, and the walk backwards.
#include "engine/autograd/var.h"

#include <algorithm>
#include <unordered_map>

#include "kernels/table.h"

namespace spn {

struct Node {
  Tensor value, grad;
  Tensor grad_memory;  // see make_grad_in
  bool requires_grad = false;
  bool keeps_rounded = false;
  Tensor rounded;  // of the value, bf16
  std::string name;
  const char* op = nullptr;  // null: a leaf
  std::vector<std::shared_ptr<Node>> inputs;
  BackwardFn fn;
  std::uint64_t sequence = 0;  // of creation: an op's inputs are always older
  std::function<void()> hook;

  Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  // A long chain of nodes that only their successors hold would be destroyed recursively: unlink it by hand.
  ~Node() {
    std::vector<std::shared_ptr<Node>> pending = std::move(inputs);
    fn = nullptr;
    while (!pending.empty()) {
      const std::shared_ptr<Node> n = std::move(pending.back());
      pending.pop_back();
      if (n != nullptr && n.use_count() == 1) {
        n->fn = nullptr;
        for (auto& i : n->inputs) pending.push_back(std::move(i));
        n->inputs.clear();
      }
    }
  }
};

namespace {

thread_local bool g_grad_enabled = true;
thread_local std::uint64_t g_sequence = 0;

void add_into(const Tensor& y, const Tensor& x) {
  kernels::run<&kernels::Table::binary>({.op = kernels::BinaryOp::add, .a = y, .b = x, .y = y});
}

// Nobody else sees it, and each element has a place of its own (an expanded gradient has not).
bool may_be_written(const Tensor& t) { return t.use_count() == 1 && (t.is_contiguous() || t.is_channels_last()); }

// Sums contributions without ever writing to a tensor that somebody else can see.
void accumulate(Tensor& sum, Tensor g) {
  if (!sum) {
    sum = std::move(g);
  } else if (may_be_written(sum)) {
    add_into(sum, g);
  } else {
    Tensor fresh = Tensor::empty_like(sum);
    kernels::run<&kernels::Table::binary>({.op = kernels::BinaryOp::add, .a = sum, .b = g, .y = fresh});
    sum = std::move(fresh);
  }
}

class GradsOf final : public Grads {
 public:
  // uses: how many inputs of records, this one's included, will still contribute to each node.
  GradsOf(const Node& node, std::unordered_map<Node*, Tensor>& sums, const std::unordered_map<Node*, int>& uses)
      : node_(node), sums_(sums), uses_(uses), given_(node.inputs.size()) {}
  bool wants(std::size_t i) const override {
    check(i < node_.inputs.size(), node_.op, "backward asks for input {} of {}", i, node_.inputs.size());
    return node_.inputs[i] != nullptr && node_.inputs[i]->requires_grad;
  }
  View operator[](std::size_t i) override { return make(i, false); }
  View contiguous(std::size_t i) override { return make(i, true); }
  void set(std::size_t i, Tensor g) override {
    if (!wants(i)) return;
    const Tensor& v = node_.inputs[i]->value;
    check(g.shape() == v.shape() && g.dtype() == v.dtype(), node_.op, "gradient of input {}: expected {} {}, got {} {}",
          i, name_of(v.dtype()), v.shape().str(), name_of(g.dtype()), g.shape().str());
    given_[i] = std::move(g);
  }
  View gathered(std::size_t i) override {
    if (!wants(i)) return {};
    const auto it = sums_.find(node_.inputs[i].get());
    return it != sums_.end() && it->second && may_be_written(it->second) ? it->second.view() : View{};
  }
  std::vector<Tensor>& given() { return given_; }

 private:
  View make(std::size_t i, bool contiguous) {
    if (!wants(i)) return {};
    if (!given_[i] && alone(*node_.inputs[i])) {
      const Tensor& memory = node_.inputs[i]->grad_memory;
      if (!contiguous || memory.is_contiguous()) given_[i] = memory;
    }
    if (!given_[i]) {
      const Tensor& v = node_.inputs[i]->value;
      given_[i] = contiguous ? Tensor::empty(v.shape(), v.dtype(), v.device()) : Tensor::empty_like(v);
    }
    return given_[i].view();
  }
  // Nobody gave `in` a gradient before, nobody will, and there is memory for it.
  bool alone(Node& in) const {
    return in.grad_memory && !in.grad && uses_.at(&in) == 1 && sums_.find(&in) == sums_.end();
  }
  const Node& node_;
  std::unordered_map<Node*, Tensor>& sums_;
  const std::unordered_map<Node*, int>& uses_;
  std::vector<Tensor> given_;
};

const Tensor kAbsent;

template <class Inputs>
std::shared_ptr<Node> make_record(const char* op, Tensor y, const Inputs& inputs, BackwardFn fn) {
  auto node = std::make_shared<Node>();
  node->value = std::move(y);
  node->sequence = ++g_sequence;
  const bool wanted =
      g_grad_enabled && std::any_of(inputs.begin(), inputs.end(), [](const Var& v) { return v && v.requires_grad(); });
  if (wanted) {
    node->op = op;
    node->requires_grad = true;
    node->fn = std::move(fn);
    for (const Var& v : inputs) node->inputs.push_back(v.node());
  }
  return node;
}

}  // namespace

Var::Var(Tensor value, bool requires_grad, std::string name) : node_(std::make_shared<Node>()) {
  check(!requires_grad || is_floating(value.dtype()), "var", "only floating tensors have gradients, got {}",
        name_of(value.dtype()));
  node_->value = std::move(value);
  node_->requires_grad = requires_grad;
  node_->name = std::move(name);
  node_->sequence = ++g_sequence;
}

const Tensor& Var::value() const { return node_ ? node_->value : kAbsent; }
bool Var::requires_grad() const { return node_ && node_->requires_grad; }
const std::string& Var::name() const {
  static const std::string none;
  return node_ ? node_->name : none;
}
const Tensor& Var::grad() const { return node_ ? node_->grad : kAbsent; }
void Var::set_grad(Tensor g) const { node_->grad = std::move(g); }
void Var::clear_grad() const { node_->grad = Tensor(); }
void Var::set_value(const Tensor& v) const {
  check(node_ && node_->op == nullptr, "set_value", "only leaves can be replaced");
  node_->value.copy_from(v);
  renew_rounded();
}
Tensor Var::value_as(DType dtype) const {
  if (!node_->keeps_rounded || dtype != DType::bf16 || node_->value.dtype() != DType::f32)
    return node_->value.to(dtype);
  if (!node_->rounded) node_->rounded = node_->value.to(dtype);
  return node_->rounded;
}
void Var::keep_rounded(bool on) const {
  check(node_ && node_->op == nullptr, "keep_rounded", "only leaves keep a rounded form");
  node_->keeps_rounded = on;
  node_->rounded = Tensor();
}
const Tensor& Var::rounded() const { return node_ ? node_->rounded : kAbsent; }
void Var::renew_rounded() const {
  if (rounded()) node_->rounded.copy_from(node_->value);
}
void Var::set_requires_grad(bool wanted) const {
  check(node_ && node_->op == nullptr, "set_requires_grad", "only leaves can be frozen");
  node_->requires_grad = wanted;
}
void Var::make_grad_in(Tensor memory) const {
  check(node_ && node_->op == nullptr, "make_grad_in", "only leaves have memory for gradients");
  const Tensor& v = node_->value;
  check(!memory ||
            (memory.shape() == v.shape() && memory.dtype() == v.dtype() && memory.device() == v.device() &&
             ((v.is_contiguous() && memory.is_contiguous()) || (v.is_channels_last() && memory.is_channels_last()))),
        "make_grad_in", "expected memory like the value's without gaps, {} {} by {}, got {} {} by {}",
        name_of(v.dtype()), v.shape().str(), v.strides().str(), name_of(memory.dtype()), memory.shape().str(),
        memory.strides().str());
  node_->grad_memory = std::move(memory);
}
void Var::on_grad_ready(std::function<void()> hook) const {
  check(node_ && node_->op == nullptr, "on_grad_ready", "only leaves have hooks");
  node_->hook = std::move(hook);
}

Var record(const char* op, Tensor y, std::initializer_list<Var> inputs, BackwardFn fn) {
  Var v;
  v.node_ = make_record(op, std::move(y), inputs, std::move(fn));
  return v;
}

Var record(const char* op, Tensor y, const std::vector<Var>& inputs, BackwardFn fn) {
  Var v;
  v.node_ = make_record(op, std::move(y), inputs, std::move(fn));
  return v;
}

void backward(const Var& root) {
  check(root && root.value().numel() == 1, "backward", "expected a scalar, got shape {}; give its gradient otherwise",
        root.shape().str());
  backward({root}, {Tensor::full(root.shape(), 1, root.dtype(), root.value().device())});
}

void backward(const std::vector<Var>& roots, const std::vector<Tensor>& seeds) {
  check(roots.size() == seeds.size(), "backward", "expected {} gradients, got {}", roots.size(), seeds.size());
  // Everything reachable that wants a gradient, with how many records will still contribute to it.
  std::vector<std::shared_ptr<Node>> order, stack;
  std::unordered_map<Node*, int> uses;
  std::unordered_map<Node*, Tensor> sums;
  for (std::size_t i = 0; i < roots.size(); ++i) {
    const auto& n = roots[i].node();
    if (n == nullptr || !n->requires_grad) continue;
    check(seeds[i].shape() == n->value.shape(), "backward", "gradient {}: expected shape {}, got {}", i,
          n->value.shape().str(), seeds[i].shape().str());
    if (uses.emplace(n.get(), 0).second) stack.push_back(n);
    accumulate(sums[n.get()], seeds[i]);
  }
  while (!stack.empty()) {
    auto n = std::move(stack.back());
    stack.pop_back();
    for (const auto& in : n->inputs) {
      if (in == nullptr || !in->requires_grad) continue;
      if (uses.emplace(in.get(), 0).second) stack.push_back(in);
      ++uses[in.get()];
    }
    order.push_back(std::move(n));
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a->sequence > b->sequence; });

  const NoGrad no_grad;
  const auto finish_leaf = [&](Node& n) {
    if (auto it = sums.find(&n); it != sums.end()) {
      accumulate(n.grad, std::move(it->second));
      sums.erase(it);
    }
    uses[&n] = -1;  // done: the walk meets this leaf once more
    if (n.hook) n.hook();
  };
  for (auto& n : order) {
    if (n->op == nullptr) {
      if (uses[n.get()] == 0) finish_leaf(*n);  // a root that is a leaf
      continue;
    }
    const auto it = sums.find(n.get());
    Tensor dy = it != sums.end() ? std::move(it->second) : Tensor();
    if (it != sums.end()) sums.erase(it);
    std::vector<Tensor> given;
    if (dy) {
      check(n->fn != nullptr, n->op, "backward ran twice over one tape; run the forward again");
      GradsOf grads(*n, sums, uses);
      n->fn(dy, grads);
      given = std::move(grads.given());
      dy = Tensor();
    }
    n->fn = nullptr;
    for (std::size_t i = 0; i < n->inputs.size(); ++i) {
      Node* in = n->inputs[i].get();
      if (in == nullptr || !in->requires_grad) continue;
      if (!given.empty() && given[i]) accumulate(sums[in], std::move(given[i]));
      if (--uses[in] == 0 && in->op == nullptr) finish_leaf(*in);
    }
    n->inputs.clear();
    n.reset();
  }
}

NoGrad::NoGrad() : before_(g_grad_enabled) { g_grad_enabled = false; }
NoGrad::~NoGrad() { g_grad_enabled = before_; }
WithGrad::WithGrad() : before_(g_grad_enabled) { g_grad_enabled = true; }
WithGrad::~WithGrad() { g_grad_enabled = before_; }
bool grad_enabled() { return g_grad_enabled; }

}  // namespace spn
