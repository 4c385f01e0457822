// Small packs whose every value follows from (slide, row): any reader can recompute what it should see.
#pragma once

#include <string>
#include <vector>

#include "data/pack/format.h"
#include "engine/dist/comm.h"

namespace spn::test {

struct MadePack {
  data::PackHeader header;
  std::vector<data::PackSlide> slides;
  std::vector<std::string> genes;
};

// rows: spots of each slide. 5 px spot images, 7 px niche images, 9 and 11 genes: odd sizes on purpose.
MadePack plan_pack(const std::vector<std::int64_t>& rows, data::GeneType type = data::GeneType::f32,
                   bool clusters = true);
// Rows [first, first + n) as they must be read back.
data::PackRows made_rows(const MadePack& plan, std::int64_t first, std::int64_t n);
// Collective. Slide s is written by rank s mod size.
void write_pack(dist::Comm& comm, const std::string& path, const MadePack& plan);

}  // namespace spn::test
