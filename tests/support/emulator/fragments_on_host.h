// kernels/cuda/device/fragments.h's instructions on the host: lanes put their registers down for each other, as the PTX
// ISA says where which value lies.
#pragma once

#include <cmath>
#include <cstdint>

#include "engine/core/dtype.h"
#include "kernels/cuda/device/fragment_types.h"
#include "tests/support/emulator/emulator.h"

namespace spn::kernels::cuda {

namespace on_host {

// Two registers of every lane.
struct Pair {
  unsigned a, b;
};
inline emulator::Slots give(unsigned a, unsigned b) {
  const Pair mine{a, b};
  return emulator::exchange(0xffffffffU, &mine, sizeof mine);
}
// Value 0 or 1 of a register.
inline float value(unsigned r, int i) {
  bf16 v;
  v.bits = static_cast<std::uint16_t>(i == 0 ? r & 0xffffU : r >> 16);
  return static_cast<float>(v);
}

}  // namespace on_host

inline void multiply_add(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  using on_host::Pair;
  const auto low = on_host::give(a.r[0], a.r[1]), high = on_host::give(a.r[2], a.r[3]),
             right = on_host::give(b.r[0], b.r[1]);
  for (int i = 0; i < 4; ++i) {
    float sum = 0;
    for (int k = 0; k < 16; ++k) {
      // row r and depth k of A: lane 4 (r % 8) + k % 8 / 2, register r / 8 + 2 (k / 8); B likewise
      const int row = fragment_row(i), column = fragment_column(i), within = k % 8 / 2;
      const auto of_a = emulator::from_lane<Pair>(k < 8 ? low : high, row % 8 * 4 + within);
      const auto of_b = emulator::from_lane<Pair>(right, column * 4 + within);
      sum += on_host::value(row < 8 ? of_a.a : of_a.b, k % 2) * on_host::value(k < 8 ? of_b.a : of_b.b, k % 2);
    }
    c.v[i] += sum;
  }
}

inline unsigned pack_pair(float low, float high) {
  return static_cast<unsigned>(bf16(low).bits) | static_cast<unsigned>(bf16(high).bits) << 16;
}

struct SharedPlace {
  const bf16* at;
  SharedPlace operator+(int elements) const { return {at + elements}; }
};
inline SharedPlace place_of(const bf16* shared) { return {shared}; }

template <bool transposed>
void load_tiles(SharedPlace row, unsigned (&r)[4]) {
  check(reinterpret_cast<std::uintptr_t>(row.at) % 16 == 0, "emulator", "a row of a tile does not begin at 16 bytes");
  const void* const address = row.at;
  const emulator::Slots rows = emulator::exchange(0xffffffffU, &address, sizeof address);
  const int lane = emulator::lane();
  for (int tile = 0; tile < 4; ++tile) {
    const auto at = [&](int i, int j) {
      return static_cast<const bf16*>(emulator::from_lane<const void*>(rows, tile * 8 + i))[j].bits;
    };
    const int first = lane % 4 * 2;
    const unsigned low = transposed ? at(first, lane / 4) : at(lane / 4, first);
    const unsigned high = transposed ? at(first + 1, lane / 4) : at(lane / 4, first + 1);
    r[tile] = low | high << 16;
  }
}

inline void copy_async(SharedPlace to, const bf16* from, bool there) {
  for (const bf16* p : {to.at, from})
    check(reinterpret_cast<std::uintptr_t>(p) % 16 == 0, "emulator", "a copy of 16 bytes is not aligned to them");
  emulator::begin_copy(const_cast<bf16*>(to.at), there ? from : nullptr, 16);
}
inline void copies_commit() { emulator::commit_copies(); }
template <int n>
void copies_wait() {
  emulator::await_copies(n);
}

}  // namespace spn::kernels::cuda
