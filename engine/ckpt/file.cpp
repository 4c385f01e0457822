#include "engine/ckpt/file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "engine/core/check.h"

namespace spn::ckpt {
namespace {

[[noreturn]] void fail_errno(const char* what, const std::string& path, int error) {
  const char* hint = error == ENOSPC || error == EDQUOT || error == EFBIG
                         ? "; free some space (or raise the limit) and run again"
                     : error == EACCES || error == EROFS ? "; check the permissions of the folder"
                                                         : "";
  fail_data("file", "cannot {} {}: {}{}", what, path, std::strerror(error), hint);
}

}  // namespace

void CloseFd::operator()(int fd) const noexcept { ::close(fd); }

FileWriter::FileWriter(std::string path) : path_(std::move(path)) {
  fd_ = Fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd_) fail_errno("create", path_, errno);
}

void FileWriter::write(const void* data, std::size_t bytes) {
  const char* p = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t n = ::write(fd_.get(), p, bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_errno("write", path_, n < 0 ? errno : ENOSPC);
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

void FileWriter::finish() {
  if (::fsync(fd_.get()) != 0) fail_errno("sync", path_, errno);
  // close reports what the file system still held back (quota, network file systems)
  if (::close(fd_.release()) != 0) fail_errno("close", path_, errno);
}

FileReader::FileReader(std::string path) : path_(std::move(path)) {
  fd_ = Fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd_) fail_errno("open", path_, errno);
  struct stat st {};
  if (::fstat(fd_.get(), &st) != 0) fail_errno("look at", path_, errno);
  if (!S_ISREG(st.st_mode)) fail_data("file", "{}: expected a file, got a folder or a device", path_);
  size_ = static_cast<std::uint64_t>(st.st_size);
}

void FileReader::read(void* to, std::size_t bytes, std::uint64_t offset) const {
  char* p = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t n = ::pread(fd_.get(), p, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("read", path_, errno);
    if (n == 0) fail_data("file", "{}: ends at byte {}, {} more expected; it is truncated", path_, offset, bytes);
    p += n;
    offset += static_cast<std::uint64_t>(n);
    bytes -= static_cast<std::size_t>(n);
  }
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
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) fail_errno("open", folder, errno);
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

}  // namespace spn::ckpt
