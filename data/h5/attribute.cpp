// Attributes of a File's objects: text, numbers, flags, lists of text.
#include <cstring>

#include "data/h5/internal.h"

namespace spn::data::h5 {
namespace {

struct Opened {
  Handle attribute, type, space;
  std::string what;
  std::int64_t count = 1;
};

Opened open_attribute(Id file, const std::string& path, const std::string& object, const std::string& name) {
  Opened o;
  o.what = fmt::format("read attribute '{}' of '{}' in '{}'", name, object, path);
  if (H5Aexists_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT) <= 0) {
    reasons();
    fail_data("hdf5", "expected attribute '{}' of '{}' in '{}', got none", name, object, path);
  }
  o.attribute = own(H5Aopen_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT), o.what);
  o.type = own(H5Aget_type(o.attribute.get()), o.what);
  o.space = own(H5Aget_space(o.attribute.get()), o.what);
  o.count = must(H5Sget_simple_extent_npoints(o.space.get()), o.what);
  return o;
}

std::vector<std::string> read_texts(const Opened& o) {
  if (H5Tget_class(o.type.get()) != H5T_STRING) fail_data("hdf5", "cannot {}: expected text, got a number", o.what);
  const std::size_t n = static_cast<std::size_t>(o.count);
  std::vector<std::string> values(n);
  if (n == 0) return values;
  if (H5Tis_variable_str(o.type.get()) > 0) {
    std::vector<char*> pointers(n, nullptr);
    must(H5Aread(o.attribute.get(), o.type.get(), pointers.data()), o.what);
    for (std::size_t i = 0; i < n; ++i)
      if (pointers[i] != nullptr) values[i] = pointers[i];
    H5Dvlen_reclaim(o.type.get(), o.space.get(), H5P_DEFAULT, pointers.data());
  } else {
    const std::size_t width = H5Tget_size(o.type.get());
    std::string all(n * width, '\0');
    must(H5Aread(o.attribute.get(), o.type.get(), all.data()), o.what);
    for (std::size_t i = 0; i < n; ++i)
      values[i].assign(all.data() + i * width, strnlen(all.data() + i * width, width));
  }
  return values;
}

void read_one(const Opened& o, hid_t memory, void* value) {
  const H5T_class_t kind = H5Tget_class(o.type.get());
  if ((kind != H5T_INTEGER && kind != H5T_FLOAT) || o.count != 1)
    fail_data("hdf5", "cannot {}: expected one number, got {} of another kind", o.what, o.count);
  must(H5Aread(o.attribute.get(), memory, value), o.what);
}

}  // namespace

bool File::has_attribute(const std::string& object, const std::string& name) const {
  const auto held = lock();
  const bool found = has(object) && H5Aexists_by_name(id_.get(), object.c_str(), name.c_str(), H5P_DEFAULT) > 0;
  H5Eclear2(H5E_DEFAULT);
  return found;
}

void File::write_attribute(const std::string& object, const std::string& name, Id file_type, Id memory_type, Id space,
                           const void* value) {
  const std::string what = fmt::format("write attribute '{}' of '{}' in '{}'", name, object, path_);
  if (has_attribute(object, name)) must(H5Adelete_by_name(id_.get(), object.c_str(), name.c_str(), H5P_DEFAULT), what);
  const Handle a = own(H5Acreate_by_name(id_.get(), object.c_str(), name.c_str(), file_type, space, H5P_DEFAULT,
                                         H5P_DEFAULT, H5P_DEFAULT),
                       what);
  if (value != nullptr) must(H5Awrite(a.get(), memory_type, value), what);
  settle(what);
}

void File::set_text(const std::string& object, const std::string& name, const std::string& value) {
  const auto held = lock();
  const Handle t = text_type(), space = own(H5Screate(H5S_SCALAR), "make a scalar space");
  const char* pointer = value.c_str();
  write_attribute(object, name, t.get(), t.get(), space.get(), &pointer);
}

void File::set_number(const std::string& object, const std::string& name, double value) {
  const auto held = lock();
  const Handle space = own(H5Screate(H5S_SCALAR), "make a scalar space");
  write_attribute(object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, space.get(), &value);
}

void File::set_integer(const std::string& object, const std::string& name, std::int64_t value) {
  const auto held = lock();
  const Handle space = own(H5Screate(H5S_SCALAR), "make a scalar space");
  write_attribute(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, space.get(), &value);
}

void File::set_flag(const std::string& object, const std::string& name, bool value) {
  const auto held = lock();
  const Handle t = own(H5Tenum_create(H5T_STD_I8LE), "make the boolean type");
  const std::int8_t no = 0, yes = 1, mine = value ? yes : no;
  must(H5Tenum_insert(t.get(), "FALSE", &no), "make the boolean type");
  must(H5Tenum_insert(t.get(), "TRUE", &yes), "make the boolean type");
  const Handle space = own(H5Screate(H5S_SCALAR), "make a scalar space");
  write_attribute(object, name, t.get(), t.get(), space.get(), &mine);
}

void File::set_texts(const std::string& object, const std::string& name, const std::vector<std::string>& values) {
  const auto held = lock();
  // no values: a zero-length list, not H5S_NULL (AnnData's readers want a list)
  const hsize_t n = values.size();
  const Handle t = text_type(), space = own(H5Screate_simple(1, &n, nullptr), "make a space");
  std::vector<const char*> pointers;
  for (const std::string& v : values) pointers.push_back(v.c_str());
  write_attribute(object, name, t.get(), t.get(), space.get(), pointers.empty() ? nullptr : pointers.data());
}

std::string File::text(const std::string& object, const std::string& name) const {
  const auto held = lock();
  const Opened o = open_attribute(id_.get(), path_, object, name);
  auto values = read_texts(o);
  if (values.size() != 1) fail_data("hdf5", "cannot {}: expected one text, got {}", o.what, values.size());
  return std::move(values[0]);
}

std::vector<std::string> File::texts(const std::string& object, const std::string& name) const {
  const auto held = lock();
  return read_texts(open_attribute(id_.get(), path_, object, name));
}

double File::number(const std::string& object, const std::string& name) const {
  const auto held = lock();
  double value = 0;
  read_one(open_attribute(id_.get(), path_, object, name), H5T_NATIVE_DOUBLE, &value);
  return value;
}

std::int64_t File::integer(const std::string& object, const std::string& name) const {
  const auto held = lock();
  std::int64_t value = 0;
  read_one(open_attribute(id_.get(), path_, object, name), H5T_NATIVE_INT64, &value);
  return value;
}

}  // namespace spn::data::h5
