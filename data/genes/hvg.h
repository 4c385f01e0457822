// The N most variable genes over the slides of all ranks.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/schema/slide.h"
#include "engine/dist/comm.h"

namespace spn::data {

// Variance of the normalised expression over all spots of all slides (population variance, E[x²] − E[x]²; a gene that a
// slide lacks counts as 0 there). Candidates are the genes present in at least `presence` of the slides. Sums are kept
// in fixed point, so that the choice does not depend on how slides lie on ranks.
class VariableGenes {
 public:
  // Adds one slide of this rank, after normalise().
  void add(const Counts& normalised);

  // Collective. The `count` genes of highest variance, highest first, ties by name. presence in (0, 1].
  // Data error when no gene qualifies; usage error when fewer than `count` do.
  std::vector<std::string> choose(dist::Comm& comm, std::int64_t count, double presence) const;

 private:
  struct Sums {
    std::int64_t sum = 0, square = 0, slides = 0;
  };
  std::unordered_map<std::string, Sums> genes_;
  std::int64_t spots_ = 0, slides_ = 0;
};

}  // namespace spn::data
