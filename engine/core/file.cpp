#include "engine/core/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "engine/core/check.h"

namespace spn::files {

void CloseFd::operator()(int fd) const noexcept { ::close(fd); }

void fail_errno(std::string_view what, const std::string& path, int error) {
  const char* hint = error == ENOSPC || error == EDQUOT || error == EFBIG
                         ? "; free some space (or raise the limit) and run again"
                     : error == EACCES || error == EROFS ? "; check the permissions of the file and its folder"
                                                         : "";
  fail_data("file", "cannot {} {}: {}{}", what, path, std::strerror(error), hint);
}

Fd open_file(const std::string& path, int flags, std::string_view what) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC, 0666));
  if (!fd) fail_errno(what, path, errno);
  return fd;
}

void write_all(const Fd& fd, const std::string& path, const void* from, std::size_t bytes) {
  const char* p = static_cast<const char*>(from);
  while (bytes > 0) {
    const ssize_t n = ::write(fd.get(), p, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_errno("write", path, n < 0 ? errno : ENOSPC);
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

bool try_write_at(int fd, const void* from, std::size_t bytes, std::uint64_t offset) noexcept {
  const char* p = static_cast<const char*>(from);
  while (bytes > 0) {
    const ssize_t n = ::pwrite(fd, p, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENOSPC;
    if (n <= 0) return false;
    p += n;
    offset += static_cast<std::uint64_t>(n);
    bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

ssize_t try_read_at(int fd, void* to, std::size_t bytes, std::uint64_t offset) noexcept {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t n = ::pread(fd, static_cast<char*>(to) + done, bytes - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return static_cast<ssize_t>(done);
}

void write_at(const Fd& fd, const std::string& path, const void* from, std::size_t bytes, std::uint64_t offset) {
  if (!try_write_at(fd.get(), from, bytes, offset)) fail_errno("write", path, errno);
}

std::size_t read_at(const Fd& fd, const std::string& path, void* to, std::size_t bytes, std::uint64_t offset) {
  const ssize_t n = try_read_at(fd.get(), to, bytes, offset);
  if (n < 0) fail_errno("read", path, errno);
  return static_cast<std::size_t>(n);
}

void sync(const Fd& fd, const std::string& path) {
  if (::fsync(fd.get()) != 0) fail_errno("sync", path, errno);
}

void sync_file(const std::string& path) { sync(open_file(path, O_RDWR), path); }

FileWriter::FileWriter(std::string path)
    : path_(std::move(path)), fd_(open_file(path_, O_WRONLY | O_CREAT | O_TRUNC, "create")) {}

void FileWriter::finish() {
  sync(fd_, path_);
  // close reports what the file system still held back (quota, network file systems)
  if (::close(fd_.release()) != 0) fail_errno("close", path_, errno);
}

FileReader::FileReader(std::string path) : path_(std::move(path)), fd_(open_file(path_, O_RDONLY)) {
  struct stat st {};
  if (::fstat(fd_.get(), &st) != 0) fail_errno("look at", path_, errno);
  if (!S_ISREG(st.st_mode)) fail_data("file", "{}: expected a file, got a folder or a device", path_);
  size_ = static_cast<std::uint64_t>(st.st_size);
}

void FileReader::read(void* to, std::size_t bytes, std::uint64_t offset) const {
  const std::size_t got = read_at(fd_, path_, to, bytes, offset);
  if (got < bytes)
    fail_data("file", "{}: ends at byte {}, {} more expected; it is truncated", path_, offset + got, bytes - got);
}

std::string read_text(const std::string& path) {
  const FileReader file(path);
  std::string s(static_cast<std::size_t>(file.size()), '\0');
  file.read(s.data(), s.size(), 0);
  return s;
}

std::string parent_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

void sync_folder(const std::string& folder) {
  const Fd fd = open_file(folder, O_RDONLY | O_DIRECTORY);
  // some network file systems refuse to sync a folder; their renames are durable by themselves
  if (::fsync(fd.get()) != 0 && errno != EINVAL && errno != ENOTSUP) fail_errno("sync", folder, errno);
}

void rename_durably(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_errno("rename", from + " to " + to, errno);
  sync_folder(parent_of(to));
}

void remove_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) fail_data("file", "cannot remove {}: {}", path, error.message());
}

void replace_folder(const std::string& aside, const std::string& final, const std::function<void()>& between) {
  if (!std::filesystem::exists(final)) {
    rename_durably(aside, final);
    return;
  }
  if (::renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, final.c_str(), RENAME_EXCHANGE) != 0) {
    const std::string old = final + ".old";  // a file system that cannot exchange
    rename_durably(final, old);
    rename_durably(aside, final);
    between();
    remove_folder(old);
    return;
  }
  sync_folder(parent_of(final));
  between();
  remove_folder(aside);
}

void replace_text(const std::string& path, std::string_view text) {
  const std::string aside = path + ".tmp";
  try {
    FileWriter file(aside);
    file.write(text);
    file.finish();
    rename_durably(aside, path);
  } catch (...) {
    ::unlink(aside.c_str());
    throw;
  }
}

}  // namespace spn::files
