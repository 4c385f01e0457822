// Reads a model configuration file (key = value) in tests, without the command line.
#pragma once

#include <fstream>
#include <map>
#include <set>
#include <string>

#include "engine/core/check.h"
#include "engine/models/config.h"

namespace spn::test {

struct ConfigSetter final : models::FieldVisitor {
  std::map<std::string, std::string> values;
  std::set<std::string> missing;
  template <class F>
  void set(const char* key, F&& f) {
    const auto it = values.find(key);
    if (it == values.end())
      missing.insert(key);
    else
      f(it->second);
  }
  void field(const char* k, std::int64_t& v, const char*) override {
    set(k, [&](auto& s) { v = std::stoll(s); });
  }
  void field(const char* k, double& v, const char*) override {
    set(k, [&](auto& s) { v = std::stod(s); });
  }
  void field(const char* k, bool& v, const char*) override {
    set(k, [&](auto& s) { v = s == "true"; });
  }
  void field(const char* k, std::string& v, const char*) override {
    set(k, [&](auto& s) { v = s; });
  }
};

inline models::Config read_model_config(const std::string& path) {
  ConfigSetter setter;
  std::ifstream in(path);
  if (!in) fail("test", "cannot read {}", path);
  for (std::string line; std::getline(in, line);) {
    line = line.substr(0, line.find('#'));
    const auto eq = line.find('=');
    if (eq == std::string::npos) continue;
    const auto trim = [](std::string s) {
      s.erase(0, s.find_first_not_of(" \t"));
      s.erase(s.find_last_not_of(" \t") + 1);
      return s;
    };
    setter.values[trim(line.substr(0, eq))] = trim(line.substr(eq + 1));
  }
  models::Config c;
  models::visit_fields(c, setter);
  if (!setter.missing.empty()) fail("test", "{}: {} is missing", path, *setter.missing.begin());
  return c;
}

}  // namespace spn::test
