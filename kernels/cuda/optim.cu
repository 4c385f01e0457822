// Optimiser updates over many tensors.
#include <algorithm>
#include <utility>

#include "kernels/checks/optim.h"
#include "kernels/cuda/device/optim.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

// Collects tensors and launches a table of them whenever it is full, and at the end: go(table, its grid, chunks
// before).
template <int pointers, class Go>
class Tables {
 public:
  explicit Tables(Go go) : go_(std::move(go)) {}
  void add(const std::array<const View*, pointers>& views, double scale0 = 1, double scale1 = 1) {
    if (views[0]->numel() == 0) return;
    const auto i = table_.count;
    table_.packs[i] = true;
    for (int k = 0; k < pointers; ++k) {
      void* p = views[static_cast<std::size_t>(k)]->data;
      table_.p[i][k] = p;
      table_.packs[i] = table_.packs[i] && reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
    }
    table_.size[i] = views[0]->numel();
    table_.scale[i][0] = scale0;
    table_.scale[i][1] = scale1;
    table_.first[i] = chunks_;
    chunks_ += (table_.size[i] + kTensorChunk - 1) / kTensorChunk;
    table_.first[++table_.count] = chunks_;
    if (table_.count == table_.kMost) finish();
  }
  void finish() {
    if (table_.count == 0) return;
    go_(table_, grid_for(chunks_, 1, 32), before_);
    before_ += chunks_;
    chunks_ = 0;
    table_.count = 0;
  }

 private:
  Go go_;
  TensorTable<pointers> table_ = {};
  std::int64_t chunks_ = 0, before_ = 0;
};

// f32 and f64 tensors go by themselves: add(tables, item) for each of a dtype.
template <template <class> class Update, class Items, class Dtype, class Make, class Add>
void update(const Items& items, const UpdateScalars* scalars, Dtype dtype_of_item, Make make, Add add,
            const double* squares = nullptr) {
  const auto of = [&]<class T>(T) {
    const Update<T> u = make(Update<T>{});
    const auto go = [&](const auto& table, dim3 grid, std::int64_t) {
      launch(update_tensors<T, Update<T>>, grid, dim3(kBlock), 0, stream(), table, u, scalars, squares);
    };
    Tables<Update<T>::kPointers, decltype(go)> tables(go);
    for (const auto& item : items)
      if (dtype_of_item(item) == dtype_of<T>) add(tables, item);
    tables.finish();
  };
  of(float{});
  of(double{});
}

const UpdateScalars* scalars_of(const UpdateRates& u, double beta1, double beta2) {
  UpdateScalars* s = scratch_of<UpdateScalars>(Scratch::kernel, 1);
  launch(read_rates, dim3(1), dim3(1), 0, stream(), u.rates.ptr<double>(), u.updates.ptr<double>(),
         u.squares.ptr<double>(), u.max_norm, beta1, beta2, s);
  return s;
}

}  // namespace

void adamw(const AdamW& a) {
  check_update(a);
  update<AdamWUpdate>(
      a.params, scalars_of(a.update, a.beta1, a.beta2), [](const AdamWParam& p) { return p.w.dtype; },
      [&](auto u) {
        u.beta1 = a.beta1;
        u.beta2 = a.beta2;
        u.eps = a.eps;
        return u;
      },
      [](auto& tables, const AdamWParam& p) {
        tables.add({&p.w, &p.m, &p.v, &p.grad, &p.copy}, p.decay_scale, p.lr_scale);
      });
}

void sgd(const Sgd& a) {
  check_update(a);
  update<SgdUpdate>(
      a.params, scalars_of(a.update, 0, 0), [](const SgdParam& p) { return p.w.dtype; },
      [&](auto u) {
        u.momentum = a.momentum;
        return u;
      },
      [](auto& tables, const SgdParam& p) {
        tables.add({&p.w, &p.momentum, &p.grad}, p.decay_scale, p.lr_scale);
      });
}

void lerp(const Lerp& a) {
  check_update(a);
  update<LerpUpdate>(
      a.pairs, nullptr, [](const LerpPair& p) { return p.y.dtype; },
      [&](auto u) {
        u.weight = a.weight;
        return u;
      },
      [](auto& tables, const LerpPair& p) {
        tables.add({&p.y, &p.x});
      },
      a.squares ? a.squares.ptr<double>() : nullptr);
}

void sum_of_squares(const SumOfSquares& a) {
  check_squares(a);
  std::int64_t chunks = 0;
  for (const View& x : a.x) chunks += (x.numel() + kTensorChunk - 1) / kTensorChunk;
  double* partial = scratch_of<double>(Scratch::kernel, static_cast<std::size_t>(std::max<std::int64_t>(chunks, 1)));
  const auto go = [&](const TensorTable<1>& table, dim3 grid, std::int64_t before) {
    launch(squares_of_tensors, grid, dim3(kBlock), 0, stream(), table, partial + before);
  };
  Tables<1, decltype(go)> tables(go);
  for (const View& x : a.x) tables.add({&x}, static_cast<double>(x.dtype));
  tables.finish();
  launch(join_squares, dim3(1), dim3(1024), 0, stream(), partial, chunks, a.out.ptr<double>());
}

}  // namespace spn::kernels::cuda
