#include "data/h5/guarded.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "data/h5/internal.h"
#include "engine/core/file.h"

namespace spn::data::h5 {
namespace {

// HDF5 copies this into access lists; the fault outlives them, being held by File.
struct Info {
  WriteFault* fault;
};

struct Guarded {
  H5FD_t base;  // first: HDF5 sees only this
  int fd;
  dev_t device;
  ino_t inode;
  haddr_t eoa, eof;
  std::shared_ptr<WriteFault> fault;
};

Guarded* self(H5FD_t* f) { return reinterpret_cast<Guarded*>(f); }
const Guarded* self(const H5FD_t* f) { return reinterpret_cast<const Guarded*>(f); }

herr_t give_reason(const char* what) {
  H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_VFL, H5E_CANTOPENFILE, "%s: %s", what,
           std::strerror(errno));
  return -1;
}

H5FD_t* open_file(const char* name, unsigned flags, hid_t list, haddr_t) {
  const auto* info = static_cast<const Info*>(H5Pget_driver_info(list));
  if (info == nullptr) return nullptr;
  int mode = (flags & H5F_ACC_RDWR) ? O_RDWR : O_RDONLY;
  if (flags & H5F_ACC_TRUNC) mode |= O_TRUNC;
  if (flags & H5F_ACC_CREAT) mode |= O_CREAT;
  if (flags & H5F_ACC_EXCL) mode |= O_EXCL;
  const int fd = ::open(name, mode | O_CLOEXEC, 0666);
  struct stat status {};
  if (fd < 0 || ::fstat(fd, &status) != 0) {
    give_reason("unable to open file");
    if (fd >= 0) ::close(fd);
    return nullptr;
  }
  auto* file = new (std::nothrow)
      Guarded{{}, fd, status.st_dev, status.st_ino, 0, static_cast<haddr_t>(status.st_size), nullptr};
  if (file == nullptr) {
    ::close(fd);
    return nullptr;
  }
  file->fault = info->fault->shared_from_this();
  if (file->fault->staged) file->fault->staged->base = Stamp::of(status);
  return &file->base;
}

herr_t close_file(H5FD_t* f) {
  Guarded* file = self(f);
  if (::close(file->fd) != 0 && file->fault->error == 0) file->fault->error = errno;
  delete file;
  return 0;
}

int compare(const H5FD_t* a, const H5FD_t* b) {
  const Guarded *x = self(a), *y = self(b);
  if (x->device != y->device) return x->device < y->device ? -1 : 1;
  return x->inode == y->inode ? 0 : x->inode < y->inode ? -1 : 1;
}

herr_t query(const H5FD_t*, unsigned long* flags) {
  if (flags != nullptr)
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t get_eoa(const H5FD_t* f, H5FD_mem_t) { return self(f)->eoa; }
herr_t set_eoa(H5FD_t* f, H5FD_mem_t, haddr_t at) {
  self(f)->eoa = at;
  return 0;
}
haddr_t get_eof(const H5FD_t* f, H5FD_mem_t) { return self(f)->eof; }

herr_t read_file(H5FD_t* f, H5FD_mem_t, hid_t, haddr_t at, std::size_t size, void* to) {
  auto* out = static_cast<char*>(to);
  if (const Pages* staged = self(f)->fault->staged.get())
    return staged->read(self(f)->fd, at, size, out) ? 0 : give_reason("file read failed");
  // zeros: reserved and not written yet
  return read_or_zero(self(f)->fd, at, size, out) ? 0 : give_reason("file read failed");
}

herr_t write_file(H5FD_t* f, H5FD_mem_t, hid_t, haddr_t at, std::size_t size, const void* from) {
  Guarded* file = self(f);
  const auto* in = static_cast<const char*>(from);
  file->eof = std::max<haddr_t>(file->eof, at + size);
  if (Pages* staged = file->fault->staged.get())
    return staged->write(file->fd, at, size, in) ? 0 : give_reason("file read failed");
  if (file->fault->error == 0 && !files::try_write_at(file->fd, in, size, at)) file->fault->error = errno;
  return 0;
}

herr_t truncate_file(H5FD_t* f, hid_t, hbool_t) {
  Guarded* file = self(f);
  if (file->fault->staged) file->fault->staged->size = file->eoa;
  if (file->eoa == file->eof) return 0;
  if (!file->fault->staged && file->fault->error == 0 && ::ftruncate(file->fd, static_cast<off_t>(file->eoa)) != 0)
    file->fault->error = errno;
  file->eof = file->eoa;
  return 0;
}

hid_t driver() {
  static const hid_t id = [] {
    static H5FD_class_t c;  // zero: HDF5's defaults
    c.name = "spotniche_guarded";
    c.maxaddr = (haddr_t{1} << 63) - 1;
    c.fc_degree = H5F_CLOSE_WEAK;
    c.fapl_size = sizeof(Info);
    c.open = open_file;
    c.close = close_file;
    c.cmp = compare;
    c.query = query;
    c.get_eoa = get_eoa;
    c.set_eoa = set_eoa;
    c.get_eof = get_eof;
    c.read = read_file;
    c.write = write_file;
    c.truncate = truncate_file;
    constexpr H5FD_mem_t map[H5FD_MEM_NTYPES] = H5FD_FLMAP_DICHOTOMY;
    std::copy(std::begin(map), std::end(map), std::begin(c.fl_map));
    return must(H5FDregister(&c), "register a file driver");
  }();
  return id;
}

}  // namespace

void set_guarded_driver(Id access_list, const std::shared_ptr<WriteFault>& fault) {
  const Info info{fault.get()};
  must(H5Pset_driver(access_list, driver(), &info), "choose the file driver");
}

}  // namespace spn::data::h5
