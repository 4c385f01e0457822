// The PTX interpreter's arithmetic, against C++ values. Only the emulated binary has this file.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/ptx/small_kernel.h"

namespace spn::ptx {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
constexpr double kNan64 = std::numeric_limits<double>::quiet_NaN();
constexpr s32 kLeast = std::numeric_limits<s32>::min(), kMost = std::numeric_limits<s32>::max();

TEST(PtxScalar, IntegersWrapAround) {
  EXPECT_EQ(once<s32>("add.s32", kMost, 1), kLeast);
  EXPECT_EQ(once<s64>("sub.s64", s64{-5}, s64{7}), -12);
  EXPECT_EQ(once<u16>("add.s16", u16{65535}, u16{2}), 1);
  EXPECT_EQ(once<u16>("mul.lo.s16", u16{65535}, u16{65535}), 1);
  EXPECT_EQ(once<u32>("mul.lo.u32", 0x10001U, 0x10001U), 0x20001U);
  EXPECT_EQ(once<s32>("mad.lo.s32", -3, 5, 1), -14);
  EXPECT_EQ(once<s64>("mul.wide.s32", -3, kMost), -3 * s64{kMost});
  EXPECT_EQ(once<u64>("mul.wide.u32", ~0U, ~0U), u64{0xffffffff} * 0xffffffff);
  EXPECT_EQ(once<u32>("mul.wide.u16", u16{65535}, u16{65535}), 65535U * 65535U);
  EXPECT_EQ(once<s64>("mad.wide.s32", -2, 7, s64{4}), -10);
  EXPECT_EQ(once<u32>("mul.hi.u32", ~0U, ~0U), 0xfffffffeU);
  EXPECT_EQ(once<s32>("mul.hi.s32", -1, 2), -1);
  EXPECT_EQ(once<u64>("mul.hi.u64", ~u64{0}, ~u64{0}), ~u64{0} - 1);
  EXPECT_EQ(once<s32>("neg.s32", kLeast), kLeast);
  EXPECT_EQ(once<s32>("abs.s32", -9), 9);
}

TEST(PtxScalar, IntegersDivideTowardsZero) {
  EXPECT_EQ(once<s32>("div.s32", -7, 2), -3);
  EXPECT_EQ(once<s32>("rem.s32", -7, 2), -1);
  EXPECT_EQ(once<u32>("div.u32", ~0U, 2U), 0x7fffffffU);
  EXPECT_EQ(once<s64>("div.s64", std::numeric_limits<s64>::min(), s64{-1}), std::numeric_limits<s64>::min());
  EXPECT_EQ(once<u64>("rem.u64", u64{100}, u64{7}), 2U);
  EXPECT_EQ(once<s32>("min.s32", -1, 1), -1);
  EXPECT_EQ(once<u32>("min.u32", ~0U, 1U), 1U);
  EXPECT_EQ(once<s64>("max.s64", s64{-1}, s64{1}), 1);
}

TEST(PtxScalar, Bits) {
  EXPECT_EQ(once<u32>("and.b32", 12U, 10U), 8U);
  EXPECT_EQ(once<u64>("or.b64", u64{12}, u64{10}), 14U);
  EXPECT_EQ(once<u32>("xor.b32", 12U, 10U), 6U);
  EXPECT_EQ(once<u32>("not.b32", 0U), ~0U);
  EXPECT_EQ(once<u32>("shl.b32", 1U, 31U), 1U << 31);
  EXPECT_EQ(once<u32>("shl.b32", 1U, 32U), 0U);  // no modulo
  EXPECT_EQ(once<s32>("shr.s32", -8, 1U), -4);
  EXPECT_EQ(once<s32>("shr.s32", -8, 99U), -1);
  EXPECT_EQ(once<u32>("shr.u32", ~0U, 32U), 0U);
  EXPECT_EQ(once<u64>("shr.u64", u64{1} << 40, 8U), u64{1} << 32);
  EXPECT_EQ(once<u32>("popc.b32", 0xf0f0U), 8U);
  EXPECT_EQ(once<u32>("clz.b64", u64{1}), 63U);
  EXPECT_EQ(once<u32>("clz.b32", 0U), 32U);
  EXPECT_EQ(once<u32>("bfi.b32", 0xffU, 0U, 4U, 4U), 0xf0U);
  EXPECT_EQ(once<u64>("bfi.b64", u64{5}, ~u64{0}, 0U, 32U), 0xffffffff00000005U);
  EXPECT_EQ(once<u32>("bfi.b32", 0xffU, 7U, 40U, 4U), 7U);
  EXPECT_EQ(once<u32>("prmt.b32", 0x83828180U, 0x07060504U, 0x1054U), 0x81800504U);
  EXPECT_EQ(once<u32>("prmt.b32", 0x83828180U, 0x07060504U, 0xd058U), 0x008005ffU);
}

TEST(PtxScalar, CarriesGoFromOneInstructionToTheNext) {
  const auto two = [](const std::string& first, const std::string& second, std::vector<u32> in) {
    return run_small<u32>("ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d0];\n" + first + " %r5, %r1, %r2;\n" + second +
                              " %r6, %r3, %r4;\nst.global.v2.u32 [%d1], {%r5, %r6};",
                          in, 2);
  };
  EXPECT_EQ(two("add.cc.u32", "addc.u32", {~0U, 1, 2, 3}), (std::vector<u32>{0, 6}));
  EXPECT_EQ(two("sub.cc.u32", "subc.u32", {1, 2, 9, 3}), (std::vector<u32>{~0U, 5}));
  EXPECT_EQ(two("add.cc.u32", "addc.u32", {1, 1, 2, 3}), (std::vector<u32>{2, 5}));
}

TEST(PtxScalar, FloatsAreRoundedOnce) {
  EXPECT_EQ(once<float>("add.f32", 0.1F, 0.2F), 0.1F + 0.2F);
  EXPECT_EQ(once<float>("fma.rn.f32", 1 + 0x1p-23F, 1 + 0x1p-23F, -1.0F), std::fma(1 + 0x1p-23F, 1 + 0x1p-23F, -1.0F));
  EXPECT_EQ(once<float>("fma.rm.f32", 1.0F, 1.0F, 0x1p-30F), 1.0F);
  EXPECT_EQ(once<float>("fma.rm.f32", 1.0F, 1.0F, -0x1p-30F), 1 - 0x1p-24F);
  EXPECT_EQ(once<double>("div.rn.f64", 1.0, 3.0), 1.0 / 3.0);
  EXPECT_EQ(once<float>("rcp.rn.f32", 3.0F), 1 / 3.0F);
  EXPECT_EQ(once<float>("sqrt.rn.f32", 2.0F), std::sqrt(2.0F));
  EXPECT_EQ(once<float>("copysign.f32", -1.0F, 3.0F), -3.0F);
  EXPECT_EQ(once<float>("neg.f32", 3.0F), -3.0F);
  EXPECT_EQ(once<double>("abs.f64", -3.0), 3.0);
  EXPECT_EQ(once<float>("selp.f32", 1.0F, 2.0F, 1U), 1.0F);
  EXPECT_EQ(once<float>("selp.f32", 1.0F, 2.0F, 0U), 2.0F);
}

TEST(PtxScalar, SubnormalsGoWhereTheInstructionSaysSo) {
  EXPECT_EQ(once<float>("ex2.approx.f32", -130.0F), 0x1p-130F);
  EXPECT_EQ(once<float>("ex2.approx.ftz.f32", -130.0F), 0.0F);
  EXPECT_EQ(once<float>("ex2.approx.ftz.f32", 3.0F), 8.0F);
  EXPECT_EQ(once<float>("rcp.approx.ftz.f32", 0x1p-130F), kInf);
  EXPECT_EQ(once<float>("lg2.approx.f32", 8.0F), 3.0F);
}

TEST(PtxScalar, TheOtherOfANanIsTheLeastAndTheLargest) {
  EXPECT_EQ(once<float>("min.f32", kNan, 2.0F), 2.0F);
  EXPECT_EQ(once<float>("max.f32", 2.0F, kNan), 2.0F);
  EXPECT_TRUE(std::isnan(once<float>("max.f32", kNan, kNan)));
  EXPECT_TRUE(std::signbit(once<float>("min.f32", 0.0F, -0.0F)));
  EXPECT_FALSE(std::signbit(once<double>("max.f64", -0.0, 0.0)));
}

TEST(PtxScalar, ComparisonsWithNan) {
  for (const char* order : {"eq", "ne", "lt", "le", "gt", "ge"}) {
    EXPECT_FALSE(once<bool>(fmt::format("setp.{}.f32", order), kNan, 1.0F)) << order;
    EXPECT_TRUE(once<bool>(fmt::format("setp.{}u.f32", order), 1.0F, kNan)) << order;
  }
  EXPECT_TRUE(once<bool>("setp.nan.f64", kNan64, 1.0));
  EXPECT_FALSE(once<bool>("setp.num.f32", kNan, 1.0F));
  EXPECT_TRUE(once<bool>("setp.num.f32", 0.0F, 1.0F));
  EXPECT_TRUE(once<bool>("setp.ltu.f32", 0.0F, 1.0F));
  EXPECT_FALSE(once<bool>("setp.gtu.f32", 0.0F, 1.0F));
  EXPECT_TRUE(once<bool>("setp.lt.s32", -1, 1));
  EXPECT_FALSE(once<bool>("setp.lt.u32", ~0U, 1U));
  EXPECT_TRUE(once<bool>("setp.hi.u32", ~0U, 1U));
  EXPECT_TRUE(once<bool>("setp.eq.s16", u16{65535}, u16{65535}));
}

TEST(PtxScalar, PredicatesGuardInstructions) {
  const std::string body = R"(
    setp.lt.u32 %p0, %r0, 2;
    setp.eq.u32 %p1, %r0, 1;
    not.pred %p2, %p1;
    and.pred %p3, %p0, %p2;
    or.pred %p4, %p3, %p1;
    xor.pred %p5, %p4, %p0;
    mov.u32 %r1, 7;
    @%p3 mov.u32 %r1, 1;
    @!%p0 mov.u32 %r1, 2;
    @%p5 mov.u32 %r1, 9;
    @%p1 bra $skip;
    add.s32 %r1, %r1, 10;
$skip:)";
  EXPECT_EQ(by_thread(body, std::vector<u32>{}, {.threads = 3}), (std::vector<u32>{11, 7, 12}));
}

