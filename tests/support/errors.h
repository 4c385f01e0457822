// What tests of bad input share: the message of the error that a call gives.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "engine/core/check.h"

namespace spn::test {

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
