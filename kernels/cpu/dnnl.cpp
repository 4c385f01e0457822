// oneDNN's engine and streams, and its errors in our words.
#include "kernels/cpu/dnnl.h"

namespace spn::kernels::cpu {

const dnnl::engine& dnnl_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::stream& dnnl_stream() {
  static thread_local dnnl::stream stream(dnnl_engine());
  return stream;
}

bool dnnl_multiplies_bf16() {
  static const bool yes = [] {
    switch (dnnl::get_effective_cpu_isa()) {
      case dnnl::cpu_isa::avx512_core_bf16:
      case dnnl::cpu_isa::avx512_core_amx: return true;
      default: return false;
    }
  }();
  return yes;
}

bool dnnl_has_avx512() {
  static const bool yes = [] {
    switch (dnnl::get_effective_cpu_isa()) {
      case dnnl::cpu_isa::sse41:
      case dnnl::cpu_isa::avx:
      case dnnl::cpu_isa::avx2:
      case dnnl::cpu_isa::avx2_vnni: return false;
      default: return true;
    }
  }();
  return yes;
}

dnnl::memory::data_type dnnl_type(DType t) {
  using dt = dnnl::memory::data_type;
  switch (t) {
    case DType::f32: return dt::f32;
    case DType::bf16: return dt::bf16;
    case DType::i32: return dt::s32;
    case DType::u8: return dt::u8;
    default: fail("dnnl", "oneDNN does not compute in {}; use the kernel's own loop", name_of(t));
  }
}

void dnnl_failed(const char* where, const dnnl::error& e) {
  fail(where, "oneDNN {}.{}.{} could not do it: {} (status {})", DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR,
       DNNL_VERSION_PATCH, e.message, static_cast<int>(e.status));
}

}  // namespace spn::kernels::cpu
