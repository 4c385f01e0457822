#include "launch/cli/resident.h"

#include <fstream>
#include <sstream>

#include "engine/core/log.h"
#include "engine/core/stopwatch.h"
#include "engine/dist/together.h"
#include "kernels/devices.h"
#include "kernels/table.h"
#include "launch/cli/batches.h"

namespace spn::cli {
namespace {

constexpr Tensor train::Batch::*kTensors[] = {
    &train::Batch::spot_image, &train::Batch::niche_image, &train::Batch::niche_feature, &train::Batch::spot_gene,
    &train::Batch::niche_gene, &train::Batch::slide,       &train::Batch::cluster,       &train::Batch::xy_um};
constexpr std::int64_t kReadAtOnce = 256;                     // rows
constexpr std::int64_t kIndexAtOnce = std::int64_t{1} << 20;  // rows of many steps: 8 MiB

std::int64_t available_host_bytes() {
  std::ifstream in("/proc/meminfo");
  std::string name;
  std::int64_t kib = 0;
  for (std::string line; std::getline(in, line);)
    if (std::istringstream words(line); words >> name >> kib && name == "MemAvailable:") return kib * 1024;
  return 0;
}

std::int64_t row_bytes(const train::Batch& one) {
  std::int64_t bytes = 0;
  for (const auto t : kTensors) bytes += static_cast<std::int64_t>((one.*t).bytes());
  return bytes;
}

train::Batch read_rows(const data::PackSet& packs, const std::vector<std::int64_t>& rows) {
  data::HostBatch host;
  packs.read(rows, host);
  return to_batch(host, packs.header());
}

double gib(std::int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }

}  // namespace

ResidentSource::ResidentSource(const data::PackSet& packs, const data::Sampler& sampler, std::int64_t first_step,
                               std::int64_t end_step, dist::Comm& ranks, Device where, std::int64_t limit_bytes)
    : sampler_(sampler), ranks_(ranks), where_(where), step_(first_step), end_step_(end_step), rows_(packs.rows()) {
  const bool host = where.type == DeviceType::cpu;
  const std::int64_t one = row_bytes(read_rows(packs, {0})), all = one * rows_,
                     share = (rows_ + ranks.size() - 1) / ranks.size();
  std::int64_t limit = limit_bytes;
  if (limit == 0) {
    // ranks of one host share its memory: each asks for its part of what all of them see
    const std::int64_t free = host ? available_host_bytes() / ranks.size() : kernels::cuda_free_bytes();
    limit = host ? free / 5 * 4 : free / 2;  // a GPU's step has taken nothing of its own yet
  }
  // the same answer everywhere
  ranks.all_reduce(host_view(&limit, {1}), dist::ReduceOp::min);
  sharded_ = all > limit && ranks.size() > 1;
  const std::int64_t held = sharded_ ? share + 1 : rows_;
  bytes_ = held * one;
  if (bytes_ > limit)
    fail_usage("residency", "the packs take {:.2f} GiB a rank in {} memory and {:.2f} GiB may be used; {}", gib(bytes_),
               host ? "host" : "GPU", gib(limit),
               host ? "use more ranks, or --residency disk" : "use more GPUs, or --residency host");
  const Stopwatch watch;
  dist::together(ranks, "residency", [&] { read(packs); });
  log::info("residency: {} of {} rows, {:.2f} GiB a rank in {} memory{}; read in {:.1f} s", held - (sharded_ ? 1 : 0),
            rows_, gib(bytes_), host ? "host" : "GPU", sharded_ ? ", shared out over ranks" : "", watch.seconds());
}

void ResidentSource::read(const data::PackSet& packs) {
  std::vector<std::int64_t> mine;
  for (std::int64_t r = sharded_ ? ranks_.rank() : 0; r < rows_; r += sharded_ ? ranks_.size() : 1) mine.push_back(r);
  const std::int64_t held = sharded_ ? (rows_ + ranks_.size() - 1) / ranks_.size() + 1 : rows_;
  for (std::size_t at = 0; at < mine.size(); at += kReadAtOnce) {
    const std::size_t end = std::min(mine.size(), at + kReadAtOnce);
    const train::Batch part = read_rows(
        packs, {mine.begin() + static_cast<std::ptrdiff_t>(at), mine.begin() + static_cast<std::ptrdiff_t>(end)});
    for (const auto t : kTensors) {
      const Tensor& from = part.*t;
      if (!from) continue;
      Tensor& to = table_.*t;
      if (!to) {
        Shape shape = from.shape();
        shape[0] = held;
        to = sharded_ ? Tensor::zeros(shape, from.dtype(), where_) : Tensor::empty(shape, from.dtype(), where_);
      }
      to.narrow(0, static_cast<std::int64_t>(at), from.dim(0)).copy_from(from);
    }
  }
}

Tensor ResidentSource::gather(const Tensor& table, const Tensor& index) const {
  Shape shape = table.shape();
  shape[0] = index.dim(0);
  Tensor rows = Tensor::empty(shape, table.dtype(), where_);
  kernels::run<&kernels::Table::gather_rows>({.x = table, .index = index, .y = rows});
  if (!sharded_) return rows;
  // each row is on one rank and zero on the others: the sum of all is the batch, and everyone wants a part of it
  shape[0] /= ranks_.size();
  Tensor mine = Tensor::empty(shape, table.dtype(), where_);
  ranks_.reduce_scatter(rows, mine);
  return mine;
}

// Of many steps at once: a copy to a GPU waits for what is queued there, and next() is called behind a step at work.
Tensor ResidentSource::rows_of_step(std::int64_t step) {
  if (!order_ || step >= order_from_ + order_steps_) {
    const int size = ranks_.size(), rank = ranks_.rank();
    const std::int64_t zeros = (rows_ + size - 1) / size;
    std::vector<std::int64_t> order;
    std::int64_t end = step;
    do {
      std::vector<std::int64_t> rows = sharded_ ? sampler_.global_rows(end) : sampler_.rank_rows(end, rank, size);
      if (sharded_)
        for (std::int64_t& r : rows) r = r % size == rank ? r / size : zeros;
      order.insert(order.end(), rows.begin(), rows.end());
    } while (++end < end_step_ && static_cast<std::int64_t>(order.size()) < kIndexAtOnce);
    order_ = Tensor::from(order, {static_cast<std::int64_t>(order.size())}, where_);
    order_from_ = step;
    order_steps_ = end - step;
  }
  const std::int64_t each = order_.dim(0) / order_steps_;
  return order_.narrow(0, (step - order_from_) * each, each);
}

train::Batch ResidentSource::next() {
  check(step_ < end_step_, "residency", "expected a step below {}, got a call for {}", end_step_, step_);
  const Tensor where = rows_of_step(step_);
  train::Batch b;
  b.step = step_;
  b.epoch = sampler_.epoch_of(step_);
  b.first_sample = ranks_.rank() * (where.dim(0) / (sharded_ ? ranks_.size() : 1));
  for (const auto t : kTensors)
    if (table_.*t) b.*t = gather(table_.*t, where);
  ++step_;
  return b;
}

}  // namespace spn::cli
