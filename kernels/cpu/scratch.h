// Thread-local memory that grows and stays, so that kernels do not allocate in a step.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace spn::kernels::cpu {

// Use as a function-local `static thread_local Scratch<float> s;`. Contents survive until a larger get(); fresh memory
// is zero. 64-byte aligned.
template <class T>
class Scratch {
 public:
  T* get(std::int64_t n) {
    if (n > size_) {
      const auto bytes = (static_cast<std::size_t>(n) * sizeof(T) + 63) / 64 * 64;
      memory_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
      if (memory_ == nullptr) throw std::bad_alloc();
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(bytes / sizeof(T)); ++i) memory_.get()[i] = T{};
      size_ = n;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> memory_;
  std::int64_t size_ = 0;
};

}  // namespace spn::kernels::cpu
