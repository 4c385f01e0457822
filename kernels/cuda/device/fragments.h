// Matrix fragments: tiles spread over the registers of a warp, multiplied on tensor cores, and copies into shared
// memory that go on beside arithmetic (PTX ISA: mma.sync m16n8k16, ldmatrix, cp.async; sm_80 and newer). On the host,
// for tests, they mean the same (tests/support/emulator/fragments_on_host.h).
#pragma once

#include "kernels/cuda/device/fragment_types.h"

#ifdef __CUDACC__
namespace spn::kernels::cuda {

// c += a · b. The whole warp takes part, here and in all that follows.
__device__ inline void multiply_add(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
}

// Two floats, rounded, in one register; low lies first in memory.
__device__ inline unsigned pack_pair(float low, float high) {
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}

// A place in shared memory, as instructions name it: what is added to it goes into them as a number.
struct SharedPlace {
  unsigned at;
  __device__ SharedPlace operator+(int elements) const { return {at + 2U * static_cast<unsigned>(elements)}; }
};
__device__ inline SharedPlace place_of(const bf16* shared) {
  return {static_cast<unsigned>(__cvta_generic_to_shared(shared))};
}

// Four 8x8 tiles of shared memory: lane l names row l % 8 of tile l / 8, 16 aligned bytes. A register gets the pair
// lane % 4 of row lane / 4 of its tile; transposed: the values lane / 4 of rows 2 (lane % 4) and the next.
template <bool transposed>
__device__ inline void load_tiles(SharedPlace row, unsigned (&r)[4]) {
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row.at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(row.at)
                 : "memory");
}

// Begins a copy of 16 aligned bytes into shared memory, or of zeros where there is nothing (`from` is not read then,
// but must be an address). What a thread has begun since the last copies_commit is one group; after copies_wait<n> all
// its groups but the last n have come; other threads see them behind a barrier.
__device__ inline void copy_async(SharedPlace to, const bf16* from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to.at), "l"(from), "r"(there ? 16 : 0) : "memory");
}
__device__ inline void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int n>
__device__ inline void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
}

}  // namespace spn::kernels::cuda
#else
#include <fragments_on_host.h>
#endif

namespace spn::kernels::cuda {

// From shared memory, rows `row` elements apart. Where a lane begins is the same for all tiles of one kind: a tile is
// loaded from that place plus where the tile begins.
// A[i][k] = tile[i][k]; and B[k][n] = tile[k][n], 16 columns as two fragments …
__device__ inline SharedPlace place_in_rows(const bf16* first_tile, int row) {
  const int lane = lane_of_warp();
  return place_of(first_tile) + (lane % 16 * row + lane / 16 * 8);
}
__device__ inline FragmentA load_a(SharedPlace tile) {
  FragmentA a;
  load_tiles<false>(tile, a.r);
  return a;
}
__device__ inline void load_b_of_rows(SharedPlace tile, FragmentB (&b)[2]) {
  unsigned r[4];
  load_tiles<true>(tile, r);
  b[0] = {{r[0], r[1]}};
  b[1] = {{r[2], r[3]}};
}
// … or B[k][n] = tile[n][k], from rows that are its columns.
__device__ inline SharedPlace place_in_columns(const bf16* first_tile, int row) {
  const int lane = lane_of_warp();
  return place_of(first_tile) + ((lane % 8 + lane / 16 * 8) * row + lane / 8 % 2 * 8);
}
__device__ inline void load_b_of_columns(SharedPlace tile, FragmentB (&b)[2]) {
  unsigned r[4];
  load_tiles<false>(tile, r);
  b[0] = {{r[0], r[1]}};
  b[1] = {{r[2], r[3]}};
}

// 16 columns of results as the left factor of a further product: columns become depth, values are rounded.
__device__ inline FragmentA as_left(const FragmentC& left, const FragmentC& right) {
  return {{pack_pair(left.v[0], left.v[1]), pack_pair(left.v[2], left.v[3]), pack_pair(right.v[0], right.v[1]),
           pack_pair(right.v[2], right.v[3])}};
}

}  // namespace spn::kernels::cuda
