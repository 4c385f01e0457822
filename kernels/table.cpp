#include "kernels/table.h"

#include <string_view>

namespace spn::kernels {
const Table& table_for(const Device& device) {
  if (device.type == DeviceType::cpu) return cpu_table();
  if (device.type == DeviceType::meta) return meta_table();
  const Table* cuda = cuda_table();
  if (cuda == nullptr)
    fail_usage("device", "this build has no CUDA backend; run with --device cpu, or build where nvcc is found");
  return *cuda;
}

namespace detail {

std::string_view entry_name(std::string_view pretty) {
  const std::size_t at = pretty.rfind("Table::");
  if (at == std::string_view::npos) return pretty;
  pretty.remove_prefix(at + 7);
  return pretty.substr(0, pretty.find_first_of(")];, >"));
}

void missing_entry(const char* args, const Device& device, DType dtype) {
  fail("kernels", "{} has no {} kernel (first argument is {}); write it under kernels/{}/ and name it in its table.cpp",
       entry_name(args), to_string(device), name_of(dtype),
       device.type == DeviceType::cuda ? "cuda" : to_string(device));
}

void mixed_devices(const char* args, const Device& a, const Device& b) {
  fail("kernels", "{}: expected all arguments on one device, got {} and {}; move them with Tensor::to",
       entry_name(args), to_string(a), to_string(b));
}

}  // namespace detail
}  // namespace spn::kernels
