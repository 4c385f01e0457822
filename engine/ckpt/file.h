// Durable files: write everything or throw, fsync, rename, with the path and the system's reason in every error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "engine/core/handle.h"

namespace spn::ckpt {

struct CloseFd {
  void operator()(int fd) const noexcept;
};
using Fd = Handle<int, -1, CloseFd>;

// A new file (an existing one is emptied). All errors are data errors: the disk is full, the folder is read-only.
class FileWriter {
 public:
  explicit FileWriter(std::string path);
  void write(const void* data, std::size_t bytes);
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
std::string parent_of(const std::string& path);

}  // namespace spn::ckpt
