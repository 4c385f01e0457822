// Kernels of a few lines, for tests of the interpreter: `body` finds its input at %d0, room for its results at %d1, its
// thread in %r0; registers %p, %r, %d, %f are declared.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "engine/core/check.h"
#include "tests/support/ptx/run.h"

namespace spn::ptx {

inline std::string small_kernel(const std::string& body) {
  return ".version 8.0\n.target sm_90a\n.address_size 64\n"
         ".extern .shared .align 16 .b8 dynamic[];\n"
         ".visible .entry small(.param .u64 small_in, .param .u64 small_out)\n{\n"
         ".reg .pred %p<8>;\n.reg .b32 %r<40>;\n.reg .b64 %d<16>;\n.reg .f32 %f<16>;\n"
         "ld.param.u64 %d0, [small_in];\nld.param.u64 %d1, [small_out];\nmov.u32 %r0, %tid.x;\n" +
         body + "\nret;\n}\n";
}

struct SmallRun {
  unsigned threads = 1, blocks = 1;
  std::size_t dynamic = 0;
  Options options{};
};

// Its `results` values, which begin as zeros.
template <class R, class T>
std::vector<R> run_small(const std::string& body, const std::vector<T>& in, std::size_t results, SmallRun how = {}) {
  Program program(small_kernel(body));
  std::vector<R> out(results);
  const auto begin = [](const auto& v) { return reinterpret_cast<std::uint64_t>(v.data()); };
  const std::uint64_t from = begin(in), to = begin(out);
  const Memory input{from, from + in.size() * sizeof(T)}, output{to, to + results * sizeof(R)};
  how.options.memory_of = [=](std::uint64_t at) -> std::optional<Memory> {
    if (at >= input.begin && at <= input.end) return input;
    return at >= output.begin && at <= output.end ? std::optional(output) : std::nullopt;
  };
  const Kernel* kernel = program.find("small");
  const std::vector<std::byte> parameters = pack(*kernel, std::vector<Argument>{{&from, 8}, {&to, 8}});
  run(*kernel, {how.blocks}, {how.threads}, how.dynamic, parameters, how.options);
  return out;
}

// One value a thread: `body` leaves its result in %r1.
template <class T>
std::vector<u32> by_thread(const std::string& body, const std::vector<T>& in, SmallRun how) {
  const std::string store = "\nmul.wide.u32 %d2, %r0, 4;\nadd.s64 %d2, %d1, %d2;\nst.global.u32 [%d2], %r1;";
  return run_small<u32>(body + store, in, how.threads, how);
}

// What an instruction makes of these values.
template <class R, class... T>
R once(const std::string& opcode, T... values) {
  std::string body, operands;
  int k = 0;
  for (const std::size_t bytes : {sizeof(T)...}) {
    body += fmt::format("ld.global.b{} %d{}, [%d0+{}];\n", bytes * 8, k + 4, k * 8);
    operands += fmt::format(", %d{}", k + 4);
    ++k;
  }
  if (std::is_same_v<R, bool>)
    body += fmt::format("{} %p0{};\nselp.b32 %d3, 1, 0, %p0;\nst.global.b8 [%d1], %d3;", opcode, operands);
  else
    body += fmt::format("{} %d3{};\nst.global.b{} [%d1], %d3;", opcode, operands, sizeof(R) * 8);
  struct Result {
    R v;
  };
  return run_small<Result>(body, std::vector<u64>{to_bits(values)...}, 1)[0].v;
}

// The error of a kernel that must fail; empty: it ran.
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace spn::ptx
