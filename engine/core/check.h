// Errors: what went wrong, where, and what to do about it. Libraries throw; only main ends a run.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace spn {

// The kind decides the exit status (see ExitStatus): a user's mistake in options is not a bad file.
enum class ErrorKind { internal, usage, data };

// Exit statuses of the binary; contract of the command line.
enum ExitStatus : int { exit_ok = 0, exit_failed = 1, exit_usage = 2, exit_data = 3, exit_requeue = 75 };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, std::string_view where, std::string_view message)
      : std::runtime_error(fmt::format("[{}] {}", where, message)), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }
  ExitStatus status() const noexcept {
    return kind_ == ErrorKind::usage ? exit_usage : kind_ == ErrorKind::data ? exit_data : exit_failed;
  }

 private:
  ErrorKind kind_;
};

// [where] message: a defect or a broken machine.
template <class... A>
[[noreturn]] void fail(std::string_view where, fmt::format_string<A...> f, A&&... a) {
  throw Error(ErrorKind::internal, where, fmt::format(f, std::forward<A>(a)...));
}

// The user's options or configuration are wrong (exit 2).
template <class... A>
[[noreturn]] void fail_usage(std::string_view where, fmt::format_string<A...> f, A&&... a) {
  throw Error(ErrorKind::usage, where, fmt::format(f, std::forward<A>(a)...));
}

// The user's files are wrong (exit 3). Name file, row and the remedy in the message.
template <class... A>
[[noreturn]] void fail_data(std::string_view where, fmt::format_string<A...> f, A&&... a) {
  throw Error(ErrorKind::data, where, fmt::format(f, std::forward<A>(a)...));
}

// check(ok, "linear", "expected {}, got {}; hint", ...)
template <class... A>
void check(bool ok, std::string_view where, fmt::format_string<A...> f, A&&... a) {
  if (!ok) [[unlikely]]
    fail(where, f, std::forward<A>(a)...);
}

}  // namespace spn
