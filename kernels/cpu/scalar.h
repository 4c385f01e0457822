// What kernels compute in: bf16 is loaded to and stored from float, the others are themselves.
#pragma once

#include <type_traits>

#include "engine/core/dtype.h"

namespace spn::kernels::cpu {

template <class T>
using compute_t = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

template <class T>
[[gnu::always_inline]] inline compute_t<T> load(const T& v) {
  return static_cast<compute_t<T>>(v);
}
template <class To, class From>
[[gnu::always_inline]] inline To convert(From v) {
  if constexpr (std::is_same_v<To, From>)
    return v;
  else if constexpr (std::is_same_v<To, bf16>)
    return bf16(static_cast<float>(v));
  else if constexpr (std::is_same_v<From, bf16>)
    return static_cast<To>(static_cast<float>(v));
  else
    return static_cast<To>(v);
}

}  // namespace spn::kernels::cpu
