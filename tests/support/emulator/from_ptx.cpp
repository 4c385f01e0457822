// Launches that run from PTX. A kernel is found by the name and template arguments of its function: compilers mangle
// the types of its parameters differently where they depend on them, so those are compared by size.
#include <cxxabi.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/check.h"
#include "tests/support/emulator/emulator.h"
#include "tests/support/ptx/program.h"
#include "tests/support/ptx/run.h"
#include "tests/support/ptx/text.h"

namespace spn::emulator {
namespace {

// Of "void ns::kernel<(E)1>(float*)": "ns::kernel<(E)1>".
std::string name_of(const std::string& mangled) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status),
                                                    std::free);
  if (status != 0) return mangled;
  std::string_view name = text.get();
  if (name.starts_with("void ")) name.remove_prefix(5);
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (name[i] == '(' && depth == 0 && !name.substr(i).starts_with("(anonymous"))
      return std::string(name.substr(0, i));
  }
  return std::string(name);
}

class Kernels {
 public:
  explicit Kernels(std::string_view paths) {
    for (const std::string& path : ptx::split(paths, ':')) {
      std::vector<std::filesystem::path> files;
      if (std::filesystem::is_directory(path)) {
        for (const auto& entry : std::filesystem::directory_iterator(path))
          if (entry.path().extension() == ".ptx") files.push_back(entry.path());
      } else {
        files.emplace_back(path);
      }
      check(!files.empty(), "emulator", "expected .ptx files in {}, got none", path);
      std::sort(files.begin(), files.end());
      for (const auto& file : files) {
        programs_.push_back(std::make_unique<ptx::Program>(ptx::Program::read(file.string())));
        for (const std::string& mangled : programs_.back()->names())
          known_[name_of(mangled)].emplace(mangled, programs_.back().get());
      }
    }
  }

  bool empty() const { return known_.empty(); }

  // Null where there is none.
  const ptx::Kernel* find(const void* kernel) {
    if (empty()) return nullptr;
    const auto [it, added] = found_.try_emplace(kernel, nullptr);
    if (added) it->second = search(kernel);
    return it->second;
  }

 private:
  const ptx::Kernel* search(const void* kernel) const {
    Dl_info info{};
    if (dladdr(kernel, &info) == 0 || info.dli_sname == nullptr || info.dli_saddr != kernel) return nullptr;
    const std::string name = name_of(info.dli_sname);
    const auto it = known_.find(name);
    if (it == known_.end()) return nullptr;
    const auto& [mangled, program] = *it->second.begin();
    check(it->second.size() == 1, "emulator", "expected one kernel {} in PTX, got {}: {} …", name, it->second.size(),
          mangled);
    return program->find(mangled);
  }

  std::vector<std::unique_ptr<ptx::Program>> programs_;
  std::map<std::string, std::map<std::string, ptx::Program*>> known_;  // by name: by the whole mangled one
  std::map<const void*, const ptx::Kernel*> found_;
};

Kernels& kernels() {
  static Kernels all = [] {
    const char* paths = std::getenv("SPN_PTX");
    return Kernels(paths != nullptr ? paths : "");
  }();
  return all;
}
std::int64_t g_launches = 0, g_products = 0;

ptx::Options options() {
  ptx::Options o;
  o.backward = order() != Order::forward;
  o.copies_at_once = order() == Order::backward;
  o.global_races = true;  // a tenth of the time
  o.shared_limit = shared_limit();
  o.memory_of = [](std::uint64_t at) -> std::optional<ptx::Memory> {
    const auto memory = memory_around(reinterpret_cast<const void*>(at));
    if (!memory) return std::nullopt;
    const auto begin = reinterpret_cast<std::uint64_t>(memory->data());
    return ptx::Memory{begin, begin + memory->size()};
  };
  return o;
}

}  // namespace

void use_ptx(std::string_view paths) { kernels() = Kernels(paths); }
bool has_ptx() { return !kernels().empty(); }
std::int64_t launches_from_ptx() { return g_launches; }
std::int64_t products_from_ptx() { return g_products; }

bool run_from_ptx(const void* kernel, const Dim3& grid, const Dim3& block, std::size_t shared_bytes,
                  std::span<const Argument> arguments) {
  const ptx::Kernel* found = kernels().find(kernel);
  if (found == nullptr) return false;
  check_launch(grid, block, shared_bytes);
  std::vector<ptx::Argument> given;
  for (const Argument& a : arguments) given.push_back({a.at, a.bytes});
  const ptx::Counts counts = ptx::run(*found, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared_bytes,
                                      ptx::pack(*found, given), options());
  ++g_launches;
  g_products += counts.products;
  count_copies(counts.copies);
  return true;
}

}  // namespace spn::emulator
