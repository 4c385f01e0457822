// Threads take steps in order, read them in parallel, and hand them over in order: the batches do not depend on how
// many threads there are. At most `depth` batches are held ahead of the consumer.
#include "data/pipe/loader.h"

#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "engine/core/check.h"

namespace spn::data {

struct Loader::Impl {
  const PackSet& packs;
  const Sampler sampler;  // a copy: its cache is guarded by `mutex`
  const std::int64_t end_step;
  const int rank, size, depth;

  std::mutex mutex;
  std::condition_variable changed;
  std::int64_t to_read, to_give;  // next step that a thread takes; next step that next() returns
  std::map<std::int64_t, HostBatch> ready;
  std::map<std::int64_t, std::exception_ptr> failed;
  std::vector<HostBatch> spare;
  bool stop = false;
  std::vector<std::thread> threads;

  Impl(const PackSet& p, const Sampler& s, std::int64_t first, std::int64_t end, int rank_, int size_, int depth_)
      : packs(p), sampler(s), end_step(end), rank(rank_), size(size_), depth(depth_), to_read(first), to_give(first) {}

  void work();
  void read(std::int64_t step, const std::vector<std::int64_t>& rows, HostBatch& b) const;
};

void Loader::Impl::read(std::int64_t step, const std::vector<std::int64_t>& rows, HostBatch& b) const {
  packs.read(rows, b);
  b.step = step;
  b.epoch = sampler.epoch_of(step);
  b.first_position = rank * static_cast<std::int64_t>(rows.size());
}

void Loader::Impl::work() {
  std::unique_lock held(mutex);
  for (;;) {
    changed.wait(held, [&] { return stop || to_read == end_step || to_read < to_give + depth; });
    if (stop || to_read == end_step) return;
    const std::int64_t step = to_read++;
    std::exception_ptr why;
    HostBatch batch;
    try {
      const auto rows = sampler.rank_rows(step, rank, size);
      if (!spare.empty()) {
        batch = std::move(spare.back());
        spare.pop_back();
      }
      held.unlock();
      read(step, rows, batch);
    } catch (...) {
      why = std::current_exception();
    }
    if (!held) held.lock();
    if (why)
      failed.emplace(step, why);
    else
      ready.emplace(step, std::move(batch));
    changed.notify_all();
  }
}

Loader::Loader(const PackSet& packs, const Sampler& sampler, std::int64_t first_step, std::int64_t end_step, int rank,
               int size, int depth, int threads)
    : impl_(new Impl(packs, sampler, first_step, end_step, rank, size, depth)) {
  check(first_step >= 0 && first_step <= end_step, "loader", "expected steps in order, got [{}, {})", first_step,
        end_step);
  check(depth > 0 && threads > 0, "loader", "expected at least one batch ahead and one thread, got {} and {}", depth,
        threads);
  try {
    for (int i = 0; i < threads; ++i) impl_->threads.emplace_back([this] { impl_->work(); });
  } catch (...) {
    shut();
    throw;
  }
}

Loader::~Loader() { shut(); }

void Loader::shut() noexcept {
  {
    const std::lock_guard held(impl_->mutex);
    impl_->stop = true;
  }
  impl_->changed.notify_all();
  for (std::thread& t : impl_->threads) t.join();
}

HostBatch Loader::next() {
  Impl& l = *impl_;
  std::unique_lock held(l.mutex);
  check(l.to_give < l.end_step, "loader", "expected a step below {}, got a call for {}", l.end_step, l.to_give);
  l.changed.wait(held, [&] { return l.ready.count(l.to_give) != 0 || l.failed.count(l.to_give) != 0; });
  // a failed step stays the next one: calling again throws again
  if (const auto bad = l.failed.find(l.to_give); bad != l.failed.end()) std::rethrow_exception(bad->second);
  HostBatch batch = std::move(l.ready.extract(l.to_give).mapped());
  ++l.to_give;
  l.changed.notify_all();
  return batch;
}

void Loader::recycle(HostBatch&& used) {
  const std::lock_guard held(impl_->mutex);
  if (impl_->spare.size() < static_cast<std::size_t>(impl_->depth)) impl_->spare.push_back(std::move(used));
}

}  // namespace spn::data
