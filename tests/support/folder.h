// A test's own folder with small helpers to fill it, and to look at the errors that bad files give.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "engine/core/check.h"
#include "tests/support/temp_folder.h"

namespace spn::test {

class Folder : public TempFolder {
 public:
  // Writes text under name, making folders on the way; returns the whole path.
  std::string put(const std::string& name, const std::string& text) const {
    const std::filesystem::path p = std::filesystem::path(path()) / name;
    std::filesystem::create_directories(p.parent_path());
    std::ofstream(p, std::ios::binary) << text;
    return p.string();
  }
};

inline std::string read_text(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(f), {}};
}

// The message of the Error that fn throws, of the kind expected; a test failure when there is none.
template <class F>
std::string error_of(ErrorKind kind, F&& fn) {
  try {
    fn();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "not an Error: " << e.what();
    return e.what();
  }
  ADD_FAILURE() << "expected an error, got none";
  return {};
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace spn::test
