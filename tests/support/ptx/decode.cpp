#include "tests/support/ptx/decode.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/core/check.h"
#include "tests/support/ptx/memory_ops.h"
#include "tests/support/ptx/text.h"
#include "tests/support/ptx/warp_ops.h"

namespace spn::ptx {
namespace {

using Operands = std::vector<std::string>;
constexpr u32 kWholeWarp = 0xffffffffU;

void not_interpreted(Thread& t, const Instruction& i) {
  fail_at(t, i, "expected an instruction that is known, got one that is not");
}
void nothing(Thread&, const Instruction&) {}
void read_clock(Thread& t, const Instruction& i) {
  t.registers[i.to[0]] = static_cast<u64>(std::chrono::steady_clock::now().time_since_epoch().count());
}

// nvcc's own function, which its double-precision pow calls: the host's result stands for it.
void call_pow(Thread& t, const Instruction& i) {
  put<double>(t, i, std::pow(value<double>(t, i.from[0]), value<double>(t, i.from[1])));
}

// mov of a vector into one register, or out of one.
void pack_parts(Thread& t, const Instruction& i) {
  u64 v = 0;
  for (int k = 0; k < i.count; ++k) {
    const u64 part = t.registers[i.from[static_cast<std::size_t>(k)]] & ((u64{1} << i.bits) - 1);
    v |= part << (k * i.bits);
  }
  t.registers[i.to[0]] = v;
}
void unpack_parts(Thread& t, const Instruction& i) {
  const u64 v = t.registers[i.from[0]];
  for (int k = 0; k < i.count; ++k)
    if (const int to = i.to[static_cast<std::size_t>(k)]; to != kNoRegister)
      t.registers[to] = v >> (k * i.bits) & ((u64{1} << i.bits) - 1);
}

template <Space space>
Operation memory_operation(bool load_it, int n, const std::string& type) {
  return choose<u8, s8, u16, s16, u32, s32, u64, s64, float, double>(type, [&]<class T>() -> Operation {
    if (n == 1) return load_it ? load<space, T, 1> : store<space, T, 1>;
    if (n == 2) return load_it ? load<space, T, 2> : store<space, T, 2>;
    if constexpr (sizeof(T) <= 4) return load_it ? load<space, T, 4> : store<space, T, 4>;
    return nullptr;
  });
}
Operation memory_operation(const Opcode& op, int n) {
  const bool load_it = op.base == "ld";
  if (op.has("global") || op.has("const")) return memory_operation<Space::global>(load_it, n, op.type());
  if (op.has("shared")) return memory_operation<Space::shared>(load_it, n, op.type());
  if (op.has("local")) return memory_operation<Space::local>(load_it, n, op.type());
  if (op.has("param")) return memory_operation<Space::parameters>(load_it, n, op.type());
  return memory_operation<Space::generic>(load_it, n, op.type());
}

template <Space space>
Operation address_operation(bool to_space) {
  return to_space ? convert_address<space, true> : convert_address<space, false>;
}
Operation address_operation(const Opcode& op) {
  if (op.has("shared")) return address_operation<Space::shared>(op.has("to"));
  if (op.has("local")) return address_operation<Space::local>(op.has("to"));
  if (op.has("param")) return address_operation<Space::parameters>(op.has("to"));
  return address_operation<Space::global>(op.has("to"));
}

// Fills in an instruction; each part says whether it understood.
class Decoder {
 public:
  Decoder(const Opcode& op, const Operands& operands, Names& names, Decoded& into)
      : op_(op), operands_(operands), names_(names), label_(into.label), i_(into.instruction) {}

  bool decode() {
    const std::string& base = op_.base;
    if (base == "bra" || base == "ret" || base == "exit") return flow();
    if (base == "bar" || base == "barrier") return barrier();
    if (base == "shfl" || base == "vote") return exchange();
    if (base == "ldmatrix" || base == "mma") return tiles();
    if (base == "cp") return copies();
    if (base == "ld" || base == "st") return access();
    if (base == "cvta") return in_order(address_operation(op_));
    if (base == "cvt") return in_order(conversion(op_));
    if (base == "mov" && operands_.size() == 2 && (packs(0) || packs(1))) return parts();
    if (base == "call") return call();
    if (base == "membar" || base == "fence") return run(nothing);  // one thread at a time
    if (base == "nanosleep") return run(nothing);
    if (base == "mov" && operands_.size() == 2 && operands_[1] == "%globaltimer") return clock();
    return in_order(scalar_operation(op_));
  }

