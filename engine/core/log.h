// Messages to the terminal (stderr), each with the rank when there are several. Backed by spdlog.
#pragma once

#include <fmt/core.h>

#include <string>
#include <utility>

namespace spn::log {

enum class Level { debug, info, warn, error };

// Call once, after MPI is up: messages carry "[rank r]" when world_size > 1, and ranks other than 0 print only
// warnings and errors unless SPN_LOG=debug.
void init(int rank, int world_size);
void write(Level level, const std::string& message);

template <class... A>
void info(fmt::format_string<A...> f, A&&... a) {
  write(Level::info, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void warn(fmt::format_string<A...> f, A&&... a) {
  write(Level::warn, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void error(fmt::format_string<A...> f, A&&... a) {
  write(Level::error, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void debug(fmt::format_string<A...> f, A&&... a) {
  write(Level::debug, fmt::format(f, std::forward<A>(a)...));
}

}  // namespace spn::log
