#include "launch/bench/loader.h"

#include <chrono>
#include <limits>

#include "data/pack/verify.h"
#include "engine/core/check.h"

namespace spn::bench {

LoaderFigure measure_loader(const data::PackSet& packs, std::int64_t batch, int threads, double seconds,
                            std::uint64_t seed) {
  const data::Sampler sampler(packs.rows(), batch, seed);
  data::Loader loader(packs, sampler, 0, std::numeric_limits<std::int64_t>::max() / 2, 0, 1, 2 + threads, threads);
  LoaderFigure f;
  f.batch = batch;
  f.threads = threads;
  loader.next();
  const auto start = std::chrono::steady_clock::now();
  do {
    data::HostBatch rows = loader.next();
    check(!rows.row.empty(), "bench", "expected rows, got an empty batch");
    loader.recycle(std::move(rows));
    ++f.batches;
    f.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  } while (f.seconds < seconds);
  f.rows_per_s = static_cast<double>(f.batches * batch) / f.seconds;
  f.mb_per_s = f.rows_per_s * static_cast<double>(data::row_bytes(packs.header())) * 1e-6;
  return f;
}

}  // namespace spn::bench
