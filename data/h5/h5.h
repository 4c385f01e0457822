// HDF5 files without its C API: RAII, errors with HDF5's own reasons (ErrorKind::data), objects by path name.
// Debian's HDF5 is not thread-safe: every call here takes one process-wide lock. hdf5.h stays inside data/h5.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "data/h5/pages.h"
#include "engine/core/handle.h"
#include "engine/dist/comm.h"

namespace spn::data::h5 {

using Id = std::int64_t;  // hid_t
struct CloseId {
  void operator()(Id id) const noexcept;  // any kind of id; errors are dropped
};
using Handle = spn::Handle<Id, Id{-1}, CloseId>;

// The process-wide lock, for callers that need several calls to be one. Recursive.
std::unique_lock<std::recursive_mutex> lock();

// Element types of datasets, in memory and in the file (little-endian there). f16 is IEEE half, two bytes in memory.
enum class Type : std::uint8_t { u8, i8, i32, i64, f16, f32, f64, text, other };
const char* name_of(Type t);
std::size_t size_of(Type t);  // bytes an element; 0 for text and other

struct WriteFault;

struct Dataset {
  Type type = Type::other;          // other: a type that is not in the list (H5T conversion may still read it)
  std::vector<std::int64_t> shape;  // empty: scalar
  std::int64_t offset = -1;         // byte in the file where plain little-endian rows begin; -1: chunked, filtered, …
  std::string filter;               // name of a filter that this library lacks, empty: readable
};

class File {
 public:
  static File create(const std::string& path);  // truncates
  static File open(const std::string& path);    // read-only
  static File open_to_write(const std::string& path);
  // Nothing reaches the disk: what changed is told by take_changes(), for a caller that writes all of it or nothing.
  // Held in memory: for tables and attributes, not for rows.
  static File open_staged(const std::string& path);
  // Collective: all ranks of comm write the same file; close() is collective too. `self` opens it alone.
  static File open_parallel(const std::string& path, const dist::Comm& comm);
  File(File&&) noexcept = default;
  File& operator=(File&&) noexcept = default;
  ~File();
  void flush();
  // Throws when the last bytes cannot be written; the destructor does not.
  void close();
  // Of a staged file: closes it and returns the changed pages.
  Pages take_changes();
  const std::string& path() const { return path_; }

  // Names are full paths: "/spots/xy".
  bool has(const std::string& name) const;
  bool is_group(const std::string& name) const;
  std::vector<std::string> children(const std::string& group) const;  // in name order
  void make_group(const std::string& name);
  // Unlinks a dataset; its space in the file is not given back.
  void remove(const std::string& name);
  // Another name for a dataset, which keeps its place in the file.
  void rename(const std::string& from, const std::string& to);

  // Data error when there is no such dataset.
  Dataset dataset(const std::string& name) const;
  // Contiguous, space reserved at once, not filled: every element must be written.
  void make_dataset(const std::string& name, Type type, const std::vector<std::int64_t>& shape);
  // Rows [first, first + rows) of dim 0; data is row-major of type `memory`. Not collective, also in a parallel file.
  void write_rows(const std::string& name, Type memory, const void* data, std::int64_t first, std::int64_t rows);
  void read_rows(const std::string& name, Type memory, void* data, std::int64_t first, std::int64_t rows) const;
  // make_dataset and write_rows of everything.
  void write_all(const std::string& name, Type type, const std::vector<std::int64_t>& shape, const void* data);
  // Variable-length UTF-8, one-dimensional. Serial files only: parallel HDF5 cannot write them.
  void write_strings(const std::string& name, const std::vector<std::string>& values);
  std::vector<std::string> read_strings(const std::string& name) const;  // variable or fixed length
  void write_scalar(const std::string& name, const std::string& value);
  void write_scalar(const std::string& name, double value);
  void write_scalar(const std::string& name, std::int64_t value);

  // Attributes of a group or dataset ("/" is the root). Written anew when present.
  bool has_attribute(const std::string& object, const std::string& name) const;
  void set_text(const std::string& object, const std::string& name, const std::string& value);
  void set_number(const std::string& object, const std::string& name, double value);
  void set_integer(const std::string& object, const std::string& name, std::int64_t value);
  void set_flag(const std::string& object, const std::string& name, bool value);  // enum {FALSE, TRUE} over int8
  void set_texts(const std::string& object, const std::string& name, const std::vector<std::string>& values);
  // Data error when absent or of another kind.
  std::string text(const std::string& object, const std::string& name) const;
  double number(const std::string& object, const std::string& name) const;
  std::int64_t integer(const std::string& object, const std::string& name) const;
  std::vector<std::string> texts(const std::string& object, const std::string& name) const;

 private:
  File(Handle id, std::string path, std::shared_ptr<WriteFault> fault);
  void settle(const std::string& what) const;   // throws when a write to the disk has failed
  Id opened(const std::string& dataset) const;  // opened once, kept until close()
  void write_attribute(const std::string& object, const std::string& name, Id file_type, Id memory_type, Id space,
                       const void* value);

  std::shared_ptr<WriteFault> fault_;  // before id_: must outlive it
  Handle id_;
  std::string path_;
  mutable std::map<std::string, Handle> open_;
};

}  // namespace spn::data::h5
