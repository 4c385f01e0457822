// oneDNN for the kernels that use it: the engine and stream, memory descriptors of views, and a cache of built
// primitives (building one generates code: milliseconds; a training step meets the same shapes every time).
#pragma once

#include <oneapi/dnnl/dnnl.hpp>

#include <array>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "engine/core/view.h"

namespace spn::kernels::cpu {

// One engine a process, one stream a thread.
const dnnl::engine& dnnl_engine();
dnnl::stream& dnnl_stream();

// Whether bf16 goes to oneDNN as it is: true where the CPU has instructions for it (AVX-512 BF16, AMX) and
// ONEDNN_MAX_CPU_ISA does not forbid them. Elsewhere products and convolutions widen bf16 to f32 (widen.h), also where
// oneDNN would emulate them.
bool dnnl_multiplies_bf16();

// Whether oneDNN runs its AVX-512 kernels; without them some of its kernels lose to others of its own.
bool dnnl_has_avx512();

// Throws for i64 and f64, which oneDNN 2.6 does not compute with.
dnnl::memory::data_type dnnl_type(DType t);
inline dnnl::memory::dims dnnl_dims(const Shape& s) { return {s.begin(), s.end()}; }
// The view as it lies: its own shape and strides.
inline dnnl::memory::desc dnnl_desc(const View& v) {
  return {dnnl_dims(v.shape), dnnl_type(v.dtype), dnnl_dims(v.strides)};
}
inline dnnl::memory dnnl_memory(const dnnl::memory::desc& d, void* data) { return {d, dnnl_engine(), data}; }

// What a primitive was built for: numbers and the dtype, shape and strides of views (never their addresses).
class DnnlKey {
 public:
  DnnlKey& add(std::int64_t v) {
    check(n_ < static_cast<int>(words_.size()), "dnnl", "a key has at most {} numbers", words_.size());
    words_[static_cast<std::size_t>(n_++)] = v;
    return *this;
  }
  DnnlKey& add(const View& v) {
    add(v ? static_cast<std::int64_t>(v.dtype) : -1).add(v.ndim());
    for (std::int64_t e : v.shape) add(e);
    for (std::int64_t e : v.strides) add(e);
    return *this;
  }
  friend bool operator==(const DnnlKey& a, const DnnlKey& b) {
    if (a.n_ != b.n_) return false;
    for (std::size_t i = 0; i < static_cast<std::size_t>(a.n_); ++i)
      if (a.words_[i] != b.words_[i]) return false;
    return true;
  }
  std::size_t hash() const {
    std::uint64_t h = 1469598103934665603ull;  // FNV-1a over words
    for (std::size_t i = 0; i < static_cast<std::size_t>(n_); ++i) {
      h = (h ^ static_cast<std::uint64_t>(words_[i])) * 1099511628211ull;
      h ^= h >> 29;
    }
    return h;
  }

 private:
  std::array<std::int64_t, 80> words_{};
  int n_ = 0;
};

// Entry: whatever one shape needs (primitive, descriptors of blocked weights, …). Use a function-local
// `static thread_local DnnlCache<Entry> cache;`. References stay valid until kLimit shapes were met.
template <class Entry>
class DnnlCache {
 public:
  template <class Make>
  Entry& get(const DnnlKey& key, Make&& make) {
    if (auto it = entries_.find(key); it != entries_.end()) return it->second;
    if (entries_.size() >= kLimit) entries_.clear();
    return entries_.emplace(key, make()).first->second;
  }

 private:
  static constexpr std::size_t kLimit = 2048;
  struct Hash {
    std::size_t operator()(const DnnlKey& k) const { return k.hash(); }
  };
  std::unordered_map<DnnlKey, Entry, Hash> entries_;
};

// Runs f; an error of oneDNN becomes ours, naming the kernel.
[[noreturn]] void dnnl_failed(const char* where, const dnnl::error& e);
template <class F>
decltype(auto) dnnl_call(const char* where, F&& f) {
  try {
    return std::forward<F>(f)();
  } catch (const dnnl::error& e) {
    dnnl_failed(where, e);
  }
}

}  // namespace spn::kernels::cpu
