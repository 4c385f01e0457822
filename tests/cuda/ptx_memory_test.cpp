// The PTX interpreter's memory, barriers and copies, and what it refuses. Only the emulated binary has this file.
#include <gtest/gtest.h>

#include "tests/support/ptx/small_kernel.h"

namespace spn::ptx {
namespace {

void expect_error(const std::string& got, std::initializer_list<const char*> words) {
  for (const char* w : words) EXPECT_NE(got.find(w), std::string::npos) << w << " in: " << got;
}
std::string error(const std::string& body, SmallRun how, std::size_t values = 64) {
  return error_of([&] { by_thread(body, std::vector<u32>(values), how); });
}

// Every thread writes its number; %r1: what the thread opposite has written.
std::string mirror(const std::string& barrier, int threads = 64) {
  return fmt::format(R"(
    .shared .align 4 .b8 seen[{}];
    mov.u32 %r2, seen;
    shl.b32 %r3, %r0, 2;
    add.s32 %r4, %r2, %r3;
    st.shared.u32 [%r4], %r0;
    {}
    sub.s32 %r5, {}, %r0;
    shl.b32 %r5, %r5, 2;
    add.s32 %r6, %r2, %r5;
    ld.shared.u32 %r1, [%r6];)",
                     threads * 4, barrier, threads - 1);
}

TEST(PtxMemory, VectorsAndWidths) {
  const auto got = run_small<u32>(R"(
    ld.global.v4.u32 {%r1, %r2, _, %r3}, [%d0];
    ld.global.nc.v2.u32 {%r4, %r5}, [%d0+8];
    ld.global.s8 %r6, [%d0+15];
    ld.global.u8 %r7, [%d0+15];
    ld.global.s16 %r8, [%d0+14];
    st.global.v4.u32 [%d1], {%r1, %r2, %r3, %r4};
    st.global.v2.u32 [%d1+16], {%r6, %r7};
    st.global.u32 [%d1+24], %r8;
    st.global.u8 [%d1+28], 511;)",
                                  std::vector<u32>{1, 2, 3, 0xfffe0004}, 8);
  EXPECT_EQ(got, (std::vector<u32>{1, 2, 0xfffe0004, 3, 0xffffffff, 0xff, 0xfffffffe, 0xff}));
}

TEST(PtxMemory, GenericAddressesLeadToEverySpace) {
  const auto got = run_small<u32>(R"(
    .shared .align 8 .b8 box[8];
    .local .align 4 .b8 own[8];
    mov.u64 %d4, box;
    cvta.shared.u64 %d5, %d4;
    mov.u64 %d6, own;
    cvta.local.u64 %d7, %d6;
    st.u32 [%d5+4], 5;
    st.u32 [%d7], 6;
    ld.shared.u32 %r1, [box+4];
    ld.local.u32 %r2, [own];
    cvta.to.shared.u64 %d8, %d5;
    ld.shared.u32 %r3, [%d8+4];
    cvta.to.global.u64 %d9, %d1;
    st.global.v2.u32 [%d9], {%r1, %r2};
    st.u32 [%d1+8], %r3;
    ld.local.u32 %r4, [own+4];
    ld.shared.u32 %r5, [box];
    st.u32 [%d1+12], %r4;
    st.u32 [%d1+16], %r5;)",
                                  std::vector<u32>{}, 5);
  EXPECT_EQ(got, (std::vector<u32>{5, 6, 5, ~0U, ~0U}));  // new memory holds NaNs
}

TEST(PtxMemory, DynamicSharedMemoryLiesBehindTheFixed) {
  const std::string body = R"(
    .shared .align 4 .b8 fixed[20];
    mov.u32 %r2, dynamic;
    st.shared.u32 [%r2+12], 3;
    mov.u32 %r3, fixed;
    sub.s32 %r1, %r2, %r3;)";
  EXPECT_EQ(by_thread(body, std::vector<u32>{}, {.dynamic = 16}), std::vector<u32>{32});
  expect_error(error(body, {.dynamic = 12}), {"44 bytes of shared memory, got 4 bytes at 44"});
}

TEST(PtxMemory, VariablesOfTheModule) {
  Program p(
      ".global .align 4 .b8 table[8] = {1, 0, 0, 0, 2};\n.visible .entry k(.param .u64 out)\n{ .reg .b64 %d<2>;\n"
      ".reg .b32 %r<2>;\n ld.param.u64 %d0, [out]; ld.global.u32 %r0, [table+4];\n st.global.u32 [%d0], %r0;\nret;}");
  EXPECT_EQ(p.names(), std::vector<std::string>{"k"});
  u32 got = 0;
  const u32* const to = &got;
  const Kernel& k = *p.find("k");
  run(k, {}, {}, 0, pack(k, std::vector<Argument>{{&to, sizeof to}}), {});
  EXPECT_EQ(got, 2U);
}

