#include "data/pack/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "engine/core/check.h"
#include "engine/core/handle.h"
#include "engine/core/log.h"

namespace spn::data {
namespace {

struct CloseFd {
  void operator()(int fd) const noexcept { ::close(fd); }
};
using Fd = Handle<int, -1, CloseFd>;

std::string folder_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

bool& reserving() {
  static bool possible = true;
  return possible;
}

Fd open_existing(const std::string& path, int flags) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd) fail_data("file", "cannot open '{}': {}", path, std::strerror(errno));
  return fd;
}

}  // namespace

std::string temporary_name(const std::string& path, std::int64_t tag) { return fmt::format("{}.tmp-{:x}", path, tag); }

std::int64_t new_tag() {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return (now & 0xffffffffffff) ^ static_cast<std::int64_t>(::getpid()) << 40;
}

void check_target(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder_of(path), ignored))
    fail_data("file", "expected an existing folder for '{}', got none; make '{}' first", path, folder_of(path));
  if (std::filesystem::is_directory(path, ignored))
    fail_data("file", "expected a file name, got the folder '{}'", path);
}

void set_reserving(bool possible) { reserving() = possible; }

bool reserve_space(const std::string& path, std::int64_t bytes) {
  if (bytes <= 0) return true;
  if (!reserving()) return false;
  const Fd fd = open_existing(path, O_RDWR);
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

void sync_file(const std::string& path) {
  const Fd fd = open_existing(path, O_RDWR);
  if (::fsync(fd.get()) != 0) fail_data("file", "cannot write '{}' to disk: {}", path, std::strerror(errno));
}

void publish(const std::string& temporary, const std::string& path) {
  if (std::rename(temporary.c_str(), path.c_str()) != 0)
    fail_data("file", "cannot rename '{}' to '{}': {}", temporary, path, std::strerror(errno));
  sync_folder_of(path);
}

void sync_folder_of(const std::string& path) {
  const Fd folder = open_existing(folder_of(path), O_RDONLY | O_DIRECTORY);
  // some network file systems refuse to sync a folder; their renames are durable by themselves
  if (::fsync(folder.get()) != 0 && errno != EINVAL && errno != ENOTSUP)
    fail_data("file", "cannot write the folder of '{}' to disk: {}", path, std::strerror(errno));
}

void remove_quietly(const std::string& path) noexcept { ::unlink(path.c_str()); }

void remove_left_behind(const std::string& path) {
  namespace fs = std::filesystem;
  const std::string prefix = fs::path(path).filename().string() + ".tmp-";
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_of(path), error))
    if (entry.path().filename().string().starts_with(prefix) && fs::remove(entry.path(), error))
      log::info("removed {}, which a run that was killed left behind", entry.path().string());
}

}  // namespace spn::data
