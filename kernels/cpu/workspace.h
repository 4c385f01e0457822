// Memory that a kernel keeps between calls: it grows to the largest request and is freed with its thread.
#pragma once

#include "kernels/cpu/kernels.h"

namespace spn::kernels::cpu {

class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  ~Workspace() { drop(); }
  // At least that many bytes, 64-byte aligned, uninitialised; valid until the next get().
  void* get(std::size_t bytes) {
    if (bytes > bytes_) {
      drop();
      data_ = alloc(bytes);
      bytes_ = bytes;
    }
    return data_;
  }

 private:
  void drop() {
    if (data_ != nullptr) release(data_, bytes_);
    data_ = nullptr;
    bytes_ = 0;
  }
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace spn::kernels::cpu
