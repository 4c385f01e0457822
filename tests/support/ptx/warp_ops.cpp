#include "tests/support/ptx/warp_ops.h"

#include <fmt/format.h>

#include <algorithm>

#include "tests/support/ptx/memory_ops.h"

namespace spn::ptx {
namespace {

template <class F>
void each(u32 mask, F f) {
  for (u32 rest = mask; rest != 0; rest &= rest - 1) f(static_cast<std::size_t>(__builtin_ctz(rest)));
}

float half_of(u32 pair, bool high) { return from_bits<float>(high ? pair & 0xffff0000U : pair << 16); }

}  // namespace

void warp_barrier(Lanes lanes, const Instruction&, u32 mask) {
  std::array<u32, 32> known{};
  Thread* any = nullptr;
  each(mask, [&](std::size_t l) {
    any = lanes[l];
    for (std::size_t k = 0; k < 32; ++k) known[k] = std::max(known[k], any->known[k]);
  });
  const u32 time = ++any->block->warp_barriers[static_cast<std::size_t>(any->warp())];
  each(mask, [&](std::size_t l) { known[l] = time; });
  each(mask, [&](std::size_t l) {
    lanes[l]->known = known;
    lanes[l]->time = time;
  });
}

// PTX ISA, shfl.sync: c holds the last lane in bits 0 to 4, the mask of segments in bits 8 to 12.
template <Shuffle mode>
void shuffle(Lanes lanes, const Instruction& i, u32 mask) {
  std::array<u32, 32> brought{};
  each(mask, [&](std::size_t l) { brought[l] = value<u32>(*lanes[l], i.from[0]); });
  each(mask, [&](std::size_t l) {
    Thread& t = *lanes[l];
    const u32 lane = static_cast<u32>(l), b = value<u32>(t, i.from[1]) & 31, c = value<u32>(t, i.from[2]);
    const u32 segments = c >> 8 & 31, last = (lane & segments) | (c & 31 & ~segments), first = lane & segments;
    int from = 0;
    if constexpr (mode == Shuffle::up) from = static_cast<int>(lane) - static_cast<int>(b);
    if constexpr (mode == Shuffle::down) from = static_cast<int>(lane + b);
    if constexpr (mode == Shuffle::butterfly) from = static_cast<int>(lane ^ b);
    if constexpr (mode == Shuffle::index) from = static_cast<int>(first | (b & ~segments));
    const bool inside = mode == Shuffle::up ? from >= static_cast<int>(last) : from <= static_cast<int>(last);
    if (!inside) from = static_cast<int>(lane);
    if ((mask >> from & 1U) == 0)
      fail_at(t, i, fmt::format("expected to read a lane that takes part, got lane {} and mask {:#x}", from, mask));
    t.registers[i.to[0]] = brought[static_cast<std::size_t>(from)];
    if (i.to[1] != kNoRegister) t.registers[i.to[1]] = inside ? 1 : 0;
  });
}
template void shuffle<Shuffle::up>(Lanes, const Instruction&, u32);
template void shuffle<Shuffle::down>(Lanes, const Instruction&, u32);
template void shuffle<Shuffle::butterfly>(Lanes, const Instruction&, u32);
template void shuffle<Shuffle::index>(Lanes, const Instruction&, u32);

template <Vote kind>
void vote(Lanes lanes, const Instruction& i, u32 mask) {
  u32 votes = 0;
  each(mask, [&](std::size_t l) {
    if (((lanes[l]->registers[i.from[0]] & 1) != 0) != i.negated) votes |= 1U << l;
  });
  u32 result = votes;
  if constexpr (kind == Vote::any) result = votes != 0 ? 1 : 0;
  if constexpr (kind == Vote::all) result = votes == mask ? 1 : 0;
  if constexpr (kind == Vote::uniform) result = votes == 0 || votes == mask ? 1 : 0;
  each(mask, [&](std::size_t l) { lanes[l]->registers[i.to[0]] = result; });
}
template void vote<Vote::ballot>(Lanes, const Instruction&, u32);
template void vote<Vote::any>(Lanes, const Instruction&, u32);
template void vote<Vote::all>(Lanes, const Instruction&, u32);
template void vote<Vote::uniform>(Lanes, const Instruction&, u32);

template <bool transposed>
void load_tiles(Lanes lanes, const Instruction& i, u32) {
  std::array<std::array<std::array<u16, 8>, 8>, 4> tile{};
  for (std::size_t l = 0; l < static_cast<std::size_t>(i.count) * 8; ++l)
    std::memcpy(tile[l / 8][l % 8].data(), place<Space::shared>(*lanes[l], i, 16, false), 16);
  for (std::size_t l = 0; l < 32; ++l)
    for (std::size_t k = 0; k < static_cast<std::size_t>(i.count); ++k) {
      const std::size_t row = l / 4, column = l % 4 * 2;
      const u32 low = transposed ? tile[k][column][row] : tile[k][row][column];
      const u32 high = transposed ? tile[k][column + 1][row] : tile[k][row][column + 1];
      lanes[l]->registers[i.to[k]] = low | high << 16;
    }
}
template void load_tiles<false>(Lanes, const Instruction&, u32);
template void load_tiles<true>(Lanes, const Instruction&, u32);

// PTX ISA, fragments of m16n8k16 for .bf16: lane 4 g + t holds of A rows g and g + 8, columns 2 t, 2 t + 1 and those 8
// further; of B the same rows of column g; of C rows g and g + 8, columns 2 t and 2 t + 1.
void multiply_tiles(Lanes lanes, const Instruction& i, u32) {
  std::array<std::array<double, 16>, 16> a;
  std::array<std::array<double, 8>, 16> b;
  const auto reg = [&](std::size_t l, std::size_t k) { return lanes[l]->registers[i.factors[k]]; };
  for (std::size_t l = 0; l < 32; ++l) {
    const std::size_t g = l / 4, t = l % 4;
    for (std::size_t k = 0; k < 4; ++k)
      for (std::size_t h = 0; h < 2; ++h)
        a[g + k % 2 * 8][t * 2 + k / 2 * 8 + h] = static_cast<double>(half_of(static_cast<u32>(reg(l, k)), h == 1));
    for (std::size_t k = 0; k < 2; ++k)
      for (std::size_t h = 0; h < 2; ++h)
        b[t * 2 + k * 8 + h][g] = static_cast<double>(half_of(static_cast<u32>(reg(l, 4 + k)), h == 1));
  }
  std::array<std::array<float, 4>, 32> sums;
  for (std::size_t l = 0; l < 32; ++l)
    for (std::size_t k = 0; k < 4; ++k) {
      const std::size_t row = l / 4 + k / 2 * 8, column = l % 4 * 2 + k % 2;
      double sum = 0;
      for (std::size_t d = 0; d < 16; ++d) sum += a[row][d] * b[d][column];
      sums[l][k] = static_cast<float>(static_cast<double>(from_bits<float>(reg(l, 6 + k))) + sum);
    }
  for (std::size_t l = 0; l < 32; ++l)
    for (std::size_t k = 0; k < 4; ++k) lanes[l]->registers[i.to[k]] = to_bits(sums[l][k]);
  ++lanes[0]->block->grid.counts.products;
}

}  // namespace spn::ptx