TEST(PtxScalar, Conversions) {
  EXPECT_EQ(once<s32>("cvt.rni.s32.f32", 2.5F), 2);
  EXPECT_EQ(once<s32>("cvt.rzi.s32.f64", -2.9), -2);
  EXPECT_EQ(once<s32>("cvt.rmi.s32.f32", -2.1F), -3);
  EXPECT_EQ(once<s32>("cvt.rpi.s32.f32", 2.1F), 3);
  EXPECT_EQ(once<s32>("cvt.rzi.s32.f32", 3e9F), kMost);
  EXPECT_EQ(once<u32>("cvt.rzi.u32.f32", -1.0F), 0U);
  EXPECT_EQ(once<s64>("cvt.rzi.s64.f64", 1e30), std::numeric_limits<s64>::max());
  EXPECT_EQ(once<s32>("cvt.rzi.s32.f32", kNan), 0);
  EXPECT_EQ(once<s32>("cvt.rzi.s32.f64", kNan64), kLeast);
  EXPECT_EQ(once<u64>("cvt.rzi.u64.f32", kNan), u64{1} << 63);
  EXPECT_EQ(once<float>("cvt.rni.f32.f32", 3.5F), 4.0F);
  EXPECT_EQ(once<double>("cvt.rzi.f64.f64", -3.5), -3.0);
  EXPECT_EQ(once<float>("cvt.sat.f32.f32", 1.5F), 1.0F);
  EXPECT_EQ(once<float>("cvt.sat.f32.f32", kNan), 0.0F);
  EXPECT_EQ(once<float>("cvt.rn.f32.s32", -5), -5.0F);
  EXPECT_EQ(once<float>("cvt.rn.f32.u64", ~u64{0}), 0x1p64F);
  EXPECT_EQ(once<float>("cvt.rn.f32.f64", 0.1), 0.1F);
  EXPECT_EQ(once<double>("cvt.f64.f32", 0.1F), static_cast<double>(0.1F));
  EXPECT_EQ(once<s64>("cvt.s64.s32", -5), -5);
  EXPECT_EQ(once<u64>("cvt.u64.u32", ~0U), 0xffffffffU);
  EXPECT_EQ(once<s32>("cvt.s32.s8", s8{-3}), -3);
  EXPECT_EQ(once<s32>("cvt.s8.s32", 0x1ff), -1);  // narrowed, then extended into the register
  EXPECT_EQ(once<u32>("cvt.u16.u64", u64{0x12345678}), 0x5678U);
  EXPECT_EQ(once<s32>("cvt.sat.s8.s32", 300), 127);
  EXPECT_EQ(once<u32>("cvt.sat.u8.s32", -5), 0U);
  EXPECT_EQ(once<u32>("cvt.rn.bf16x2.f32", 1.0F, -2.0F), 0x3f80c000U);
  EXPECT_EQ(once<u16>("cvt.rn.bf16.f32", 1 + 0x1p-8F), 0x3f80);  // half way: to even
  EXPECT_EQ(once<u16>("cvt.rn.bf16.f32", kNan), 0x7fff);
}

TEST(PtxScalar, MovesPackAndUnpack) {
  const auto got = run_small<u32>(R"(
    ld.global.u64 %d4, [%d0];
    mov.b64 {%r1, %r2}, %d4;
    mov.b64 %d5, {%r2, %r1};
    { .reg .b32 %r1; mov.b64 {_, %r1}, %d4; add.s32 %r3, %r1, 1; }
    st.global.u64 [%d1], %d5;
    st.global.u32 [%d1+8], %r3;
    st.global.u32 [%d1+12], 0f3F800000;)",
                                  std::vector<u64>{0x0000000200000001}, 4);
  EXPECT_EQ(got, (std::vector<u32>{2, 1, 3, 0x3f800000}));
}

}  // namespace
}  // namespace spn::ptx
