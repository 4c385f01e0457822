// "\x93NUMPY", version, length of the header, a Python dict as text, data. The dict has three keys in any order; its
// values are found by name, which needs no Python parser.
#include "data/readers/npy.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "data/pack/half.h"
#include "engine/core/check.h"

namespace spn::data {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::size_t kMagic = 6, kMostHeader = 1 << 20;
constexpr const char* kAdvice = "save it with numpy.save(path, numpy.ascontiguousarray(matrix, dtype='float32'))";

struct Reader {
  const std::string& path;
  std::ifstream file;
  std::uint64_t size = 0;

  void take(void* to, std::size_t bytes) {
    file.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    if (static_cast<std::size_t>(file.gcount()) != bytes) fail_data("npy", "'{}' is cut off; copy it again", path);
  }
};

// What stands after 'key': in the dict, blanks skipped.
std::string value_of(const std::string& header, const std::string& key, const std::string& path) {
  const auto at = header.find("'" + key + "'");
  const auto colon = at == std::string::npos ? at : header.find(':', at);
  const auto begin = colon == std::string::npos ? colon : header.find_first_not_of(" \t", colon + 1);
  if (begin == std::string::npos) fail_data("npy", "the header of '{}' has no '{}'; {}", path, key, kAdvice);
  return header.substr(begin);
}

// "(12, 512), }…" -> 12, 512
std::vector<std::int64_t> shape_of(const std::string& text, const std::string& path) {
  std::vector<std::int64_t> shape;
  const auto end = text.find(')');
  if (text.empty() || text[0] != '(' || end == std::string::npos)
    fail_data("npy", "the header of '{}' has no shape; {}", path, kAdvice);
  for (std::size_t at = 1; at < end;) {
    const auto digit = text.find_first_not_of(" ,", at);
    if (digit == std::string::npos || digit >= end) break;
    std::int64_t v = 0;
    std::size_t p = digit;
    for (; p < end && text[p] >= '0' && text[p] <= '9'; ++p) {
      if (v > (std::numeric_limits<std::int64_t>::max() - 9) / 10)
        fail_data("npy", "the header of '{}' has a dimension that is too large; {}", path, kAdvice);
      v = 10 * v + (text[p] - '0');
    }
    if (p == digit) fail_data("npy", "the header of '{}' has the shape {}; {}", path, text.substr(0, end + 1), kAdvice);
    shape.push_back(v);
    at = p;
  }
  return shape;
}

std::string read_header(Reader& r) {
  unsigned char head[kMagic + 2];
  r.take(head, sizeof head);
  if (std::memcmp(head, "\x93NUMPY", kMagic) != 0)
    fail_data("npy", "expected a .npy file, got something else: '{}'; {}", r.path, kAdvice);
  const int version = head[kMagic];
  if (version < 1 || version > 3) fail_data("npy", "expected .npy format 1 to 3, got {} in '{}'", version, r.path);
  std::uint32_t length = 0;
  r.take(&length, version == 1 ? 2 : 4);
  if (length > kMostHeader || length > r.size)
    fail_data("npy", "'{}' says that its header is {} bytes long; it is damaged", r.path, length);
  std::string header(length, '\0');
  r.take(header.data(), length);
  return header;
}

}  // namespace

NpyMatrix read_npy(const std::string& path) {
  Reader r{path, std::ifstream(path, std::ios::binary)};
  std::error_code error;
  r.size = std::filesystem::file_size(path, error);
  if (!r.file || error) fail_data("npy", "cannot read '{}'", path);
  const std::string header = read_header(r), type = value_of(header, "descr", path);
  const bool f2 = type.rfind("'<f2'", 0) == 0, f4 = type.rfind("'<f4'", 0) == 0, f8 = type.rfind("'<f8'", 0) == 0;
  if (!f2 && !f4 && !f8)
    fail_data("npy", "expected little-endian float16, float32 or float64, got {} in '{}'; {}",
              type.substr(0, type.find(',')), path, kAdvice);
  if (value_of(header, "fortran_order", path).rfind("False", 0) != 0)
    fail_data("npy", "expected C order, got Fortran order in '{}'; {}", path, kAdvice);
  const auto shape = shape_of(value_of(header, "shape", path), path);
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1)
    fail_data("npy", "expected a matrix, a row a spot, got shape ({}) in '{}'", fmt::join(shape, ", "), path);

  const std::uint64_t left = r.size - static_cast<std::uint64_t>(r.file.tellg()), width = f2 ? 2 : f4 ? 4 : 8;
  const auto rows = static_cast<std::uint64_t>(shape[0]), columns = static_cast<std::uint64_t>(shape[1]);
  if (rows > left / width / columns || rows * columns * width != left)
    fail_data("npy", "expected {} x {} values of {} bytes in '{}', got {} bytes of data; copy it again", rows, columns,
              width, path, left);
  NpyMatrix m{shape[0], shape[1], std::vector<float>(rows * columns)};
  if (f4) {
    r.take(m.values.data(), m.values.size() * 4);
  } else if (f2) {
    std::vector<std::uint16_t> half(m.values.size());
    r.take(half.data(), half.size() * 2);
    from_half(half, m.values);
  } else {
    std::vector<double> line(columns);
    for (std::uint64_t row = 0; row < rows; ++row) {
      r.take(line.data(), columns * 8);
      for (std::uint64_t c = 0; c < columns; ++c) m.values[row * columns + c] = static_cast<float>(line[c]);
    }
  }
  return m;
}

}  // namespace spn::data
