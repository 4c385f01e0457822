// PackWriter: all ranks write one pack. Rows go out independently; names and per-slide tables at the end, by rank 0.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/pack/format.h"
#include "engine/dist/comm.h"

namespace spn::data {

class PackWriter {
 public:
  // Collective. Creates PATH's temporary neighbour with all datasets at their final size. Throws (data) when the
  // folder does not exist or the disk is full; then no file is left.
  PackWriter(dist::Comm& comm, std::string path, const PackHeader& header);
  // Without finish(): removes the temporary file. Collective too: when one rank fails in write(), let all fail
  // (dist::together around the writing) before the writers go out of scope.
  ~PackWriter();
  PackWriter(const PackWriter&) = delete;
  PackWriter& operator=(const PackWriter&) = delete;

  // Not collective. Rows [first, first + n) of this rank's slides; every row of the pack is written exactly once.
  void write(std::int64_t first, const PackRows& rows);
  // Collective. slides: this rank's own slides; together they cover all rows. Writes names, slides, genes, attributes,
  // syncs and renames onto PATH. Names must be unique over the pack: a duplicate is a data error that names it.
  void finish(const std::vector<PackSlide>& my_slides, const std::vector<std::string>& genes);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spn::data
