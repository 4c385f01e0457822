// The lock, HDF5's error stack as text, types, and files and groups. Datasets: dataset.cpp; attributes: attribute.cpp.
#include "data/h5/h5.h"

#include <mpi.h>

#include <algorithm>
#include <cstring>

#include "data/h5/guarded.h"
#include "data/h5/internal.h"

namespace spn::data::h5 {
namespace {

// HDF5 prints its error stack by itself unless told not to.
std::recursive_mutex& quiet_mutex() {
  static std::recursive_mutex mutex;
  static const bool once = [] {
    H5open();
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
    return true;
  }();
  static_cast<void>(once);
  return mutex;
}

Handle access_list() {
  Handle list = own(H5Pcreate(H5P_FILE_ACCESS), "make a file access list");
  // No file locks: NFS and Lustre often refuse them, we read with many ranks, and write only to names of our own.
  // The environment variable HDF5_USE_FILE_LOCKING overrides this.
  must(H5Pset_file_locking(list.get(), false, true), "turn file locking off");
  return list;
}

}  // namespace

std::unique_lock<std::recursive_mutex> lock() { return std::unique_lock(quiet_mutex()); }

void CloseId::operator()(Id id) const noexcept {
  const auto held = lock();
  if (H5Iis_valid(id) > 0) H5Idec_ref(id);
  H5Eclear2(H5E_DEFAULT);
}

std::string reasons() {
  std::vector<std::string> found;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* e, void* out) -> herr_t {
        auto& list = *static_cast<std::vector<std::string>*>(out);
        if (e->desc != nullptr && *e->desc != '\0' && std::find(list.begin(), list.end(), e->desc) == list.end())
          list.emplace_back(e->desc);
        return 0;
      },
      &found);
  H5Eclear2(H5E_DEFAULT);
  std::string joined;
  for (std::size_t i = 0; i < std::min<std::size_t>(found.size(), 3); ++i) joined += (i ? "; " : "") + found[i];
  return joined.empty() ? "HDF5 gives no reason" : joined;
}

const char* name_of(Type t) {
  switch (t) {
    case Type::u8: return "uint8";
    case Type::i8: return "int8";
    case Type::i32: return "int32";
    case Type::i64: return "int64";
    case Type::f16: return "float16";
    case Type::f32: return "float32";
    case Type::f64: return "float64";
    case Type::text: return "text";
    case Type::other: break;
  }
  return "another type";
}

std::size_t size_of(Type t) {
  switch (t) {
    case Type::u8:
    case Type::i8: return 1;
    case Type::f16: return 2;
    case Type::i32:
    case Type::f32: return 4;
    case Type::i64:
    case Type::f64: return 8;
    case Type::text:
    case Type::other: break;
  }
  return 0;
}

Handle make_type(Type t) {
  const auto copy = [](hid_t of) { return own(H5Tcopy(of), "copy a type"); };
  switch (t) {
    case Type::u8: return copy(H5T_STD_U8LE);
    case Type::i8: return copy(H5T_STD_I8LE);
    case Type::i32: return copy(H5T_STD_I32LE);
    case Type::i64: return copy(H5T_STD_I64LE);
    case Type::f32: return copy(H5T_IEEE_F32LE);
    case Type::f64: return copy(H5T_IEEE_F64LE);
    case Type::f16: {
      // as h5py and NumPy's float16: sign bit 15, 5 exponent bits from 10, 10 mantissa bits from 0, bias 15
      Handle half = copy(H5T_IEEE_F32LE);
      must(H5Tset_fields(half.get(), 15, 10, 5, 0, 10), "make the float16 type");
      must(H5Tset_size(half.get(), 2), "make the float16 type");
      must(H5Tset_ebias(half.get(), 15), "make the float16 type");
      return half;
    }
    case Type::text: return text_type();
    case Type::other: break;
  }
  fail("hdf5", "expected a type with an HDF5 equivalent, got {}", name_of(t));
}

Handle text_type() {
  Handle t = own(H5Tcopy(H5T_C_S1), "make the text type");
  must(H5Tset_size(t.get(), H5T_VARIABLE), "make the text type");
  must(H5Tset_cset(t.get(), H5T_CSET_UTF8), "make the text type");
  return t;
}

File::File(Handle id, std::string path, std::shared_ptr<WriteFault> fault)
    : fault_(std::move(fault)), id_(std::move(id)), path_(std::move(path)) {}

File::~File() {
  const auto held = lock();
  open_.clear();
  id_.reset();
}

File File::create(const std::string& path) {
  const auto held = lock();
  const Handle list = access_list();
  auto fault = std::make_shared<WriteFault>();
  set_guarded_driver(list.get(), fault);
  return {own(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, list.get()), fmt::format("create '{}'", path)), path,
          fault};
}