TEST(PtxBarrier, OrdersABlock) {
  for (const bool backward : {false, true}) {
    const auto got =
        by_thread(mirror("bar.sync 0;"), std::vector<u32>{}, {.threads = 64, .options = {.backward = backward}});
    for (u32 i = 0; i < 64; ++i) EXPECT_EQ(got[i], 63 - i);
  }
}

TEST(PtxBarrier, AMissingOneIsARace) {
  for (const bool backward : {false, true})
    expect_error(error(mirror(""), {.threads = 64, .options = {.backward = backward}}),
                 {"[ptx] expected a barrier", "shared memory", "got a race with thread"});
  // in one warp too: here no value would show it
  expect_error(error(mirror("", 32), {.threads = 32}), {"got a race"});
  EXPECT_EQ(error(mirror("bar.warp.sync 0xffffffff;", 32), {.threads = 32}), "");
  expect_error(error(mirror("bar.warp.sync 0xffffffff;"), {.threads = 64}), {"got a race"});
  // a shuffle brings lanes together and orders no memory
  expect_error(error(mirror("shfl.sync.bfly.b32 %r9, %r0, 1, 31, -1;", 32), {.threads = 32}), {"got a race"});
}

TEST(PtxBarrier, AWarpBarrierOrdersTheLanesThatItNames) {
  // halves of a warp meet by themselves: the thread opposite is in the other
  const std::string halves = R"(
    setp.lt.u32 %p0, %r0, 16;
    selp.b32 %r9, 0xffff, 0xffff0000, %p0;
    bar.warp.sync %r9;)";
  expect_error(error(mirror(halves, 32), {.threads = 32}), {"got a race"});
  EXPECT_EQ(error(mirror(halves + "\nbar.warp.sync -1;", 32), {.threads = 32}), "");
}

TEST(PtxBarrier, AReadBeforeAWriteNeedsOneToo) {
  const auto overwrite = [](const std::string& barrier) {
    return "mov.u32 %r2, dynamic;\nld.shared.u32 %r1, [%r2];\n" + barrier +
           "\nsetp.eq.u32 %p0, %r0, 3;\n@%p0 st.shared.u32 [%r2], %r0;";
  };
  for (const bool backward : {false, true}) {
    const SmallRun how{.threads = 64, .dynamic = 4, .options = {.backward = backward}};
    expect_error(error(overwrite(""), how), {"got a race"});
    EXPECT_EQ(error(overwrite("bar.sync 0;"), how), "");
    expect_error(error(overwrite("bar.warp.sync -1;"), how), {"got a race"});
  }
}

TEST(PtxBarrier, BlocksThatWriteTheSameMemoryRace) {
  const std::string body = "mov.u32 %r1, %ctaid.x;\nst.global.u32 [%d1+4], %r1;\nmov.u32 %r1, 1;";
  SmallRun how{.threads = 2, .blocks = 2};
  EXPECT_EQ(error("mov.u32 %r1, 1;", how), "");
  how.options.global_races = true;
  expect_error(error(body, how), {"global memory", "got a race with thread 0 of block 0"});
}

TEST(PtxBarrier, OneThatSomeNeverReachFails) {
  const std::string skip = "setp.eq.u32 %p0, %r0, 40;\n@%p0 bra $end;\nbar.sync 0;\n$end:\nmov.u32 %r1, 1;";
  expect_error(error(skip, {.threads = 64}),
               {"expected a thread that can go on, got none", "63 wait at a barrier", "1 have left (thread 40)"});
  const std::string two =
      "setp.eq.u32 %p0, %r0, 40;\n@%p0 bra $other;\nbar.sync 0;\nbra $end;\n$other:\nbar.sync 0;\n$end:";
  expect_error(error(two, {.threads = 64}), {"expected all threads at one barrier"});
}

// Reads its copied value before and after it has waited.
const char* const kCopy = R"(
    .shared .align 16 .b8 box[32];
    mov.u32 %r2, box;
    st.shared.u32 [%r2], 7;
    st.shared.u32 [%r2+16], 7;
    cp.async.cg.shared.global [%r2], [%d0], 16, 16;
    cp.async.commit_group;
    cp.async.ca.shared.global [%r2+16], [%d0+16], 8, 0;
    cp.async.commit_group;
    ld.shared.u32 %r3, [%r2];
    cp.async.wait_group 1;
    ld.shared.u32 %r4, [%r2];
    ld.shared.u32 %r5, [%r2+16];
    cp.async.wait_all;
    ld.shared.u32 %r6, [%r2+16];
    st.global.v4.u32 [%d1], {%r3, %r4, %r5, %r6};)";

