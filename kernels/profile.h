// Where the time goes, by entry of the kernel table: `spotniche bench step --profile`. Off, it costs one load a call.
#pragma once

#include <string>
#include <vector>

namespace spn::kernels {

struct ProfileRow {
  std::string entry;  // "conv_bwd"
  long calls = 0;
  double seconds = 0;
};

void profile_start();                    // clears and switches on
std::vector<ProfileRow> profile_stop();  // switches off; most time first

namespace detail {
extern bool profile_on;
// Times its scope when profiling. pretty: __PRETTY_FUNCTION__ of run<>.
class ProfileScope {
 public:
  explicit ProfileScope(const char* pretty) : pretty_(profile_on ? pretty : nullptr), start_(pretty_ ? now() : 0) {}
  ~ProfileScope() {
    if (pretty_ != nullptr) note(pretty_, now() - start_);
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  static double now();
  static void note(const char* pretty, double seconds);
  const char* pretty_;
  double start_;
};
}  // namespace detail

}  // namespace spn::kernels