File File::open(const std::string& path) {
  const auto held = lock();
  const Handle list = access_list();
  return {own(H5Fopen(path.c_str(), H5F_ACC_RDONLY, list.get()), fmt::format("open '{}' as HDF5", path)), path,
          nullptr};
}

File File::open_to_write(const std::string& path) {
  const auto held = lock();
  const Handle list = access_list();
  auto fault = std::make_shared<WriteFault>();
  set_guarded_driver(list.get(), fault);
  return {own(H5Fopen(path.c_str(), H5F_ACC_RDWR, list.get()), fmt::format("open '{}' to write", path)), path, fault};
}

File File::open_staged(const std::string& path) {
  const auto held = lock();
  const Handle list = access_list();
  auto fault = std::make_shared<WriteFault>();
  fault->staged = std::make_unique<Pages>();
  set_guarded_driver(list.get(), fault);
  return {own(H5Fopen(path.c_str(), H5F_ACC_RDWR, list.get()), fmt::format("open '{}' to change it", path)), path,
          fault};
}

File File::open_parallel(const std::string& path, const dist::Comm& comm) {
  void* native = dist::native_mpi_comm(comm);
  if (native == nullptr) return open_to_write(path);
  const auto held = lock();
  const Handle list = access_list();
  must(H5Pset_fapl_mpio(list.get(), *static_cast<MPI_Comm*>(native), MPI_INFO_NULL), "choose the MPI file driver");
  return {own(H5Fopen(path.c_str(), H5F_ACC_RDWR, list.get()), fmt::format("open '{}' on all ranks", path)), path,
          nullptr};
}

void File::settle(const std::string& what) const {
  if (fault_ && fault_->error != 0) {
    H5Eclear2(H5E_DEFAULT);
    fail_data("hdf5", "cannot {}: {}; free some space or write elsewhere", what, std::strerror(fault_->error));
  }
}

void File::flush() {
  const auto held = lock();
  const std::string what = fmt::format("write '{}'", path_);
  must(H5Fflush(id_.get(), H5F_SCOPE_GLOBAL), what);
  settle(what);
}

void File::close() {
  const auto held = lock();
  const std::string what = fmt::format("finish '{}'", path_);
  open_.clear();
  if (id_) must(H5Fclose(id_.release()), what);
  settle(what);
}

Pages File::take_changes() {
  check(fault_ && fault_->staged, "hdf5", "take_changes() of '{}', which is not staged", path_);
  close();
  return std::move(*fault_->staged);
}

bool File::has(const std::string& name) const {
  const auto held = lock();
  if (name == "/") return true;
  // H5Lexists wants every group on the way to exist
  for (std::size_t at = name.find('/', 1);; at = name.find('/', at + 1)) {
    const std::string part = name.substr(0, at);
    if (H5Lexists(id_.get(), part.c_str(), H5P_DEFAULT) <= 0) {
      H5Eclear2(H5E_DEFAULT);
      return false;
    }
    if (at == std::string::npos) return true;
  }
}

bool File::is_group(const std::string& name) const {
  const auto held = lock();
  if (!has(name)) return false;
  const Handle object =
      own(H5Oopen(id_.get(), name.c_str(), H5P_DEFAULT), fmt::format("open '{}' in '{}'", name, path_));
  return H5Iget_type(object.get()) == H5I_GROUP;
}

std::vector<std::string> File::children(const std::string& group) const {
  const auto held = lock();
  const std::string what = fmt::format("list '{}' in '{}'", group, path_);
  const Handle g = own(H5Gopen2(id_.get(), group.c_str(), H5P_DEFAULT), what);
  std::vector<std::string> found;
  must(H5Literate(
           g.get(), H5_INDEX_NAME, H5_ITER_INC, nullptr,
           [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
             static_cast<std::vector<std::string>*>(out)->emplace_back(name);
             return 0;
           },
           &found),
       what);
  return found;
}

void File::make_group(const std::string& name) {
  const auto held = lock();
  const std::string what = fmt::format("make group '{}' in '{}'", name, path_);
  own(H5Gcreate2(id_.get(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), what);
  settle(what);
}

void File::remove(const std::string& name) {
  const auto held = lock();
  const std::string what = fmt::format("remove '{}' from '{}'", name, path_);
  open_.erase(name);
  must(H5Ldelete(id_.get(), name.c_str(), H5P_DEFAULT), what);
  settle(what);
}

void File::rename(const std::string& from, const std::string& to) {
  const auto held = lock();
  const std::string what = fmt::format("rename '{}' to '{}' in '{}'", from, to, path_);
  open_.erase(from);
  must(H5Lmove(id_.get(), from.c_str(), id_.get(), to.c_str(), H5P_DEFAULT, H5P_DEFAULT), what);
  settle(what);
}

}  // namespace spn::data::h5
