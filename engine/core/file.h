// Durable files: read or write everything or throw, sync, rename. Every error is a data error with the path, the
// system's reason and, for a full disk and for missing permissions, what to do.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "engine/core/handle.h"

namespace spn::files {

struct CloseFd {
  void operator()(int fd) const noexcept;
};
using Fd = Handle<int, -1, CloseFd>;

// "cannot WHAT PATH: REASON", and what to do about it.
[[noreturn]] void fail_errno(std::string_view what, const std::string& path, int error);

// flags as of open(2), O_CLOEXEC is added; what: the verb in the error.
Fd open_file(const std::string& path, int flags, std::string_view what = "open");
// All bytes, at the end or at an offset; path: for the error.
void write_all(const Fd& fd, const std::string& path, const void* from, std::size_t bytes);
void write_at(const Fd& fd, const std::string& path, const void* from, std::size_t bytes, std::uint64_t offset);
// Bytes read: fewer than asked for only where the file ends.
std::size_t read_at(const Fd& fd, const std::string& path, void* to, std::size_t bytes, std::uint64_t offset);
// The same for callbacks of C, which must not throw; -1 and false leave the reason in errno.
ssize_t try_read_at(int fd, void* to, std::size_t bytes, std::uint64_t offset) noexcept;
bool try_write_at(int fd, const void* from, std::size_t bytes, std::uint64_t offset) noexcept;
void sync(const Fd& fd, const std::string& path);
// Of a file that others have written, and closed.
void sync_file(const std::string& path);

// A new file (an existing one is emptied).
class FileWriter {
 public:
  explicit FileWriter(std::string path);
  void write(const void* data, std::size_t bytes) { write_all(fd_, path_, data, bytes); }
  void write(std::string_view s) { write(s.data(), s.size()); }
  // fsync and close; nothing may be written after it.
  void finish();

 private:
  std::string path_;
  Fd fd_;
};

// A file read at positions. Fails when it is missing, unreadable or no regular file.
class FileReader {
 public:
  explicit FileReader(std::string path);
  std::uint64_t size() const { return size_; }
  const std::string& path() const { return path_; }
  // Exactly bytes at offset, or a data error.
  void read(void* to, std::size_t bytes, std::uint64_t offset) const;

 private:
  std::string path_;
  Fd fd_;
  std::uint64_t size_ = 0;
};

std::string read_text(const std::string& path);
// Written aside as path + ".tmp", synced, renamed, folder synced: readers see the old or the new file, never a part.
void replace_text(const std::string& path, std::string_view text);
void rename_durably(const std::string& from, const std::string& to);
// Makes names created, renamed or removed in a folder survive a power cut.
void sync_folder(const std::string& folder);
// The folder `aside` takes the name `final`; one that is there already is exchanged in one go, then removed. between:
// called when the new one is in place and the old one still there.
void replace_folder(
    const std::string& aside, const std::string& final, const std::function<void()>& between = [] {});
// rm -r; a data error when something stays.
void remove_folder(const std::string& path);
// "." for a name alone.
std::string parent_of(const std::string& path);

}  // namespace spn::files
