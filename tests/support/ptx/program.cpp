#include "tests/support/ptx/program.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "engine/core/check.h"
#include "tests/support/ptx/text.h"

namespace spn::ptx {
namespace {

// Without comments, and without directives that end with their line instead of a semicolon.
std::string plain(std::string_view text) {
  std::string without;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 2) == "//") {
      i = std::min(text.find('\n', i), text.size());
      without += '\n';
    } else if (text.substr(i, 2) == "/*") {
      i = std::min(text.find("*/", i), text.size() - 2) + 1;
      without += ' ';
    } else {
      without += text[i];
    }
  }
  std::istringstream lines(without);
  std::string line, kept;
  while (std::getline(lines, line)) {
    const std::string t = trimmed(line);
    const auto begins = [&](const char* directive) { return t.starts_with(directive); };
    if (begins(".loc") && !begins(".local")) continue;
    if (begins(".file") || begins(".version") || begins(".target") || begins(".address_size")) continue;
    kept += line + '\n';
  }
  return kept;
}

// Its values; those that are not said are zeros.
std::vector<std::byte> initial(std::string_view statement, const Variable& variable) {
  std::vector<std::byte> v(variable.bytes);
  const auto open = statement.find('{');
  if (open == std::string_view::npos) return v;
  const auto values = split(statement.substr(open + 1, statement.find('}') - open - 1), ',');
  const std::size_t unit = variable.unit;
  check(values.size() * unit <= v.size(), "ptx", "expected at most {} bytes of values, got '{}'", v.size(),
        statement.substr(0, 200));
  for (std::size_t k = 0; k < values.size(); ++k) {
    const u64 bits = std::stoull(values[k], nullptr, 0);
    std::memcpy(v.data() + k * unit, &bits, std::min(unit, sizeof bits));
  }
  return v;
}

// Where the bracket that opens at `at` closes.
std::size_t closing(std::string_view text, std::size_t at) {
  const char open = text[at], close = open == '{' ? '}' : ')';
  int depth = 0;
  for (; at < text.size(); ++at) {
    if (text[at] == open) ++depth;
    if (text[at] == close && --depth == 0) return at;
  }
  fail("ptx", "expected '{}', got the end of the file", close);
}

}  // namespace

Program::Program(std::string_view given) {
  const std::string text = plain(given);
  auto globals = std::make_shared<Globals>();
  std::vector<Variable> shared;
  std::vector<std::string> dynamic;
  std::size_t at = 0;
  while ((at = text.find('.', at)) != std::string::npos) {
    const std::size_t end = text.find_first_of(";{", at);
    check(end != std::string::npos, "ptx", "expected a directive, got '{}'", text.substr(at, 80));
    const std::string head = text.substr(at, end - at);
    const std::vector<std::string> all = words(head);
    const auto has = [&](const char* word) { return std::find(all.begin(), all.end(), word) != all.end(); };
    if (has(".entry") || has(".func") || head.starts_with(".section")) {
      if (text[end] == ';') {  // declared here, defined elsewhere
        at = end + 1;
        continue;
      }
      const std::size_t close = closing(text, end);
      if (has(".entry")) {
        const std::size_t name = head.find(".entry") + 6, open = std::min(head.find('(', name), head.size());
        const std::size_t shut = open < head.size() ? closing(head, open) : open;
        KernelText k;
        k.name = trimmed(std::string_view(head).substr(name, open - name));
        k.name = k.name.substr(0, k.name.find_first_of(" \t\n"));
        k.parameters = open < head.size() ? head.substr(open + 1, shut - open - 1) : "";
        k.directives = open < head.size() ? head.substr(shut + 1) : "";
        k.body = text.substr(end + 1, close - end - 1);
        std::string key = k.name;
        entries_.insert_or_assign(std::move(key), Entry{std::move(k), {}});
      }
      at = close + 1;
      continue;
    }
    const std::size_t stop = text.find(';', at);
    const std::string statement = text.substr(at, stop - at);
    if (has(".shared")) {
      Variable v = declaration(statement);
      if (has(".extern"))
        dynamic.push_back(v.name);
      else
        shared.push_back(std::move(v));
    } else if (has(".global") || has(".const")) {
      const Variable v = declaration(statement);
      (*globals)[v.name] = initial(statement, v);
    }
    at = stop == std::string::npos ? text.size() : stop + 1;
  }
  for (auto& [name, entry] : entries_) {
    entry.text.shared = shared;
    entry.text.dynamic = dynamic;
    entry.text.globals = globals;
  }
}

Program Program::read(const std::string& path) {
  std::ifstream in(path);
  check(in.good(), "ptx", "cannot read {}", path);
  std::ostringstream text;
  text << in.rdbuf();
  return Program(text.str());
}

const Kernel* Program::find(std::string_view name) {
  const auto it = entries_.find(name);
  if (it == entries_.end()) return nullptr;
  Entry& e = it->second;
  if (!e.kernel) e.kernel = parse_kernel(e.text);
  return &*e.kernel;
}

std::vector<std::string> Program::names() const {
  std::vector<std::string> all;
  for (const auto& [name, entry] : entries_) all.push_back(name);
  return all;
}

}  // namespace spn::ptx
