// Where the time goes, by entry of the kernel table: `spotniche bench step --profile`. Off, it costs one load a call.
#pragma once

#include <string>
#include <vector>

#include "kernels/work.h"

namespace spn::kernels {

struct ProfileRow {
  std::string entry;  // "conv_bwd"
  long calls = 0;
  double seconds = 0;
  Work work;  // of all calls, at least
};

void profile_start();                    // clears and switches on
std::vector<ProfileRow> profile_stop();  // switches off; most time first

namespace detail {
extern bool profile_on;
double profile_now();
void profile_note(const char* pretty, double seconds, const Work& work);
// Times its scope when profiling. pretty: __PRETTY_FUNCTION__ of run<>; args: of the call.
template <class A>
class ProfileScope {
 public:
  ProfileScope(const char* pretty, const A& args) : pretty_(profile_on ? pretty : nullptr), args_(args) {
    if (pretty_ != nullptr) start_ = profile_now();
  }
  ~ProfileScope() {
    if (pretty_ == nullptr) return;
    const double seconds = profile_now() - start_;  // before anything is counted
    profile_note(pretty_, seconds, work_of(args_));
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  const char* pretty_;
  const A& args_;
  double start_ = 0;
};
}  // namespace detail

}  // namespace spn::kernels