TEST(PtxCopies, ArriveWhenAwaitedOrAtOnce) {
  const std::vector<u64> in{3, 0, 5, 0};
  const auto run_with = [&](bool at_once) {
    SmallRun how;
    how.options.copies_at_once = at_once;
    return run_small<u32>(kCopy, in, 4, how);
  };
  EXPECT_EQ(run_with(false), (std::vector<u32>{7, 3, 7, 0}));
  EXPECT_EQ(run_with(true), (std::vector<u32>{3, 3, 0, 0}));
}

TEST(PtxCopies, NeedAnOrderAndAWait) {
  const std::string begin = R"(
    mov.u32 %r2, dynamic;
    setp.eq.u32 %p0, %r0, 0;
    mov.u32 %r1, 1;
    @%p0 cp.async.ca.shared.global [%r2], [%d0], 4;
    @%p0 cp.async.commit_group;)";
  const SmallRun how{.threads = 32, .dynamic = 16};
  expect_error(error(begin, how), {"expected copies to be awaited", "thread 0"});
  const std::string wait = "\ncp.async.wait_all;", read = "\nld.shared.u32 %r1, [%r2];";
  expect_error(error(begin + wait + read, how), {"got a race"});
  expect_error(error(begin + "\nbar.sync 0;" + read + wait, how), {"got a race"});  // the wait comes too late
  EXPECT_EQ(error(begin + wait + "\nbar.sync 0;" + read, how), "");
}

TEST(PtxRefusals, AccessesOutsideMemory) {
  const std::string shared = "mov.u32 %r2, dynamic;\n";
  const SmallRun how{.threads = 1, .dynamic = 16};
  expect_error(error(shared + "ld.shared.u32 %r1, [%r2+16];", how),
               {"expected an access inside 16 bytes of shared memory, got 4 bytes at 16", "ld.shared.u32"});
  expect_error(error(shared + "ld.shared.u32 %r1, [%r2+2];", how), {"aligned to 4 bytes", "misaligned"});
  expect_error(error("ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d0+8];", how), {"aligned to 16 bytes"});
  expect_error(error("ld.global.u32 %r1, [%d0+12];", how, 3), {"expected an access inside 12 bytes of memory"});
  expect_error(error("mov.u64 %d3, 0;\nst.global.u32 [%d3+8], %r0;", how), {"null pointer and 8 bytes"});
  expect_error(error(".local .align 4 .b8 own[4];\nmov.u64 %d3, own;\nld.local.u32 %r1, [%d3+4];", how),
               {"bytes of local memory"});
}

TEST(PtxRefusals, UnknownInstructionsWhenTheyAreReached) {
  const auto behind = [](const char* what) {
    return fmt::format("setp.eq.u32 %p0, %r0, 5;\nmov.u32 %r1, 0;\n@%p0 {} %r1, %r1, %r1;", what);
  };
  for (const char* what : {"frobnicate.b32", "add.rz.f32", "mul.sat.f32", "add.bf16"}) {
    EXPECT_EQ(error(behind(what), {.threads = 5}), "") << what;
    expect_error(error(behind(what), {.threads = 6}), {"expected an instruction that is known", what, "thread 5"});
  }
  expect_error(error("bar.sync 1;", {}), {"expected an instruction that is known"});
}

TEST(PtxRefusals, LaunchesThatADeviceRefuses) {
  EXPECT_NE(error("mov.u32 %r1, 1;", {.threads = 1025}), "");
  Program p(".visible .entry k()\n.maxntid 64, 1, 1\n{ ret; }");
  const Kernel* k = p.find("k");
  ASSERT_NE(k, nullptr);
  EXPECT_EQ(k->most_threads, 64U);
  expect_error(error_of([&] { run(*k, {}, {65}, 0, {}, {}); }), {"expected 1 to 64 threads a block, got 65"});
  expect_error(error_of([&] { run(*k, {}, {64}, 228 * 1024, {}, {}); }), {"bytes of shared memory"});
  const int v = 0;
  expect_error(error_of([&] { pack(*k, std::vector<Argument>{{&v, 4}}); }), {"expected 0 arguments, got 1"});
}

}  // namespace
}  // namespace spn::ptx
