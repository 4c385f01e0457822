// Datasets of a File: shape and place on disk, rows in and out, strings, scalars.
#include <algorithm>
#include <bit>
#include <cstring>

#include "data/h5/internal.h"
#include "engine/core/json.h"
#include "engine/core/text.h"

namespace spn::data::h5 {
namespace {

static_assert(std::endian::native == std::endian::little,
              "packs are little-endian, and so is every machine we build for");

std::string at(const std::string& name, const std::string& path) { return fmt::format("'{}' in '{}'", name, path); }

Handle make_space(const std::vector<std::int64_t>& shape) {
  if (shape.empty()) return own(H5Screate(H5S_SCALAR), "make a scalar space");
  std::vector<hsize_t> dims(shape.begin(), shape.end());
  return own(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), "make a space");
}

Type type_of(hid_t id) {
  const H5T_class_t kind = H5Tget_class(id);
  if (kind == H5T_STRING) return Type::text;
  // of either order of bytes: HDF5 turns them while it reads
  const Handle little = own(H5Tcopy(id), "copy a type");
  if (kind == H5T_INTEGER || kind == H5T_FLOAT) must(H5Tset_order(little.get(), H5T_ORDER_LE), "set an order of bytes");
  for (Type t : {Type::u8, Type::i8, Type::i32, Type::i64, Type::f16, Type::f32, Type::f64})
    if (H5Tequal(little.get(), make_type(t).get()) > 0) return t;
  return Type::other;
}

// Filters of a chunked dataset that this HDF5 cannot undo (lzf, blosc, zstd, …): the first one's name.
std::string missing_filter(hid_t list) {
  const int filters = H5Pget_nfilters(list);
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0, config = 0;
    std::size_t values = 0;
    char name[64] = "";
    const H5Z_filter_t id =
        H5Pget_filter2(list, static_cast<unsigned>(i), &flags, &values, nullptr, sizeof name, name, &config);
    if (id >= 0 && H5Zfilter_avail(id) <= 0) return *name ? std::string(name) : fmt::format("filter {}", id);
  }
  return "";
}

// Selects rows [first, first + rows) of dim 0 and returns the matching memory space.
Handle select_rows(hid_t space, std::int64_t first, std::int64_t rows, const std::string& what) {
  const int n = H5Sget_simple_extent_ndims(space);
  check(n >= 1, "hdf5", "cannot {}: expected rows, got a scalar", what);
  std::vector<hsize_t> count(static_cast<std::size_t>(n)), start(count.size(), 0);
  H5Sget_simple_extent_dims(space, count.data(), nullptr);
  check(first >= 0 && rows >= 0 && static_cast<hsize_t>(first) + static_cast<hsize_t>(rows) <= count[0], "hdf5",
        "cannot {}: expected rows within [0, {}), got [{}, {})", what, count[0], first, first + rows);
  start[0] = static_cast<hsize_t>(first);
  count[0] = static_cast<hsize_t>(rows);
  if (rows == 0)
    must(H5Sselect_none(space), what);
  else
    must(H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr), what);
  return own(H5Screate_simple(n, count.data(), nullptr), what);
}

// Texts of ours are declared UTF-8.
void require_text(const std::string& value, const std::string& where) {
  if (value.find('\0') != std::string::npos)
    fail_data("hdf5", "text for {} holds a zero byte; HDF5 would cut it there", where);
  if (!is_utf8(value)) fail_data("hdf5", "expected UTF-8 text for {}, got '{}'", where, valid_utf8(value));
}

}  // namespace

Id File::opened(const std::string& name) const {
  const auto found = open_.find(name);
  if (found != open_.end()) return found->second.get();
  if (!has(name) || is_group(name)) fail_data("hdf5", "expected dataset '{}' in '{}', got none", name, path_);
  Handle id = own(H5Dopen2(id_.get(), name.c_str(), H5P_DEFAULT), "open " + at(name, path_));
  return open_.emplace(name, std::move(id)).first->second.get();
}

Dataset File::dataset(const std::string& name) const {
  const auto held = lock();
  const Id id = opened(name);
  const Handle type = own(H5Dget_type(id), "read the type of " + at(name, path_));
  const Handle space = own(H5Dget_space(id), "read the shape of " + at(name, path_));
  const Handle list = own(H5Dget_create_plist(id), "read the layout of " + at(name, path_));
  Dataset d;
  d.type = type_of(type.get());
  const int n = must(H5Sget_simple_extent_ndims(space.get()), "read the shape of " + at(name, path_));
  std::vector<hsize_t> dims(static_cast<std::size_t>(n));
  if (n > 0) H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr);
  d.shape.assign(dims.begin(), dims.end());
  if (size_of(d.type) > 0 && H5Tget_order(type.get()) != H5T_ORDER_BE && H5Pget_layout(list.get()) == H5D_CONTIGUOUS &&
      H5Pget_external_count(list.get()) == 0) {
    const haddr_t offset = H5Dget_offset(id);
    if (offset != HADDR_UNDEF) d.offset = static_cast<std::int64_t>(offset);
  }
  d.filter = missing_filter(list.get());
  H5Eclear2(H5E_DEFAULT);
  return d;
}

