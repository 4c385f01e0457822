// Var: a tensor on the tape. record() adds an op; backward() walks the tape once, newest first, without recursion, and
// frees what each record saved as soon as it has run.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"

namespace spn {

class Grads;
struct Node;
using BackwardFn = std::function<void(const Tensor& dy, Grads& g)>;

class Var {
 public:
  Var() = default;  // absent (an optional bias)
  // A constant, or with requires_grad a leaf that gathers its gradient.
  explicit Var(Tensor value, bool requires_grad = false, std::string name = "");

  explicit operator bool() const { return node_ != nullptr; }
  const Tensor& value() const;
  operator const View&() const { return value().view(); }  // NOLINT: kernels take views
  const Shape& shape() const { return value().shape(); }
  std::int64_t dim(int d) const { return value().dim(d); }
  int ndim() const { return value().ndim(); }
  DType dtype() const { return value().dtype(); }
  bool requires_grad() const;
  const std::string& name() const;

  // Leaves only. Absent until backward() reached it; summed over backward() calls until cleared.
  const Tensor& grad() const;
  void set_grad(Tensor g) const;
  void clear_grad() const;
  // Replaces the value of a leaf (loading weights); shape and dtype must agree.
  void set_value(const Tensor& v) const;
  // The value in dtype. An f32 leaf that keeps it (a model's parameter) has its bf16 form made once, at the first use:
  // the tensor is shared, and stays where it is.
  Tensor value_as(DType dtype) const;
  void keep_rounded(bool on) const;
  // What it keeps; absent before the first use. Whoever writes the value otherwise than by set_value writes this too
  // (AdamW in the same pass), or calls renew_rounded.
  const Tensor& rounded() const;
  void renew_rounded() const;
  // Leaves only: freezes or thaws a parameter.
  void set_requires_grad(bool wanted) const;
  // Leaves only: memory of the value's shape, dtype and order (no gaps) in which a gradient is made at once, instead of
  // in memory of its own, where it is the first and only one of a backward() and comes from a kernel. grad() is then
  // this tensor, and what was taken from an earlier grad() is overwritten: the one exception to what set() promises. An
  // absent one takes it back.
  void make_grad_in(Tensor memory) const;
  // Called once in each backward(), as soon as this leaf's gradient of that pass is complete. Leaves only.
  void on_grad_ready(std::function<void()> hook) const;

  const std::shared_ptr<Node>& node() const { return node_; }

 private:
  friend Var record(const char*, Tensor, std::initializer_list<Var>, BackwardFn);
  friend Var record(const char*, Tensor, const std::vector<Var>&, BackwardFn);
  std::shared_ptr<Node> node_;
};

// Where a backward function puts the gradients of its inputs, by position in record()'s list.
class Grads {
 public:
  virtual ~Grads() = default;
  // True when somebody wants the gradient of input i.
  virtual bool wants(std::size_t i) const = 0;
  // Uninitialised memory of input i's shape, layout and dtype for a kernel to overwrite; absent when not wanted.
  virtual View operator[](std::size_t i) = 0;
  // As operator[], contiguous whatever the input's strides.
  virtual View contiguous(std::size_t i) = 0;
  // Hands over a tensor instead (it may share storage with others: it is never written). Ignored when not wanted.
  virtual void set(std::size_t i, Tensor g) = 0;
  // What other records have given for input i so far, dense, for a kernel that adds to it in place instead of giving a
  // gradient of its own; absent where there is nothing yet, or where others see that memory.
  virtual View gathered(std::size_t i) = 0;
};

// The result of an op. Without a gradient to compute (no input requires one, or inside NoGrad) nothing is recorded and
// fn is dropped. Inputs may be absent.
Var record(const char* op, Tensor y, std::initializer_list<Var> inputs, BackwardFn fn);
Var record(const char* op, Tensor y, const std::vector<Var>& inputs, BackwardFn fn);

// Gradients of a scalar (seed 1) or of any var given its gradient; several roots in one pass.
void backward(const Var& root);
void backward(const std::vector<Var>& roots, const std::vector<Tensor>& seeds);

// Ops inside its scope record nothing.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};
// Ops inside its scope record again: a forward inside a backward.
class WithGrad {
 public:
  WithGrad();
  ~WithGrad();
  WithGrad(const WithGrad&) = delete;
  WithGrad& operator=(const WithGrad&) = delete;

 private:
  bool before_;
};
bool grad_enabled();

}  // namespace spn
