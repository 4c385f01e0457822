// What the lanes of a warp do together (PTX ISA: bar.warp.sync, shfl.sync, vote.sync, ldmatrix, mma.sync): carried out
// once all lanes of the mask have come.
#pragma once

#include "tests/support/ptx/thread.h"

namespace spn::ptx {

enum class Shuffle { up, down, butterfly, index };
enum class Vote { ballot, any, all, uniform };

void warp_barrier(Lanes lanes, const Instruction& i, u32 mask);
template <Shuffle mode>
void shuffle(Lanes lanes, const Instruction& i, u32 mask);
template <Vote kind>
void vote(Lanes lanes, const Instruction& i, u32 mask);
// i.count 8x8 tiles of 16 bits: lane l names row l % 8 of tile l / 8.
template <bool transposed>
void load_tiles(Lanes lanes, const Instruction& i, u32 mask);
// m16n8k16, bf16 by bf16, summed in f32.
void multiply_tiles(Lanes lanes, const Instruction& i, u32 mask);

}  // namespace spn::ptx
