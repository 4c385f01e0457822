// A .ptx file as nvcc writes it, taken apart into kernels. A kernel is decoded when it is first asked for; an opcode
// that nobody knows is an error only when it is carried out.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/ptx/instruction.h"
#include "tests/support/ptx/text.h"

namespace spn::ptx {

// Variables of a module: constant tables of nvcc's own functions, for the most part.
using Globals = std::map<std::string, std::vector<std::byte>, std::less<>>;

struct Parameter {
  std::size_t at, bytes;
};

// %tid, %ntid, %ctaid, %nctaid, each x, y and z, and %laneid: the first registers of every kernel.
inline constexpr int kSpecials = 13;

struct Kernel {
  std::string name;
  std::vector<Instruction> code;
  std::vector<u64> registers;  // as they are when a thread begins
  std::vector<Parameter> parameters;
  std::size_t parameter_bytes = 0;
  std::size_t static_shared = 0;  // dynamic shared memory lies behind it
  std::size_t local_bytes = 0;
  unsigned most_threads = 0;  // .maxntid; 0: no limit
  std::shared_ptr<const Globals> globals;
};

// A kernel's text, and what of its module it may name.
struct KernelText {
  std::string name, parameters, directives, body;
  std::vector<Variable> shared;      // of the module
  std::vector<std::string> dynamic;  // names of the extern one
  std::shared_ptr<const Globals> globals;
};
Kernel parse_kernel(const KernelText& text);

class Program {
 public:
  explicit Program(std::string_view text);
  static Program read(const std::string& path);

  // Null where there is none.
  const Kernel* find(std::string_view name);
  std::vector<std::string> names() const;

 private:
  struct Entry {
    KernelText text;
    std::optional<Kernel> kernel;
  };
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace spn::ptx
