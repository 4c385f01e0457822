// Opcodes of arithmetic and their modifiers, to functions of scalar_ops.h.
#include <functional>

#include "tests/support/ptx/decode.h"
#include "tests/support/ptx/scalar_ops.h"

namespace spn::ptx {
namespace {

template <class F>
Operation unary_of_floats(std::string_view type) {
  return choose_float(type, []<class T>() -> Operation { return unary<T, F>; });
}
template <class F>
Operation binary_of_integers(std::string_view type) {
  return choose_integer(type, []<class T>() -> Operation { return binary<T, F>; });
}
template <class F>
Operation binary_of_any(std::string_view type) {
  return choose_any(type, []<class T>() -> Operation { return binary<T, F>; });
}
// Of predicates, or of integers bit by bit.
template <class F>
Operation logic(std::string_view type) {
  return type == "pred" ? of_predicates<F> : binary_of_integers<F>(type);
}

template <class F>
Operation comparison(std::string_view type, bool or_nan) {
  if (or_nan) return choose_float(type, []<class T>() -> Operation { return compare<T, F, true>; });
  return choose_any(type, []<class T>() -> Operation { return compare<T, F, false>; });
}
struct Never {
  bool operator()(auto, auto) const { return false; }
};
struct Always {
  bool operator()(auto, auto) const { return true; }
};
Operation comparison_of(const Opcode& op) {
  if (op.modifiers.size() != 2) return nullptr;  // with a boolean operation, or flushing
  const std::string& name = op.modifiers[0];
  const bool or_nan = name.size() == 3 && name.back() == 'u';
  const std::string order = or_nan ? name.substr(0, 2) : name;
  const std::string& type = op.type();
  if (order == "eq") return comparison<std::equal_to<>>(type, or_nan);
  if (order == "ne") return comparison<std::not_equal_to<>>(type, or_nan);
  if (order == "lt" || order == "lo") return comparison<std::less<>>(type, or_nan);
  if (order == "le" || order == "ls") return comparison<std::less_equal<>>(type, or_nan);
  if (order == "gt" || order == "hi") return comparison<std::greater<>>(type, or_nan);
  if (order == "ge" || order == "hs") return comparison<std::greater_equal<>>(type, or_nan);
  if (order == "nan") return comparison<Never>(type, true);
  if (order == "num") return choose_float(type, []<class T>() -> Operation { return compare<T, Always, false>; });
  return nullptr;
}

template <bool subtract>
Operation carried(bool in, bool out, std::string_view type) {
  return choose<u32, s32, u64, s64>(type, [&]<class T>() -> Operation {
    using U = std::make_unsigned_t<T>;
    if (in) return out ? add_with_carry<U, true, true, subtract> : add_with_carry<U, true, false, subtract>;
    return add_with_carry<U, false, true, subtract>;
  });
}
template <bool high>
Operation carried_product(bool in, bool out, std::string_view type) {
  return choose<u32, u64>(type, [&]<class T>() -> Operation {
    if (in) return out ? multiply_add_with_carry<T, high, true, true> : multiply_add_with_carry<T, high, true, false>;
    return multiply_add_with_carry<T, high, false, true>;
  });
}
Operation with_carry(const Opcode& op) {
  const bool in = op.base.back() == 'c', out = op.has("cc");
  if (op.base.starts_with("mad"))
    return op.has("hi") ? carried_product<true>(in, out, op.type()) : carried_product<false>(in, out, op.type());
  return op.base.starts_with("add") ? carried<false>(in, out, op.type()) : carried<true>(in, out, op.type());
}

template <bool add>
Operation wide_product(std::string_view type) {
  if (type == "s32") return multiply_wide<s32, s64, add>;
  if (type == "u32") return multiply_wide<u32, u64, add>;
  if (type == "s16") return multiply_wide<s16, s32, add>;
  return type == "u16" ? multiply_wide<u16, u32, add> : nullptr;
}
Operation product(const Opcode& op) {
  const std::string& type = op.type();
  if (op.has("wide")) return wide_product<false>(type);
  if (op.has("hi")) return binary_of_integers<MultiplyHigh>(type);
  return binary_of_any<Multiply>(type);
}
Operation product_and_sum(const Opcode& op) {
  const std::string& type = op.type();
  if (op.has("wide")) return wide_product<true>(type);
  if (op.has("hi")) return choose_integer(type, []<class T>() -> Operation { return ternary<T, MultiplyHighAdd>; });
  if (op.has("lo")) return choose_integer(type, []<class T>() -> Operation { return ternary<T, MultiplyAdd>; });
  return nullptr;
}
Operation fused(const Opcode& op) {
  if (op.has("rm"))
    return choose_float(op.type(), []<class T>() -> Operation { return ternary<T, FusedMultiplyAddDown>; });
  return choose_float(op.type(), []<class T>() -> Operation { return ternary<T, FusedMultiplyAdd>; });
}

// f32 functions to some units in the last place: here, exact ones.
template <class F>
Operation approximate(const Opcode& op) {
  if (!op.only({"approx", "ftz"}) || op.type() != "f32") return nullptr;
  return op.has("ftz") ? unary<float, FlushToZero<F>> : unary<float, F>;
}
Operation reciprocal(const Opcode& op) {
  if (op.has("approx")) return op.type() == "f64" ? unary<double, ReciprocalHigh> : approximate<Reciprocal>(op);
  return op.only({"rn"}) ? unary_of_floats<Reciprocal>(op.type()) : nullptr;
}
Operation square_root(const Opcode& op) {
  if (op.has("approx")) return approximate<SquareRoot>(op);
  return op.only({"rn"}) ? unary_of_floats<SquareRoot>(op.type()) : nullptr;
}

Operation of_bits(const Opcode& op) {
  const auto pick = [&](Operation narrow, Operation wide) {
    return op.type() == "b64" ? wide : op.type() == "b32" ? narrow : nullptr;
  };
  if (op.base == "popc") return pick(count_ones<u32>, count_ones<u64>);
  if (op.base == "clz") return pick(count_leading_zeros<u32>, count_leading_zeros<u64>);
  return pick(insert_bits<u32>, insert_bits<u64>);
}

}  // namespace

Operation scalar_operation(const Opcode& op) {
  const std::string &base = op.base, &type = op.type();
  if (base == "setp") return comparison_of(op);
  if (base == "rcp") return reciprocal(op);
  if (base == "sqrt") return square_root(op);
  if (base == "ex2") return approximate<PowerOfTwo>(op);
  if (base == "lg2") return approximate<LogarithmOfTwo>(op);
  if (op.has("cc") || base == "addc" || base == "subc" || base == "madc")
    return op.only({"cc", "lo", "hi"}) ? with_carry(op) : nullptr;
  if (base == "fma") return op.only({"rn", "rm"}) ? fused(op) : nullptr;
  if (!op.only({"rn", "lo", "hi", "wide"})) return nullptr;
  if (base == "mov") {
    if (type == "pred") return of_predicate<Same>;
    return choose_any(type, []<class T>() -> Operation { return unary<T, Same>; });
  }
  if (base == "add") return binary_of_any<Add>(type);
  if (base == "sub") return binary_of_any<Subtract>(type);
  if (base == "mul") return product(op);
  if (base == "mad") return product_and_sum(op);
  if (base == "div") return binary_of_any<Divide>(type);
  if (base == "rem") return binary_of_integers<Remainder>(type);
  if (base == "min") return binary_of_any<Least>(type);
  if (base == "max") return binary_of_any<Largest>(type);
  if (base == "and") return logic<And>(type);
  if (base == "or") return logic<Or>(type);
  if (base == "xor") return logic<ExclusiveOr>(type);
  if (base == "not") {
    if (type == "pred") return of_predicate<Not>;
    return choose_integer(type, []<class T>() -> Operation { return unary<T, Not>; });
  }
  if (base == "neg") return choose_any(type, []<class T>() -> Operation { return unary<T, Negative>; });
  if (base == "abs")
    return choose<s16, s32, s64, float, double>(type, []<class T>() -> Operation { return unary<T, Absolute>; });
  if (base == "shl") return choose_integer(type, []<class T>() -> Operation { return shift_left<T>; });
  if (base == "shr") return choose_integer(type, []<class T>() -> Operation { return shift_right<T>; });
  if (base == "prmt") return op.type() == "b32" ? ternary<u32, PermuteBytes> : nullptr;
  if (base == "selp") return choose_any(type, []<class T>() -> Operation { return select<T>; });
  if (base == "copysign") return choose_float(type, []<class T>() -> Operation { return binary<T, CopySign>; });
  if (base == "popc" || base == "clz" || base == "bfi") return of_bits(op);
  return nullptr;
}

}  // namespace spn::ptx
