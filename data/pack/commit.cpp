// PATH.redo: "spn-redo 1\n", u64 size of the changed pack, u64 pages; each page its place (u64), its bytes before and
// after; then the SHA-256 of all that in hex. Bytes before: so that a left-over cannot damage another pack.
#include "data/pack/commit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

#include "data/pack/pack_lock.h"
#include "data/pack/temporary_file.h"
#include "engine/core/check.h"
#include "engine/core/file.h"
#include "engine/core/log.h"
#include "engine/core/sha256.h"

namespace spn::data {
namespace {

constexpr std::string_view kMagic = "spn-redo 1\n";
constexpr std::size_t kDigest = 64, kSector = 512;  // a disk writes sectors whole
constexpr std::size_t kPage = h5::Pages::kBytes;

using files::Fd;

std::function<void(std::string_view)>& hook() {
  static std::function<void(std::string_view)> h;
  return h;
}
void step(std::string_view name) {
  if (hook()) hook()(name);
}

std::string redo_of(const std::string& path) { return path + ".redo"; }

void add_number(std::string& out, std::uint64_t v) { out.append(reinterpret_cast<const char*>(&v), sizeof v); }
std::uint64_t number_at(const std::string& in, std::size_t at) {
  std::uint64_t v = 0;
  std::memcpy(&v, in.data() + at, sizeof v);
  return v;
}

// Locked against readers that are opening it and against other changes.
Fd open_pack(const std::string& path) {
  Fd fd = files::open_file(path, O_RDWR, "change");
  lock_pack(fd.get(), path, Share::nobody);
  return fd;
}

bool interrupted(const std::string& path) {
  std::error_code none;
  return std::filesystem::exists(redo_of(path), none);
}

void read_page(const Fd& fd, const std::string& path, std::uint64_t at, char* to) {
  if (!h5::read_or_zero(fd.get(), at, kPage, to)) files::fail_errno("read", path, errno);
}

void write_redo(const std::string& path, const Fd& pack, const h5::Pages& pages) {
  std::string all(kMagic), before(kPage, '\0');
  add_number(all, pages.size);
  add_number(all, pages.changed.size());
  for (const auto& [at, bytes] : pages.changed) {
    read_page(pack, path, at, before.data());
    add_number(all, at);
    all += before;
    all += bytes;
  }
  all += sha256(all);
  const std::string aside = redo_of(path) + ".tmp";
  try {
    files::FileWriter file(aside);
    file.write(all);
    file.finish();
  } catch (...) {
    remove_quietly(aside);
    throw;
  }
  step("redo written");
  files::rename_durably(aside, redo_of(path));
}

// Where nothing could be reserved, writing takes the space: pages must not meet a full disk one by one.
void fill_zeros(const Fd& pack, const std::string& path, std::uint64_t from, std::uint64_t to) {
  const std::string zeros(std::size_t{1} << 20, '\0');
  for (; from < to; from += std::min<std::uint64_t>(zeros.size(), to - from))
    files::write_at(pack, path, zeros.data(), std::min<std::uint64_t>(zeros.size(), to - from), from);
  files::sync(pack, path);
}

void check_unchanged(const Fd& pack, const std::string& path, const h5::Pages& pages) {
  struct stat now {};
  if (::fstat(pack.get(), &now) != 0) files::fail_errno("look at", path, errno);
  if (h5::Stamp::of(now) != pages.base)
    fail_data("pack", "'{}' was changed by another program while it was to be changed; try again", path);
}

struct Redo {
  std::string bytes;
  std::size_t pages = 0;
  std::uint64_t place(std::size_t i) const { return number_at(bytes, at(i)); }
  const char* before(std::size_t i) const { return bytes.data() + at(i) + 8; }
  const char* after(std::size_t i) const { return before(i) + kPage; }

