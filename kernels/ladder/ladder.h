// A ladder: one kernel's work from naive to fast, each rung a function over the same views. The last rung is always the
// table's entry itself, so that what is timed is what ships. `spotniche bench kernels` checks every rung against the
// CPU's entry and times it; tests/cuda/ladder_test.cpp checks them in the emulator. How to add one: docs/how/kernel.md.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "engine/core/view.h"

namespace spn::kernels {

// A view that the work takes, in the order in which `shipped` and the rungs expect them.
struct Operand {
  // Read, written, or both: what its bytes count. spare: given, but the work can be done without reading it.
  enum class Use { in, out, in_out, spare };
  const char* name = "";
  Use use = Use::in;
  DType dtype = DType::f32;
  Shape shape;
  double low = -1, high = 1;   // of its random values …
  std::vector<double> values;  // … or these, over and over
  std::int64_t terms = 1;      // that a result adds up, for the tolerance
  DType worked = dtype;        // in: f32 for an f64 result of f32 work, held to f32's tolerance
};

using Views = std::span<const View>;

struct Rung {
  const char* name;
  void (*run)(Views);  // contiguous views on the device, as `operands` asked for
};

struct Ladder {
  const char* name;   // the entry in the table
  const char* about;  // sizes, for the report
  // About that many elements in the largest operand.
  std::vector<Operand> (*operands)(std::int64_t elements);
  // Through the table of the views' device.
  void (*shipped)(Views);
  std::int64_t of_model = 0;  // elements that the full model has; 0: as many as fill a GPU
};

// Every ladder: kernels/ladder/ladders.cpp.
std::span<const Ladder> ladders();
// Its rungs below the shipped one, naive first; none in a build without CUDA.
std::span<const Rung> rungs_of(std::string_view ladder);

inline bool is_written(const Operand& o) { return o.use == Operand::Use::out || o.use == Operand::Use::in_out; }

// Bytes that the work must move at least: each operand once, or twice where it is read and written.
inline std::int64_t least_bytes(std::span<const Operand> operands) {
  std::int64_t bytes = 0;
  for (const Operand& o : operands)
    bytes += (o.use == Operand::Use::in_out  ? 2
              : o.use == Operand::Use::spare ? 0
                                             : 1) *
             o.shape.numel() * static_cast<std::int64_t>(size_of(o.dtype));
  return bytes;
}

// Ladders and their rungs, by family file.
extern const Ladder kLayerNormFwdLadder, kLayerNormBranchLadder, kLayerNormBwdLadder;  // layer_norm.cpp
extern const Ladder kAdamWLadder, kAdamWCopyLadder;                                    // adamw.cpp
std::span<const Rung> layer_norm_fwd_rungs();                                          // layer_norm.cu
std::span<const Rung> layer_norm_branch_rungs();
std::span<const Rung> layer_norm_bwd_rungs();
std::span<const Rung> adamw_rungs();  // adamw.cu
std::span<const Rung> adamw_copy_rungs();
extern const Ladder kBatchNormStatsLadder, kBatchNormApplyLadder;  // batch_norm.cpp
extern const Ladder kContrastiveFwdLadder, kContrastiveBwdLadder;  // contrastive.cpp
std::span<const Rung> batch_norm_stats_rungs();                    // batch_norm.cu
std::span<const Rung> batch_norm_apply_rungs();
std::span<const Rung> contrastive_fwd_rungs();  // contrastive.cu
std::span<const Rung> contrastive_bwd_rungs();
extern const Ladder kAttentionFwdLadder, kAttentionBwdLadder, kAttentionLongLadder;  // attention.cpp
extern const Ladder kAttentionDropoutFwdLadder, kAttentionDropoutBwdLadder;
extern const Ladder kImageEmbedLadder, kImageAugmentLadder;  // image.cpp
std::span<const Rung> attention_fwd_rungs();                 // attention.cu
std::span<const Rung> attention_bwd_rungs();
std::span<const Rung> attention_dropout_fwd_rungs();
std::span<const Rung> attention_dropout_bwd_rungs();
std::span<const Rung> attention_long_rungs();
std::span<const Rung> image_embed_rungs();  // image.cu
std::span<const Rung> image_augment_rungs();

}  // namespace spn::kernels
