// Memory whose end lies at a page that nobody may touch, and whose front is watched: what reads or writes past an
// allocation ends the test there. New memory holds NaNs.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "engine/core/check.h"

namespace spn::emulator {

class Guarded {
 public:
  // Aligned to 16 bytes, as a kernel's 16-byte access needs: up to 15 bytes between the end and the page are watched by
  // value (check_edges) only.
  explicit Guarded(std::size_t bytes) : bytes_(bytes) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE)), padded = (bytes + 15) / 16 * 16;
    const std::size_t body = (padded + kFront + page - 1) / page * page;
    mapped_ = body + page;
    void* p = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(p != MAP_FAILED, "emulator", "cannot map {} bytes", mapped_);
    base_ = static_cast<std::byte*>(p);
    check(mprotect(base_ + body, page, PROT_NONE) == 0, "emulator", "cannot protect a page");
    data_ = base_ + body - padded;
    std::memset(data_ - kFront, kPoison, kFront + padded);
  }
  Guarded(Guarded&& o) noexcept
      : bytes_(o.bytes_), mapped_(o.mapped_), base_(std::exchange(o.base_, nullptr)), data_(o.data_) {}
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  Guarded& operator=(Guarded&&) = delete;
  ~Guarded() {
    if (base_ != nullptr) munmap(base_, mapped_);
  }

  void* data() const { return data_; }
  std::size_t size() const { return bytes_; }
  // False when bytes just before or after the memory were written.
  bool edges_intact() const {
    const std::size_t padded = (bytes_ + 15) / 16 * 16;
    for (std::size_t i = 0; i < kFront; ++i)
      if (*(data_ - 1 - i) != std::byte{kPoison}) return false;
    for (std::size_t i = bytes_; i < padded; ++i)
      if (data_[i] != std::byte{kPoison}) return false;
    return true;
  }

 private:
  static constexpr std::size_t kFront = 256;
  static constexpr unsigned char kPoison = 0xff;
  std::size_t bytes_, mapped_ = 0;
  std::byte *base_ = nullptr, *data_ = nullptr;
};

}  // namespace spn::emulator