 private:
  static std::size_t at(std::size_t i) { return kMagic.size() + 16 + i * (8 + 2 * kPage); }
};

// Absent: another rank or program has finished it meanwhile.
std::optional<Redo> read_redo(const std::string& redo) {
  errno = 0;
  std::ifstream file(redo, std::ios::binary);
  if (!file && errno == ENOENT) return std::nullopt;
  Redo r;
  r.bytes.assign(std::istreambuf_iterator<char>(file), {});
  const std::size_t head = kMagic.size() + 16;
  const bool whole =
      r.bytes.size() >= head + kDigest && r.bytes.compare(0, kMagic.size(), kMagic) == 0 &&
      sha256(std::string_view(r.bytes).substr(0, r.bytes.size() - kDigest)) == r.bytes.substr(r.bytes.size() - kDigest);
  if (whole) r.pages = number_at(r.bytes, kMagic.size() + 8);
  if (!whole || r.bytes.size() != head + r.pages * (8 + 2 * kPage) + kDigest)
    fail_data("pack", "'{}' is damaged; it was to finish a change of the pack beside it: restore both from a copy",
              redo);
  return r;
}

// Each sector is as it was before or after, or else the journal is not of this file.
void check_belongs(const Redo& r, const Fd& pack, const std::string& path) {
  std::string now(kPage, '\0');
  for (std::size_t i = 0; i < r.pages; ++i) {
    read_page(pack, path, r.place(i), now.data());
    for (std::size_t s = 0; s < kPage; s += kSector)
      if (std::memcmp(now.data() + s, r.before(i) + s, kSector) != 0 &&
          std::memcmp(now.data() + s, r.after(i) + s, kSector) != 0)
        fail_data("pack", "'{}' is left from another pack that had the name '{}'; remove the .redo file", redo_of(path),
                  path);
  }
}

void apply(const std::string& path, const Fd& pack, const Redo& r) {
  for (std::size_t i = 0; i < r.pages; ++i) {
    files::write_at(pack, path, r.after(i), kPage, r.place(i));
    step("page written");
  }
  // the last page may reach beyond the end that HDF5 wants
  if (::ftruncate(pack.get(), static_cast<off_t>(number_at(r.bytes, kMagic.size()))) != 0)
    files::fail_errno("write", path, errno);
  files::sync(pack, path);
  step("pages synced");
  // the features' rows and marks are written next, in place: a journal that comes back would no longer fit
  if (::unlink(redo_of(path).c_str()) != 0 && errno != ENOENT)
    files::fail_errno("remove the finished", redo_of(path), errno);
  step("redo unlinked");
  files::sync_folder(files::parent_of(path));
  step("redo removed");
}

}  // namespace

void set_commit_hook(std::function<void(std::string_view)> h) { hook() = std::move(h); }

void commit_pages(const std::string& path, const h5::Pages& pages) {
  const Fd pack = open_pack(path);
  check_unchanged(pack, path, pages);
  const auto before = std::filesystem::file_size(path);
  // whole pages are written; what is beyond the end goes again
  const std::uint64_t end = (pages.size + kPage - 1) / kPage * kPage;
  try {
    if (end > before && !reserve_space(path, static_cast<std::int64_t>(end))) fill_zeros(pack, path, before, end);
    step("space reserved");
    write_redo(path, pack, pages);
  } catch (...) {
    // nothing has changed but the length; a journal whose name may not last must not come back either
    remove_quietly(redo_of(path));
    if (::ftruncate(pack.get(), static_cast<off_t>(before)) != 0) log::warn("'{}' keeps bytes that nothing uses", path);
    throw;
  }
  step("redo in place");
  if (const auto redo = read_redo(redo_of(path))) apply(path, pack, *redo);
}

void finish_commit(const std::string& path) {
  if (!interrupted(path)) return;
  std::error_code none;
  if (!std::filesystem::exists(path, none))
    fail_data("pack", "'{}' is left from a pack that is gone; remove it", redo_of(path));
  const Fd pack = open_pack(path);
  if (!interrupted(path)) return;  // its writer was only at work
  step("redo found");
  const auto redo = read_redo(redo_of(path));
  if (!redo) return;
  check_belongs(*redo, pack, path);
  apply(path, pack, *redo);
  log::info("finished a change of '{}' that was interrupted", path);
}

UnchangedPack::UnchangedPack(const std::string& path) {
  do {
    fd_.reset();  // this lock would keep the change from being finished
    finish_commit(path);
    fd_ = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd_) lock_pack(fd_.get(), path, Share::readers);
  } while (fd_ && interrupted(path));
}

}  // namespace spn::data
