// A kernel's body: declarations, scopes, labels, and instructions that decode() understands.
#include <algorithm>
#include <cctype>

#include "engine/core/check.h"
#include "tests/support/ptx/decode.h"
#include "tests/support/ptx/names.h"
#include "tests/support/ptx/program.h"
#include "tests/support/ptx/text.h"

namespace spn::ptx {
namespace {

std::size_t rounded_up(std::size_t n, std::size_t align) { return (n + align - 1) / align * align; }

class KernelParser {
 public:
  explicit KernelParser(const KernelText& text) : text_(text), names_(kernel_) {
    kernel_.name = text.name;
    kernel_.globals = text.globals;
  }

  Kernel parse() {
    for (const std::string& p : split(text_.parameters, ',')) {
      const Variable d = declaration(p);
      kernel_.parameter_bytes = rounded_up(kernel_.parameter_bytes, d.align);
      names_.place(d.name, kernel_.parameter_bytes);
      kernel_.parameters.push_back({kernel_.parameter_bytes, d.bytes});
      kernel_.parameter_bytes += d.bytes;
    }
    limit_threads();
    place_shared();
    read_body();
    instruction("ret");
    for (const auto& [at, label] : branches_) {
      const auto it = labels_.find(label);
      check(it != labels_.end(), "ptx", "{}: expected a label, got '{}'", kernel_.name, label);
      kernel_.code[at].target = it->second;
    }
    return std::move(kernel_);
  }

 private:
  void limit_threads() {
    const auto at = text_.directives.find(".maxntid");
    if (at == std::string::npos) return;
    kernel_.most_threads = 1;
    const auto end = text_.directives.find('.', at + 1);
    for (const std::string& n : split(std::string_view(text_.directives).substr(at + 8, end - at - 8), ','))
      kernel_.most_threads *= static_cast<unsigned>(std::stoul(n));
  }

  void add_shared(const std::string& name, std::size_t align, std::size_t bytes) {
    kernel_.static_shared = rounded_up(kernel_.static_shared, align);
    names_.place(name, kernel_.static_shared);
    kernel_.static_shared += bytes;
  }
  // Those of the module that the kernel names, then its own; dynamic memory lies behind them all.
  void place_shared() {
    for (const Variable& v : text_.shared)
      if (text_.body.find(v.name) != std::string::npos) add_shared(v.name, v.align, v.bytes);
    for (std::size_t at = 0; (at = text_.body.find(".shared", at)) != std::string::npos; ++at) {
      const auto before = text_.body.find_last_not_of(" \t\n", at - 1);
      if (at != 0 && before != std::string::npos &&
          std::string_view(";{}:").find(text_.body[before]) == std::string_view::npos)
        continue;  // a modifier of an instruction
      const Variable d = declaration(std::string_view(text_.body).substr(at, text_.body.find(';', at) - at));
      add_shared(d.name, d.align, d.bytes);
    }
    kernel_.static_shared = rounded_up(kernel_.static_shared, 16);
    for (const std::string& name : text_.dynamic) names_.place(name, kernel_.static_shared);
  }

  void read_body() {
    std::string current;
    const std::string& body = text_.body;
    for (std::size_t j = 0; j < body.size(); ++j) {
      const char c = body[j];
      const bool blank = current.find_first_not_of(" \t\n\r") == std::string::npos;
      if (c == '{' && blank) {
        names_.open_scope();
      } else if (c == '{') {  // a vector
        const std::size_t close = body.find('}', j);
        check(close != std::string::npos, "ptx", "{}: expected '}}', got the end", kernel_.name);
        current += body.substr(j, close - j + 1);
        j = close;
      } else if (c == '}') {
        check(blank, "ptx", "{}: expected an end of '{}'", kernel_.name, trimmed(current));
        names_.close_scope();
      } else if (c == ';') {
        statement(trimmed(current));
        current.clear();
      } else if (c == ':' && is_label(trimmed(current))) {
        const bool added = labels_.emplace(trimmed(current), static_cast<int>(kernel_.code.size())).second;
        check(added, "ptx", "{}: expected one label {}, got two", kernel_.name, trimmed(current));
        current.clear();
      } else {
        current += c;
      }
    }
  }

  static bool is_label(std::string_view s) {
    return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%';
    });
  }

  void statement(const std::string& s) {
    if (s.empty()) return;
    if (s[0] != '.') return instruction(s);
    if (s.starts_with(".reg")) return names_.declare_registers(s);
    if (s.starts_with(".shared") || s.starts_with(".pragma")) return;
    if (s.starts_with(".local")) {
      const Variable d = declaration(s);
      kernel_.local_bytes = rounded_up(kernel_.local_bytes, d.align);
      names_.place(d.name, kernel_.local_bytes);
      kernel_.local_bytes += d.bytes;
      return;
    }
    if (s.starts_with(".param")) return names_.declare_call_parameter(declaration(s).name);
    fail("ptx", "{}: expected a directive that is known, got '{}'", kernel_.name, s);
  }

  void instruction(const std::string& s) {
    Decoded d = decode(s, names_);
    d.instruction.number = static_cast<int>(kernel_.code.size());
    if (!d.label.empty()) branches_.emplace_back(kernel_.code.size(), d.label);
    kernel_.code.push_back(std::move(d.instruction));
  }

  const KernelText& text_;
  Kernel kernel_;
  Names names_;
  std::map<std::string, int> labels_;
  std::vector<std::pair<std::size_t, std::string>> branches_;
};

}  // namespace

Kernel parse_kernel(const KernelText& text) { return KernelParser(text).parse(); }

}  // namespace spn::ptx
