// Batch norm over channels-last rows, in the four passes of args/batch_norm.h.
#include <algorithm>

#include "kernels/cuda/device/batch_norm.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/launch.h"

namespace spn::kernels::cuda {
namespace {

using i64 = std::int64_t;

void check_layout(const View& x, const char* where) {
  check((x.ndim() == 2 && x.is_contiguous()) || x.is_channels_last(), where,
        "expected x channels-last [N,C,H,W] or contiguous [N,C], got shape {} with strides {}", x.shape.str(),
        x.strides.str());
}

void check_same_layout(const View& x, const View& other, const char* where) {
  if (!other) return;
  check(other.shape == x.shape && other.dtype == x.dtype &&
            (x.ndim() == 2 ? other.is_contiguous() : other.is_channels_last()),
        where, "expected all activations like x ({} {}), got {} {}", name_of(x.dtype), x.shape.str(),
        name_of(other.dtype), other.shape.str());
}

template <class T>
T* get(const View& v) {
  return v ? v.ptr<T>() : nullptr;
}

// Calls f with the number of channels a thread moves at once: 16 bytes of them, or 1 where rows do not allow it.
template <class T, class F>
void with_lanes(const View& x, std::initializer_list<const View*> others, F&& f) {
  bool packs = x.dim(1) % Pack<T>::n == 0 && reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
  for (const View* v : others) packs = packs && reinterpret_cast<std::uintptr_t>(v->data) % 16 == 0;
  if (packs)
    f(std::integral_constant<int, Pack<T>::n>{});
  else
    f(std::integral_constant<int, 1>{});
}

struct Walk {
  Columns columns;
  dim3 grid;
};

// At most `blocks` a multiprocessor, each thread with at least a few rows.
Walk walk(const View& x, int lanes, int blocks) {
  const i64 channels = x.dim(1), rows = channels == 0 ? 0 : x.numel() / channels, packs = channels / lanes;
  const int across = packs <= kMostAcross ? static_cast<int>(packs) : kWarp, down = kColumnThreads / across;
  const i64 wide = (packs + across - 1) / across, useful = rows / (down * kRowsAhead) + 1;
  const i64 most = std::max<i64>(1, static_cast<i64>(multiprocessors()) * blocks / wide);
  return {{rows, channels, across, down},
          dim3(static_cast<unsigned>(std::min(useful, most)), static_cast<unsigned>(wide))};
}

// Of packs of bf16 as many as their registers let run at once (ptxas: 80 to 128 a thread), so that none works out its
// channels' coefficients late; of all others `usual`.
template <class T, int V>
constexpr int blocks_of(int of_packs, int usual) {
  return std::is_same_v<T, bf16> && V > 1 ? of_packs : usual;
}

// Two sums a channel, by at most `blocks` a multiprocessor: sums_of(partial, walk) queues the kernel that makes the
// blocks' shares of them.
template <class T, class F>
void two_sums(const View& x, int lanes, int blocks, const View& sums, const BatchNormFold<compute_t<T>>& fold,
              F&& sums_of) {
  const Walk w = walk(x, lanes, blocks);
  auto* partial = scratch_of<double>(Scratch::kernel, static_cast<std::size_t>(2 * w.columns.channels) * w.grid.x);
  sums_of(partial, w);
  launch(batch_norm_fold<compute_t<T>>, dim3(static_cast<unsigned>((w.columns.channels + kWarp - 1) / kWarp)),
         dim3(kWarp * kWarp), 0, stream(), sums.ptr<double>(), partial, static_cast<int>(w.grid.x), w.columns.channels,
         fold);
}

}  // namespace

void batch_norm_stats(const BatchNormStats& o) {
  check_layout(o.x, "batch_norm_stats");
  if (o.x.dim(1) == 0) return;
  visit_float(o.x.dtype, "batch_norm_stats", [&](auto e) {
    using T = decltype(e);
    with_lanes<T>(o.x, {}, [&]<int V>(std::integral_constant<int, V>) {
      two_sums<T>(o.x, V, blocks_of<T, V>(3, 4), o.sums, {}, [&](double* partial, const Walk& w) {
        launch(batch_norm_sums<T, V>, w.grid, dim3(kColumnThreads), 0, stream(), partial, o.x.ptr<T>(), w.columns);
      });
    });
  });
}

void batch_norm_apply(const BatchNormApply& o) {
  check_layout(o.x, "batch_norm_apply");
  check_same_layout(o.x, o.y, "batch_norm_apply");
  check_same_layout(o.x, o.residual, "batch_norm_apply");
  if (o.x.dim(1) == 0) return;
  visit_float(o.x.dtype, "batch_norm_apply", [&](auto e) {
    using T = decltype(e);
    using A = compute_t<T>;
    const BatchNormVectors<A> vectors{get<double>(o.sums), get<A>(o.running_mean), get<A>(o.running_var), o.w.ptr<A>(),
                                      o.b.ptr<A>(),        o.mean.ptr<A>(),        o.rstd.ptr<A>()};
    const BatchNormNumbers numbers{o.count, o.eps, o.momentum, o.update_running, o.relu};
    with_lanes<T>(o.x, {&o.y, &o.residual}, [&]<int V>(std::integral_constant<int, V>) {
      const Walk w = walk(o.x, V, blocks_of<T, V>(2, 8));
      launch(batch_norm_map<T, V>, w.grid, dim3(kColumnThreads), 0, stream(), get<T>(o.y), get<T>(o.x),
             get<T>(o.residual), vectors, numbers, w.columns);
    });
  });
}

void batch_norm_bwd_stats(const BatchNormBwdStats& o) {
  check_layout(o.x, "batch_norm_bwd_stats");
  for (const View* v : {&o.y, &o.dy, &o.g}) check_same_layout(o.x, *v, "batch_norm_bwd_stats");
  if (o.x.dim(1) == 0) return;
  visit_float(o.x.dtype, "batch_norm_bwd_stats", [&](auto e) {
    using T = decltype(e);
    using A = compute_t<T>;
    const BatchNormSaved<A> saved{o.mean.ptr<A>(), o.rstd.ptr<A>(), get<A>(o.w), get<A>(o.b)};
    const BatchNormFold<A> fold{saved.mean, saved.rstd, get<A>(o.dw), get<A>(o.db)};
    with_lanes<T>(o.x, {&o.y, &o.dy, &o.g}, [&]<int V>(std::integral_constant<int, V>) {
      two_sums<T>(o.x, V, blocks_of<T, V>(2, 4), o.sums, fold, [&](double* partial, const Walk& w) {
        launch(batch_norm_bwd_sums<T, V>, w.grid, dim3(kColumnThreads), 0, stream(), partial, get<T>(o.g), get<T>(o.x),
               get<T>(o.y), get<T>(o.dy), saved, o.relu, w.columns);
      });
    });
  });
}

void batch_norm_bwd_apply(const BatchNormBwdApply& o) {
  check_layout(o.x, "batch_norm_bwd_apply");
  check_same_layout(o.x, o.g, "batch_norm_bwd_apply");
  check_same_layout(o.x, o.dx, "batch_norm_bwd_apply");
  if (o.x.dim(1) == 0) return;
  visit_float(o.x.dtype, "batch_norm_bwd_apply", [&](auto e) {
    using T = decltype(e);
    using A = compute_t<T>;
    const BatchNormSaved<A> saved{o.mean.ptr<A>(), o.rstd.ptr<A>(), o.w.ptr<A>(), o.b.ptr<A>()};
    const double* sums = o.fixed_statistics ? nullptr : o.sums.ptr<double>();
    with_lanes<T>(o.x, {&o.g, &o.dx}, [&]<int V>(std::integral_constant<int, V>) {
      const Walk w = walk(o.x, V, blocks_of<T, V>(2, 8));
      launch(batch_norm_bwd_map<T, V>, w.grid, dim3(kColumnThreads), 0, stream(), get<T>(o.dx), get<T>(o.x),
             get<T>(o.g), saved, sums, o.count, o.relu, w.columns);
    });
  });
}

}  // namespace spn::kernels::cuda
