// What the PTX interpreter's lanes do together, against CUDA's words for shuffles and the PTX ISA's tables of matrix
// fragments. Only the emulated binary has this file.
#include <gtest/gtest.h>

#include <functional>

#include "engine/core/dtype.h"
#include "engine/core/philox.h"
#include "tests/support/ptx/small_kernel.h"

namespace spn::ptx {
namespace {

const SmallRun kWarp{.threads = 32};

void expect_error(const std::string& got, std::initializer_list<const char*> words) {
  for (const char* w : words) EXPECT_NE(got.find(w), std::string::npos) << w << " in: " << got;
}

// c of shfl.sync for segments of `width` lanes, as CUDA's functions make it.
int clamp_of(int width, bool up) { return (32 - width) << 8 | (up ? 0 : 31); }

void expect_shuffle(const char* mode, int b, int width, const std::function<int(int)>& from) {
  const std::string body = fmt::format(
      "add.s32 %r2, %r0, 100;\nshfl.sync.{}.b32 %r1|%p0, %r2, {}, {}, -1;\n@!%p0 add.s32 "
      "%r1, %r1, 1000;",
      mode, b, clamp_of(width, std::string(mode) == "up"));
  const auto got = by_thread(body, std::vector<u32>{}, kWarp);
  for (int l = 0; l < 32; ++l) {
    const int lane = from(l);  // −1: beyond the segment, the own value
    const u32 want = lane < 0 ? static_cast<u32>(l) + 1100 : static_cast<u32>(lane) + 100;
    EXPECT_EQ(got[static_cast<std::size_t>(l)], want) << mode << " " << b << " of " << width << ", lane " << l;
  }
}

TEST(PtxWarp, ShufflesInEveryMode) {
  for (const int width : {32, 8})
    for (const int b : {0, 1, 3, 7}) {
      const auto within = [width](int l) { return l % width; };
      expect_shuffle("up", b, width, [&](int l) { return within(l) < b ? -1 : l - b; });
      expect_shuffle("down", b, width, [&](int l) { return within(l) + b >= width ? -1 : l + b; });
      expect_shuffle("bfly", b, width, [&](int l) { return l ^ b; });
      expect_shuffle("idx", b, width, [&](int l) { return l - within(l) + b; });
    }
}

TEST(PtxWarp, PartsOfAWarpShuffleByThemselves) {
  const char* const body = R"(
    setp.lt.u32 %p0, %r0, 8;
    mov.u32 %r1, 0;
    @%p0 bra $first;
    shfl.sync.idx.b32 %r1, %r0, 31, 31, 0xffffff00;
    bra $end;
$first:
    shfl.sync.idx.b32 %r1, %r0, 3, 31, 0xff;
$end:)";
  for (const bool backward : {false, true}) {
    const auto got = by_thread(body, std::vector<u32>{}, {.threads = 32, .options = {.backward = backward}});
    for (std::size_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], l < 8 ? 3U : 31U);
  }
}

TEST(PtxWarp, Votes) {
  const auto votes = [](const char* instruction) {
    return by_thread(fmt::format("setp.lt.u32 %p0, %r0, 4;\nmov.u32 %r1, 0;\n{}", instruction), std::vector<u32>{},
                     kWarp)[9];
  };
  const char* const put = "\n@%p1 mov.u32 %r1, 1;";
  EXPECT_EQ(votes("vote.sync.ballot.b32 %r1, %p0, -1;"), 0xfU);
  EXPECT_EQ(votes("vote.sync.ballot.b32 %r1, !%p0, -1;"), ~0xfU);
  EXPECT_EQ(votes(fmt::format("vote.sync.any.pred %p1, %p0, -1;{}", put).c_str()), 1U);
  EXPECT_EQ(votes(fmt::format("vote.sync.all.pred %p1, %p0, -1;{}", put).c_str()), 0U);
  EXPECT_EQ(votes(fmt::format("vote.sync.uni.pred %p1, %p0, -1;{}", put).c_str()), 0U);
  EXPECT_EQ(votes(fmt::format("and.pred %p0, %p0, 0;\nvote.sync.uni.pred %p1, %p0, -1;{}", put).c_str()), 1U);
}

TEST(PtxWarp, RefusesLanesThatTakeNoPart) {
  const auto error = [](const std::string& body, unsigned threads = 32) {
    return error_of([&] { by_thread(body, std::vector<u32>{}, {.threads = threads}); });
  };
  const std::string low = "setp.lt.u32 %p0, %r0, 8;\nmov.u32 %r1, 0;\n@%p0 ";
  expect_error(error(low + "shfl.sync.idx.b32 %r1, %r0, 9, 31, 0xff;"),
               {"expected to read a lane that takes part, got lane 9"});
  expect_error(error("shfl.sync.idx.b32 %r1, %r0, 0, 31, 0xff;"), {"expected a mask with lane 8, got 0xff"});
  expect_error(error(low + "shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;"),
               {"expected a thread that can go on, got none", "8 for lanes of their warp", "24 have left"});
  expect_error(error("shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;", 20), {"20 for lanes of their warp"});
  const char* const two = R"(
    setp.lt.u32 %p0, %r0, 8;
    @%p0 bra $other;
    shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;
    bra $end;
$other:
    shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;
$end:)";
  expect_error(error(two), {"32 for lanes of their warp"});
}

