#include "engine/core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <string_view>

namespace spn::log {
namespace {

spdlog::logger& logger() {
  static auto instance = [] {
    auto l = std::make_shared<spdlog::logger>("spotniche", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    l->set_pattern("%^%l%$: %v");
    l->flush_on(spdlog::level::info);
    return l;
  }();
  return *instance;
}

bool wants_debug() {
  const char* level = std::getenv("SPN_LOG");
  return level != nullptr && std::string_view(level) == "debug";
}

}  // namespace

void init(int rank, int world_size) {
  const std::string tag = world_size > 1 ? fmt::format("[rank {}] ", rank) : "";
  logger().set_pattern("%H:%M:%S %l: " + tag + "%v");
  logger().set_level(wants_debug() ? spdlog::level::debug : rank == 0 ? spdlog::level::info : spdlog::level::warn);
}

void write(Level level, const std::string& message) {
  constexpr spdlog::level::level_enum to_spd[] = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                                  spdlog::level::err};
  logger().log(to_spd[static_cast<int>(level)], message);
}

}  // namespace spn::log
