// Handle: owns one C resource (an HDF5 id, an MPI communicator, a FILE*) and frees it once.
#pragma once

#include <utility>

namespace spn {

// Free is a callable type: void operator()(T) noexcept. Null is the value that owns nothing.
template <class T, T Null, class Free>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T h) noexcept : h_(h) {}
  Handle(Handle&& o) noexcept : h_(std::exchange(o.h_, Null)) {}
  Handle& operator=(Handle&& o) noexcept {
    if (this != &o) {
      reset();
      h_ = std::exchange(o.h_, Null);
    }
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { reset(); }

  T get() const noexcept { return h_; }
  explicit operator bool() const noexcept { return h_ != Null; }
  T release() noexcept { return std::exchange(h_, Null); }
  void reset() noexcept {
    if (h_ != Null) Free{}(std::exchange(h_, Null));
  }

 private:
  T h_ = Null;
};

}  // namespace spn