// 4 tiles of 8 x 8 values that say where they lie; results of lane l, register k.
std::vector<u32> loaded(const char* instruction, int count) {
  std::vector<u16> tiles(256);
  for (std::size_t i = 0; i < tiles.size(); ++i) tiles[i] = static_cast<u16>(i);
  std::string registers, stores;
  for (int k = 0; k < count; ++k) {
    registers += fmt::format("{}%r{}", k == 0 ? "" : ", ", 10 + k);
    stores += fmt::format("st.global.u32 [%d4+{}], %r{};\n", 4 * k, 10 + k);
  }
  return run_small<u32>(fmt::format(R"(
    .shared .align 16 .b8 box[512];
    mul.wide.u32 %d2, %r0, 16;
    add.s64 %d3, %d0, %d2;
    add.s64 %d4, %d1, %d2;
    mov.u32 %r2, box;
    shl.b32 %r3, %r0, 4;
    add.s32 %r2, %r2, %r3;
    ld.global.v4.u32 {{%r4, %r5, %r6, %r7}}, [%d3];
    st.shared.v4.u32 [%r2], {{%r4, %r5, %r6, %r7}};
    bar.warp.sync -1;
    {} {{{}}}, [%r2];
    {})",
                                    instruction, registers, stores),
                        tiles, 128, kWarp);
}

TEST(PtxTiles, AreLoadedAsTheyLieOrTransposed) {
  for (const bool transposed : {false, true})
    for (const int count : {1, 2, 4}) {
      const auto got = loaded(
          fmt::format("ldmatrix.sync.aligned.m8n8.x{}{}.shared.b16", count, transposed ? ".trans" : "").c_str(), count);
      for (u32 l = 0; l < 32; ++l)
        for (u32 k = 0; k < static_cast<u32>(count); ++k) {
          const u32 i = l / 4, j = l % 4 * 2;  // row i, values j and j + 1
          const u32 low = k * 64 + (transposed ? j * 8 + i : i * 8 + j);
          EXPECT_EQ(got[l * 4 + k], low | (low + (transposed ? 8 : 1)) << 16) << "lane " << l << ", tile " << k;
        }
    }
}

TEST(PtxTiles, ProductsOfFragments) {
  float a[16][16], b[16][8], c[16][8];
  u32 drawn = 0;
  const auto draw = [&] {
    return static_cast<float>(philox(3, drawn++, 1, 0, 0).v[0] % 256) / 32.0F - 4;
  };  // exact in bf16
  for (auto& row : a)
    for (float& v : row) v = draw();
  for (auto& row : b)
    for (float& v : row) v = draw();
  for (auto& row : c)
    for (float& v : row) v = draw();
  const auto bits = [](float v) { return u32{bf16(v).bits}; };
  std::vector<u32> in;  // 12 a lane: A 4, B 2, C 4
  for (std::size_t l = 0; l < 32; ++l) {
    const std::size_t group = l / 4, t = l % 4;
    // PTX ISA, matrix fragments for mma.m16n8k16: element i of A, of B, of C
    const auto of_a = [&](std::size_t i) {
      return a[i < 2 || (i >= 4 && i < 6) ? group : group + 8][t * 2 + (i & 1) + (i >= 4 ? 8 : 0)];
    };
    const auto of_b = [&](std::size_t i) { return b[t * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group]; };
    for (std::size_t i = 0; i < 8; i += 2) in.push_back(bits(of_a(i)) | bits(of_a(i + 1)) << 16);
    for (std::size_t i = 0; i < 4; i += 2) in.push_back(bits(of_b(i)) | bits(of_b(i + 1)) << 16);
    for (std::size_t i = 0; i < 4; ++i)
      in.push_back(static_cast<u32>(to_bits(c[i < 2 ? group : group + 8][t * 2 + (i & 1)])));
    in.resize(in.size() + 2);
  }
  const auto got = run_small<float>(R"(
    mul.wide.u32 %d2, %r0, 48;
    add.s64 %d3, %d0, %d2;
    mul.wide.u32 %d4, %r0, 16;
    add.s64 %d5, %d1, %d4;
    ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d3];
    ld.global.v4.u32 {%r5, %r6, %r7, %r8}, [%d3+16];
    ld.global.v2.u32 {%r9, %r10}, [%d3+32];
    mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r1, %r2, %r3, %r4}, {%r5, %r6}, {%r7, %r8, %r9, %r10};
    st.global.v4.f32 [%d5], {%f0, %f1, %f2, %f3};)",
                                    in, 128, kWarp);
  for (std::size_t l = 0; l < 32; ++l)
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t row = l / 4 + (i < 2 ? 0 : 8), column = l % 4 * 2 + i % 2;
      float want = c[row][column];  // exact: few bits each
      for (std::size_t k = 0; k < 16; ++k) want += a[row][k] * b[k][column];
      EXPECT_EQ(got[l * 4 + i], want) << row << ", " << column;
    }
}

}  // namespace
}  // namespace spn::ptx
