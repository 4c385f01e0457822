// .npy files written by hand in every version and type, damaged ones, and those that NumPy writes.
#include "data/readers/npy.h"

#include <gtest/gtest.h>

#include "data/pack/half.h"
#include "tests/support/errors.h"
#include "tests/support/find_python.h"
#include "tests/support/temp_folder.h"

namespace spn::data {
namespace {

std::string npy(const std::string& dict, const std::string& bytes, int version = 1) {
  std::string header = dict + "\n";
  std::string file = "\x93NUMPY";
  file += static_cast<char>(version);
  file += '\0';
  const auto n = static_cast<std::uint32_t>(header.size());
  file.append(reinterpret_cast<const char*>(&n), version == 1 ? 2 : 4);
  return file + header + bytes;
}

template <class T>
std::string bytes_of(const std::vector<T>& v) {
  return {reinterpret_cast<const char*>(v.data()), v.size() * sizeof(T)};
}

std::string dict(const std::string& type, const std::string& shape, const std::string& order = "False") {
  return "{'descr': '" + type + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

const std::vector<float> kValues{0.5F, -1, 2, 3, 4.25F, 5};

TEST(Npy, ReadsEveryVersionAndFloat) {
  const test::TempFolder folder;
  std::vector<std::uint16_t> half(6);
  to_half(kValues, half);
  const std::vector<double> wide(kValues.begin(), kValues.end());
  for (const int version : {1, 2, 3})
    for (const auto& [type, bytes] : {std::pair<std::string, std::string>{"<f2", bytes_of(half)},
                                      {"<f4", bytes_of(kValues)},
                                      {"<f8", bytes_of(wide)}}) {
      const NpyMatrix m = read_npy(folder.put("a.npy", npy(dict(type, "(2, 3)"), bytes, version)));
      EXPECT_EQ(m.rows, 2);
      EXPECT_EQ(m.columns, 3);
      EXPECT_EQ(m.values, kValues) << type << " version " << version;
    }
  // keys in another order, no blanks
  EXPECT_EQ(
      read_npy(folder.put("b.npy", npy("{'shape':(6,1),'fortran_order':False,'descr':'<f4'}", bytes_of(kValues)))).rows,
      6);
}

TEST(Npy, RefusesTheRestWithAReason) {
  const test::TempFolder folder;
  const std::string data = bytes_of(kValues);
  const auto refused = [&](const std::string& file, const std::string& word) {
    const std::string path = folder.put("x.npy", file);
    const std::string message = test::error_of(ErrorKind::data, [&] { read_npy(path); });
    EXPECT_TRUE(test::has(message, word)) << message;
    EXPECT_TRUE(test::has(message, "x.npy")) << message;
  };
  refused(npy(dict("<i8", "(2, 3)"), data), "<i8");
  refused(npy(dict(">f4", "(2, 3)"), data), ">f4");
  refused(npy(dict("|O", "(2, 3)"), data), "|O");
  refused(npy(dict("<f4", "(2, 3)", "True"), data), "Fortran order");
  refused(npy(dict("<f4", "(6,)"), data), "expected a matrix");
  refused(npy(dict("<f4", "(1, 2, 3)"), data), "expected a matrix");
  refused(npy(dict("<f4", "(0, 3)"), ""), "expected a matrix");
  refused(npy(dict("<f4", "(2, -3)"), data), "shape");
  refused(npy(dict("<f4", "(2, 99999999999999999999)"), data), "too large");
  refused(npy(dict("<f4", "(4611686018427387904, 4)"), data), "24 bytes of data");
  refused(npy(dict("<f4", "(2, 4)"), data), "24 bytes of data");
  refused(npy(dict("<f4", "(2, 3)"), data + "x"), "25 bytes of data");
  refused(npy("{'descr': '<f4'}", data), "fortran_order");
  refused(npy("", data), "descr");
  refused(npy(dict("<f4", "(2, 3)"), data, 4), "format 1 to 3");
  refused("hello, this is text", "something else");
  refused("\x93NUM", "cut off");
  refused("", "cut off");
  std::string damaged = npy(dict("<f4", "(2, 3)"), data, 2);
  damaged[10] = '\x7f';
  refused(damaged, "damaged");
  EXPECT_TRUE(test::has(test::error_of(ErrorKind::data, [&] { read_npy(folder / "none.npy"); }), "cannot read"));
}

// No cut of a good file is read as something else.
TEST(Npy, EveryTruncationIsAnError) {
  const test::TempFolder folder;
  const std::string whole = npy(dict("<f4", "(2, 3)"), bytes_of(kValues));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const std::string path = folder.put("x.npy", whole.substr(0, n));
    EXPECT_THROW(read_npy(path), Error) << n;
  }
}

TEST(Npy, ReadsWhatNumPyWrites) {
  SPN_FIND_PYTHON(python, "numpy");
  const test::TempFolder folder;
  const std::string script =
      "import numpy, sys; a = numpy.arange(60).reshape(5, 12) / 8; d = sys.argv[1]\n"
      "for t in ('float16', 'float32', 'float64'): numpy.save(d + '/' + t + '.npy', a.astype(t))\n"
      "with open(d + '/v3.npy', 'wb') as f: numpy.lib.format.write_array(f, a, version=(3, 0))\n";
  ASSERT_EQ(std::system((python + " -c \"" + script + "\" '" + folder.path() + "'").c_str()), 0);
  for (const char* name : {"float16", "float32", "float64", "v3"}) {
    const NpyMatrix m = read_npy(folder / (std::string(name) + ".npy"));
    ASSERT_EQ(m.rows, 5) << name;
    ASSERT_EQ(m.columns, 12) << name;
    for (std::size_t i = 0; i < 60; ++i) ASSERT_EQ(m.values[i], static_cast<float>(i) / 8) << name;
  }
}

}  // namespace
}  // namespace spn::data