void File::make_dataset(const std::string& name, Type type, const std::vector<std::int64_t>& shape) {
  const auto held = lock();
  const Handle space = make_space(shape), t = make_type(type);
  const Handle list = own(H5Pcreate(H5P_DATASET_CREATE), "make a dataset list");
  must(H5Pset_layout(list.get(), H5D_CONTIGUOUS), "choose the layout");
  must(H5Pset_alloc_time(list.get(), H5D_ALLOC_TIME_EARLY), "choose when to allocate");
  must(H5Pset_fill_time(list.get(), H5D_FILL_TIME_NEVER), "choose not to fill");
  must(H5Pset_obj_track_times(list.get(), false), "choose no time stamps");  // equal content, equal bytes
  open_.insert_or_assign(
      name, own(H5Dcreate2(id_.get(), name.c_str(), t.get(), space.get(), H5P_DEFAULT, list.get(), H5P_DEFAULT),
                "make " + at(name, path_)));
  settle("make " + at(name, path_));
}

void File::write_rows(const std::string& name, Type memory, const void* data, std::int64_t first, std::int64_t rows) {
  const auto held = lock();
  const std::string what = "write " + at(name, path_);
  const Id id = opened(name);
  const Handle t = make_type(memory);
  // in pieces: MPI's counts are ints, and not every MPI-IO copes with more than 2 GiB a call
  constexpr std::int64_t kPieceBytes = std::int64_t{256} << 20;
  const Dataset d = dataset(name);
  std::int64_t row_bytes = static_cast<std::int64_t>(size_of(memory));
  for (std::size_t i = 1; i < d.shape.size(); ++i) row_bytes *= d.shape[i];
  const std::int64_t piece = std::max<std::int64_t>(1, kPieceBytes / std::max<std::int64_t>(1, row_bytes));
  std::int64_t done = 0;
  do {
    const std::int64_t n = std::min(piece, rows - done);
    const Handle space = own(H5Dget_space(id), what);
    const Handle mine = select_rows(space.get(), first + done, n, what);
    must(H5Dwrite(id, t.get(), mine.get(), space.get(), H5P_DEFAULT, static_cast<const char*>(data) + done * row_bytes),
         what);
    done += n;
    settle(what);
  } while (done < rows);
}

void File::read_rows(const std::string& name, Type memory, void* data, std::int64_t first, std::int64_t rows) const {
  const auto held = lock();
  const std::string what = "read " + at(name, path_);
  const Id id = opened(name);
  const Handle space = own(H5Dget_space(id), what), t = make_type(memory);
  const Handle mine = select_rows(space.get(), first, rows, what);
  must(H5Dread(id, t.get(), mine.get(), space.get(), H5P_DEFAULT, data), what);
}

void File::write_all(const std::string& name, Type type, const std::vector<std::int64_t>& shape, const void* data) {
  const auto held = lock();
  make_dataset(name, type, shape);
  write_rows(name, type, data, 0, shape.at(0));
}

void File::write_strings(const std::string& name, const std::vector<std::string>& values) {
  const auto held = lock();
  const std::string what = "write " + at(name, path_);
  std::vector<const char*> pointers;
  pointers.reserve(values.size());
  for (const std::string& v : values) {
    require_text(v, at(name, path_));
    pointers.push_back(v.c_str());
  }
  const Handle space = make_space({static_cast<std::int64_t>(values.size())}), t = text_type();
  const Handle id =
      own(H5Dcreate2(id_.get(), name.c_str(), t.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), what);
  if (!values.empty()) must(H5Dwrite(id.get(), t.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()), what);
  settle(what);
}

std::vector<std::string> File::read_strings(const std::string& name) const {
  const auto held = lock();
  const std::string what = "read " + at(name, path_);
  const Dataset d = dataset(name);
  if (d.type != Type::text || d.shape.size() != 1)
    fail_data("hdf5", "expected one-dimensional text in {}, got {} dims of {}", at(name, path_), d.shape.size(),
              name_of(d.type));
  if (!d.filter.empty())
    fail_data("hdf5", "{} is compressed with '{}', which this HDF5 library lacks; rewrite it with gzip or none",
              at(name, path_), d.filter);
  const Id id = opened(name);
  const Handle type = own(H5Dget_type(id), what), space = own(H5Dget_space(id), what);
  const std::size_t n = static_cast<std::size_t>(d.shape[0]);
  std::vector<std::string> values(n);
  if (n == 0) return values;
  if (H5Tis_variable_str(type.get()) > 0) {
    std::vector<char*> pointers(n, nullptr);
    must(H5Dread(id, type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()), what);
    for (std::size_t i = 0; i < n; ++i)
      if (pointers[i] != nullptr) values[i] = pointers[i];
    H5Dvlen_reclaim(type.get(), space.get(), H5P_DEFAULT, pointers.data());
  } else {
    const std::size_t width = H5Tget_size(type.get());
    std::string all(n * width, '\0');
    must(H5Dread(id, type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, all.data()), what);
    for (std::size_t i = 0; i < n; ++i)
      values[i].assign(all.data() + i * width, strnlen(all.data() + i * width, width));
  }
  return values;
}

void File::write_scalar(const std::string& name, const std::string& value) {
  const auto held = lock();
  require_text(value, at(name, path_));
  const std::string what = "write " + at(name, path_);
  const Handle space = make_space({}), t = text_type();
  const Handle id =
      own(H5Dcreate2(id_.get(), name.c_str(), t.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), what);
  const char* pointer = value.c_str();
  must(H5Dwrite(id.get(), t.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, &pointer), what);
  settle(what);
}

void File::write_scalar(const std::string& name, double value) {
  const auto held = lock();
  make_dataset(name, Type::f64, {});
  must(H5Dwrite(opened(name), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, &value), "write " + at(name, path_));
  settle("write " + at(name, path_));
}

void File::write_scalar(const std::string& name, std::int64_t value) {
  const auto held = lock();
  make_dataset(name, Type::i64, {});
  must(H5Dwrite(opened(name), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, &value), "write " + at(name, path_));
  settle("write " + at(name, path_));
}

}  // namespace spn::data::h5
