// For data/h5/*.cpp only: hdf5.h, checked calls, types.
#pragma once

#include <hdf5.h>

#include <string>
#include <type_traits>

#include "data/h5/h5.h"
#include "engine/core/check.h"

namespace spn::data::h5 {

static_assert(std::is_same_v<hid_t, std::int64_t> || sizeof(hid_t) == sizeof(std::int64_t));

// What HDF5 says went wrong, innermost reason first; empties its error stack.
std::string reasons();

// Turns a negative return into a data error that names what was tried.
template <class T>
T must(T result, const std::string& what) {
  if (result < 0) fail_data("hdf5", "cannot {}: {}", what, reasons());
  return result;
}
inline Handle own(hid_t id, const std::string& what) { return Handle(must(id, what)); }

// A new type id of the file's (little-endian) or the memory's kind.
Handle make_type(Type t);
Handle text_type();

}  // namespace spn::data::h5