 private:
  bool run(Operation f) {
    i_.run = f;
    return f != nullptr;
  }
  bool together(WarpOperation f, int mask) {
    i_.step = Step::warp;
    i_.warp = f;
    i_.mask = mask;
    return true;
  }
  bool packs(std::size_t k) const { return operands_[k].front() == '{'; }

  // The destination, then the sources.
  bool in_order(Operation f) {
    if (f == nullptr || operands_.size() < 2 || operands_.size() > 5 || operands_[0].find('|') != std::string::npos)
      return false;
    i_.to[0] = names_.operand(operands_[0]);
    for (std::size_t k = 1; k < operands_.size(); ++k) i_.from[k - 1] = names_.operand(operands_[k]);
    return run(f);
  }
  bool vector(std::array<int, 4>& registers, const std::string& operand, std::size_t n) {
    const std::vector<int> all = names_.operands(operand);
    if (all.size() != n || n > registers.size()) return false;
    std::copy(all.begin(), all.end(), registers.begin());
    return true;
  }
  void address(const std::string& operand) {
    const Names::Address a = names_.address(operand);
    i_.base = a.base;
    i_.offset = a.offset;
  }

  bool clock() {
    i_.to[0] = names_.operand(operands_[0]);
    return run(read_clock);
  }

  bool flow() {
    i_.step = op_.base == "bra" ? Step::branch : Step::leave;
    if (op_.base == "bra") label_ = operands_.at(0);
    return true;
  }

  bool barrier() {
    if (op_.has("warp")) return together(warp_barrier, names_.operand(operands_.at(0)));
    const bool of_all = operands_.size() == 1 && operands_[0] == "0" && op_.has("sync");
    if (of_all) i_.step = Step::block_barrier;
    return of_all;
  }

  bool exchange() {
    if (!op_.has("sync")) return false;
    const std::string& first = operands_.at(0);
    if (op_.base == "shfl") {
      const auto bar = first.find('|');
      i_.to[0] = names_.operand(first.substr(0, bar));
      if (bar != std::string::npos) i_.to[1] = names_.operand(first.substr(bar + 1));
      for (std::size_t k = 0; k < 3; ++k) i_.from[k] = names_.operand(operands_.at(k + 1));
      const WarpOperation f = op_.has("up")     ? shuffle<Shuffle::up>
                              : op_.has("down") ? shuffle<Shuffle::down>
                              : op_.has("bfly") ? shuffle<Shuffle::butterfly>
                                                : shuffle<Shuffle::index>;
      return together(f, names_.operand(operands_.at(4)));
    }
    i_.to[0] = names_.operand(first);
    i_.negated = operands_.at(1).front() == '!';
    i_.from[0] = names_.operand(operands_[1].substr(i_.negated ? 1 : 0));
    const WarpOperation f = op_.has("ballot") ? vote<Vote::ballot>
                            : op_.has("any")  ? vote<Vote::any>
                            : op_.has("all")  ? vote<Vote::all>
                                              : vote<Vote::uniform>;
    return together(f, names_.operand(operands_.at(2)));
  }

  bool tiles() {
    const int whole = names_.constant(kWholeWarp);
    if (op_.base == "ldmatrix") {
      if (!op_.only({"sync", "aligned", "m8n8", "x1", "x2", "x4", "trans", "shared"}) || op_.type() != "b16")
        return false;
      i_.count = op_.has("x4") ? 4 : op_.has("x2") ? 2 : 1;
      if (!vector(i_.to, operands_.at(0), static_cast<std::size_t>(i_.count))) return false;
      address(operands_.at(1));
      return together(op_.has("trans") ? load_tiles<true> : load_tiles<false>, whole);
    }
    static const std::vector<std::string> known = {"sync", "aligned", "m16n8k16", "row", "col",
                                                   "f32",  "bf16",    "bf16",     "f32"};
    if (op_.modifiers != known || !vector(i_.to, operands_.at(0), 4)) return false;
    for (std::size_t k = 1; k < 4; ++k)
      for (const int r : names_.operands(operands_.at(k))) i_.factors.push_back(r);
    return i_.factors.size() == 10 && together(multiply_tiles, whole);
  }

