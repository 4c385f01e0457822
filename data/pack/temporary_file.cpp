#include "data/pack/temporary_file.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "engine/core/check.h"
#include "engine/core/file.h"
#include "engine/core/log.h"

namespace spn::data {
namespace {

bool& reserving() {
  static bool possible = true;
  return possible;
}

}  // namespace

std::string temporary_name(const std::string& path, std::int64_t tag) { return fmt::format("{}.tmp-{:x}", path, tag); }

std::int64_t new_tag() {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return (now & 0xffffffffffff) ^ static_cast<std::int64_t>(::getpid()) << 40;
}

void check_target(const std::string& path) {
  std::error_code ignored;
  if (const std::string folder = files::parent_of(path); !std::filesystem::is_directory(folder, ignored))
    fail_data("file", "expected an existing folder for '{}', got none; make '{}' first", path, folder);
  if (std::filesystem::is_directory(path, ignored))
    fail_data("file", "expected a file name, got the folder '{}'", path);
}

void set_reserving(bool possible) { reserving() = possible; }

bool reserve_space(const std::string& path, std::int64_t bytes) {
  if (bytes <= 0) return true;
  if (!reserving()) return false;
  const files::Fd fd = files::open_file(path, O_RDWR);
  int result = 0;
  do result = ::fallocate(fd.get(), 0, 0, bytes);
  while (result != 0 && errno == EINTR);
  if (result == 0) return true;
  if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) return false;
  const int why = errno;
  struct statvfs room {};
  const double free =
      ::fstatvfs(fd.get(), &room) == 0 ? static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize) : 0;
  fail_data("file", "cannot reserve {:.1f} MB for '{}': {} ({:.1f} MB free there); free some space or write elsewhere",
            static_cast<double>(bytes) * 1e-6, path, std::strerror(why), free * 1e-6);
}

void remove_quietly(const std::string& path) noexcept { ::unlink(path.c_str()); }

void remove_left_behind(const std::string& path) {
  namespace fs = std::filesystem;
  const std::string prefix = fs::path(path).filename().string() + ".tmp-";
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(files::parent_of(path), error))
    if (entry.path().filename().string().starts_with(prefix) && fs::remove(entry.path(), error))
      log::info("removed {}, which a run that was killed left behind", entry.path().string());
}

}  // namespace spn::data
