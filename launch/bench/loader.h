// How fast rows leave a pack: the figure behind `spotniche bench loader`.
#pragma once

#include <cstdint>

#include "data/pipe/loader.h"

namespace spn::bench {

struct LoaderFigure {
  std::int64_t batch = 0, batches = 0;
  int threads = 1;
  double seconds = 0, rows_per_s = 0, mb_per_s = 0;  // MB: 1e6 bytes of a row as it lies on disk
};

// Random rows in batches of `batch` through the loader that pretraining uses, for at least `seconds` after one warm-up
// batch. The page cache is as it is: a first pass over a cold file measures the disk, a second the memory.
LoaderFigure measure_loader(const data::PackSet& packs, std::int64_t batch, int threads, double seconds,
                            std::uint64_t seed);

}  // namespace spn::bench
