// together(): one rank's failure becomes every rank's failure.
#pragma once

#include <exception>
#include <string>

#include "engine/core/check.h"
#include "engine/dist/comm.h"

namespace spn::dist {

// Another rank's error, repeated on a rank that did not fail itself.
class RepeatedError : public Error {
 public:
  using Error::Error;
};

// Throws on all ranks when mine is set on any rank.
void share_failure(Comm& comm, std::string_view where, const std::exception_ptr& mine);

// Runs fn on every rank; when any rank throws, all ranks throw: the failing rank its own error, the others one that
// repeats the first failing rank's message and kind (RepeatedError). So that no rank is left waiting in a collective.
// fn itself must not be in the middle of a collective when it throws alone.
template <class F>
void together(Comm& comm, std::string_view where, F&& fn) {
  std::exception_ptr mine;
  try {
    fn();
  } catch (...) {
    mine = std::current_exception();
  }
  share_failure(comm, where, mine);
}

}  // namespace spn::dist