  bool copies() {
    if (!op_.has("async") || op_.has("bulk")) return false;
    if (op_.has("commit_group")) return run(commit_copies);
    if (op_.has("wait_all")) return run(await_all_copies);
    if (op_.has("wait_group")) {
      i_.offset = std::stoll(operands_.at(0));
      return run(await_copies);
    }
    if (!op_.has("shared") || op_.type() != "global" || operands_.size() < 3) return false;
    address(operands_[0]);
    const Names::Address source = names_.address(operands_[1]);
    i_.from[0] = source.base;
    i_.from[1] = names_.operand(operands_.size() > 3 ? operands_[3] : operands_[2]);
    i_.from[2] = names_.constant(static_cast<u64>(source.offset));
    i_.bits = std::stoi(operands_[2]);
    return run(begin_copy);
  }

  bool access() {
    const bool load_it = op_.base == "ld";
    const std::string &values = operands_.at(load_it ? 0 : 1), &memory = operands_.at(load_it ? 1 : 0);
    if (op_.has("param")) {  // of a call: a register
      const auto name = split(inside_brackets(memory), '+');
      if (!name.empty() && names_.is_call_parameter(name[0])) {
        i_.to[0] = names_.operand(load_it ? values : name[0]);
        i_.from[0] = names_.operand(load_it ? name[0] : values);
        return run([](Thread& t, const Instruction& i) { t.registers[i.to[0]] = t.registers[i.from[0]]; });
      }
    }
    if (!op_.only({"global", "shared",  "local",   "param",   "const", "nc",  "volatile", "v2",
                   "v4",     "ca",      "cg",      "cs",      "lu",    "cv",  "wb",       "wt",
                   "weak",   "relaxed", "acquire", "release", "cta",   "gpu", "sys"}))
      return false;
    i_.count = op_.has("v4") ? 4 : op_.has("v2") ? 2 : 1;
    if (!vector(load_it ? i_.to : i_.from, values, static_cast<std::size_t>(i_.count))) return false;
    address(memory);
    return run(memory_operation(op_, i_.count));
  }

  bool parts() {
    const bool into_one = packs(1);
    const std::vector<int> all = names_.operands(operands_[into_one ? 1 : 0]);
    i_.count = static_cast<int>(all.size());
    i_.bits = bits_of(op_.type()) / i_.count;
    std::copy_n(all.begin(), std::min<std::size_t>(all.size(), 4), into_one ? i_.from.begin() : i_.to.begin());
    (into_one ? i_.to : i_.from)[0] = names_.operand(operands_[into_one ? 0 : 1]);
    return all.size() <= 4 && run(into_one ? pack_parts : unpack_parts);
  }

  // (result), name, (arguments)
  bool call() {
    if (operands_.size() != 3 || operands_[1] != "__internal_accurate_pow") return false;
    i_.to[0] = names_.operand(inside_brackets(operands_[0]));
    const auto arguments = split(inside_brackets(operands_[2]), ',');
    for (std::size_t k = 0; k < 2; ++k) i_.from[k] = names_.operand(arguments.at(k));
    return run(call_pow);
  }

  const Opcode& op_;
  const Operands& operands_;
  Names& names_;
  std::string& label_;
  Instruction& i_;
};

}  // namespace

bool Opcode::has(std::string_view modifier) const {
  return std::find(modifiers.begin(), modifiers.end(), modifier) != modifiers.end();
}
bool Opcode::only(std::initializer_list<std::string_view> known) const {
  return modifiers.empty() || std::all_of(modifiers.begin(), modifiers.end() - 1, [&](const std::string& m) {
           return std::find(known.begin(), known.end(), m) != known.end();
         });
}

Decoded decode(const std::string& text, Names& names) {
  Decoded d;
  d.instruction.text = text;
  std::string_view rest = text;
  if (rest.front() == '@') {
    d.instruction.guard_negated = rest[1] == '!';
    const auto end = rest.find_first_of(" \t\n");
    d.instruction.guard =
        names.operand(rest.substr(d.instruction.guard_negated ? 2 : 1, end - (d.instruction.guard_negated ? 2 : 1)));
    rest = rest.substr(rest.find_first_not_of(" \t\n", end));
  }
  const auto end = std::min(rest.find_first_of(" \t\n"), rest.size());
  Opcode op;
  op.modifiers = split(rest.substr(0, end), '.');
  check(!op.modifiers.empty(), "ptx", "expected an instruction, got '{}'", text);
  op.base = op.modifiers.front();
  op.modifiers.erase(op.modifiers.begin());
  const Instruction before = d.instruction;
  if (!Decoder(op, split(rest.substr(end), ','), names, d).decode()) {
    d.instruction = before;
    d.instruction.run = not_interpreted;
  }
  return d;
}

}  // namespace spn::ptx
