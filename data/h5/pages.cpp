#include "data/h5/pages.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "engine/core/file.h"

namespace spn::data::h5 {

Stamp Stamp::of(const struct ::stat& status) {
  return {static_cast<std::uint64_t>(status.st_size),
          std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

bool read_or_zero(int fd, std::uint64_t at, std::size_t bytes, char* to) {
  const ssize_t got = files::try_read_at(fd, to, bytes, at);
  if (got < 0) return false;
  std::fill(to + got, to + bytes, '\0');
  return true;
}

bool Pages::read(int fd, std::uint64_t at, std::size_t bytes, char* to) const {
  if (!read_or_zero(fd, at, bytes, to)) return false;
  const std::uint64_t end = at + bytes;
  for (auto page = changed.lower_bound(at - at % kBytes); page != changed.end() && page->first < end; ++page) {
    const std::uint64_t from = std::max(at, page->first), until = std::min(end, page->first + kBytes);
    std::memcpy(to + (from - at), page->second.data() + (from - page->first), until - from);
  }
  return true;
}

bool Pages::write(int fd, std::uint64_t at, std::size_t bytes, const char* from) {
  const std::uint64_t end = at + bytes;
  while (at < end) {
    const std::uint64_t first = at - at % kBytes, until = std::min(end, first + kBytes);
    auto page = changed.find(first);
    if (page == changed.end()) {
      std::string own(kBytes, '\0');
      if (!read_or_zero(fd, first, kBytes, own.data())) return false;
      page = changed.emplace(first, std::move(own)).first;
    }
    std::memcpy(page->second.data() + (at - first), from, until - at);
    from += until - at;
    at = until;
  }
  return true;
}

}  // namespace spn::data::h5
