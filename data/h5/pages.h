// Changed pages of a file, held in memory over the file's own bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

struct stat;

namespace spn::data::h5 {

// Tells whether a file has changed.
struct Stamp {
  std::uint64_t size = 0;
  std::int64_t modified_ns = 0;
  static Stamp of(const struct ::stat& status);
  bool operator==(const Stamp&) const = default;
};

struct Pages {
  static constexpr std::uint64_t kBytes = 4096;

  std::map<std::uint64_t, std::string> changed;  // by the page's first byte in the file; each kBytes long
  Stamp base;                                    // of the file when it was opened
  std::uint64_t size = 0;                        // of the file with the changes; set when it is closed

  // What the file would hold; bytes beyond its end are zero. False with errno when it cannot be read.
  bool read(int fd, std::uint64_t at, std::size_t bytes, char* to) const;
  bool write(int fd, std::uint64_t at, std::size_t bytes, const char* from);
};

// pread of exactly `bytes`, zeros beyond the end. False with errno.
bool read_or_zero(int fd, std::uint64_t at, std::size_t bytes, char* to);

}  // namespace spn::data::h5
