// safetensors: round trips with ourselves and with Python's package, and every malformed header refused by name.
#include "engine/ckpt/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/support/find_python.h"
#include "tests/support/temp_folder.h"

namespace spn::ckpt {
namespace {

using test::TempFolder;

std::vector<float> ramp(int n) {
  std::vector<float> v;
  for (int i = 0; i < n; ++i) v.push_back(0.5F * static_cast<float>(i) - 3);
  return v;
}

std::vector<NamedTensor> samples() {
  std::vector<bf16> half;
  for (float x : ramp(6)) half.emplace_back(x);
  return {{"b.weight", Tensor::from(ramp(6), {2, 3})},
          {"a.bias", Tensor::from(ramp(3), {3})},
          {"half", Tensor::from(half, {3, 2})},
          {"doubles", Tensor::from(std::vector<double>{1e300, -2.5}, {2})},
          {"bn.num_batches_tracked", Tensor::from(std::vector<std::int64_t>{1LL << 40}, {})},
          {"ints", Tensor::from(std::vector<std::int32_t>{-7, 9}, {2, 1})},
          {"bytes", Tensor::from(std::vector<std::uint8_t>{1, 2, 255}, {3})},
          {"empty", Tensor::from(std::vector<float>{}, {0, 4})}};
}

template <class T>
void expect_bits(const Tensor& got, const Tensor& want) {
  ASSERT_EQ(got.shape().str(), want.shape().str());
  ASSERT_EQ(got.dtype(), want.dtype());
  EXPECT_EQ(std::memcmp(got.data<T>(), want.data<T>(), want.bytes()), 0);
}

// A file made of any header text and so many data bytes.
void write_raw(const std::string& path, const std::string& header, std::size_t data) {
  std::ofstream out(path, std::ios::binary);
  const std::uint64_t n = header.size();
  out.write(reinterpret_cast<const char*>(&n), 8);
  out << header << std::string(data, 'x');
}

std::string error_of(const std::string& path) {
  try {
    const SafetensorsReader r(path);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_NE(std::string(e.what()).find(path), std::string::npos) << e.what();
    return e.what();
  }
  return "";
}

TEST(Safetensors, RoundTripOfEveryDtype) {
  const TempFolder folder;
  const std::string path = folder / "t.safetensors";
  write_safetensors(path, samples(), {{"step", "12"}});
  EXPECT_FALSE(std::filesystem::exists(path + ".tmp"));
  const SafetensorsReader r(path);
  EXPECT_EQ(r.metadata(), (Metadata{{"format", "pt"}, {"step", "12"}}));
  EXPECT_EQ(r.tensors().size(), samples().size());
  for (const auto& sample : samples())
    visit_all(sample.tensor.dtype(), "test",
              [&](auto e) { expect_bits<decltype(e)>(r.load(sample.name), sample.tensor); });
  // 8-byte elements first, then by name; data begins at a multiple of 8
  EXPECT_LT(r.info("bn.num_batches_tracked").begin, r.info("doubles").begin);
  EXPECT_LT(r.info("doubles").begin, r.info("a.bias").begin);
  EXPECT_LT(r.info("a.bias").begin, r.info("b.weight").begin);
  EXPECT_LT(r.info("half").begin, r.info("bytes").begin);
  std::uint64_t header = 0;
  std::ifstream(path, std::ios::binary).read(reinterpret_cast<char*>(&header), 8);
  EXPECT_EQ(header % 8, 0U);
}

TEST(Safetensors, NoTensorsAtAll) {
  const TempFolder folder;
  write_safetensors(folder / "none", {});
  EXPECT_TRUE(SafetensorsReader(folder / "none").tensors().empty());
}

TEST(Safetensors, LoadIntoChecksShapeAndKind) {
  const TempFolder folder;
  write_safetensors(folder / "t", samples());
  const SafetensorsReader r(folder / "t");
  const Tensor to = Tensor::from(std::vector<float>(6), {2, 3});
  r.load_into("b.weight", to);
  EXPECT_EQ(to.data<float>()[5], ramp(6)[5]);
  EXPECT_THROW(r.load_into("a.bias", to), Error);
  EXPECT_THROW(r.load_into("ints", Tensor::from(std::vector<float>(2), {2, 1})), Error);
  EXPECT_THROW((void)r.load("missing"), Error);
}

TEST(Safetensors, HalfIsReadAsFloat) {
  const TempFolder folder;
  // 1, -2, largest, smallest subnormal, -inf, nan, -0
  const std::uint16_t bits[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0xfc00, 0x7e00, 0x8000};
  const std::string header = R"({"h":{"dtype":"F16","shape":[7],"data_offsets":[0,14]}})";
  std::ofstream out(folder / "h", std::ios::binary);
  const std::uint64_t n = header.size();
  out.write(reinterpret_cast<const char*>(&n), 8);
  out << header;
  out.write(reinterpret_cast<const char*>(bits), sizeof bits);
  out.close();
  const Tensor t = SafetensorsReader(folder / "h").load("h");
  const float* v = t.data<float>();
  EXPECT_EQ(v[0], 1.0F);
  EXPECT_EQ(v[1], -2.0F);
  EXPECT_EQ(v[2], 65504.0F);
  EXPECT_EQ(v[3], 0x1p-24F);
  EXPECT_TRUE(v[4] < 0 && std::isinf(v[4]));
  EXPECT_TRUE(std::isnan(v[5]));
  EXPECT_TRUE(v[6] == 0 && std::signbit(v[6]));
}

TEST(Safetensors, RefusesMalformedHeaders) {
  struct Case {
    const char *header, *says;
    std::size_t data;
  };
  const Case cases[] = {
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "truncated", 4},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "follow the last tensor", 9},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", "belong to no tensor", 12},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
       "overlaps", 6},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[5,9]}})",
       "belong to no tensor", 9},
      {R"({"a":{"dtype":"X32","shape":[2],"data_offsets":[0,8]}})", "unknown dtype", 8},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "needs 12 bytes", 8},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", "too large a shape", 8},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "extents of at least 0", 8},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,2],"data_offsets":[0,8]}})", "dims", 8},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "end before they begin", 8},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0.0,8]}})", "data_offsets [begin, end]", 8},
      {R"({"a":{"dtype":"F32","shape":[2]}})", "expected an object of dtype", 8},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       "\"a\" twice", 4},
      {R"({"__metadata__":{"k":1}})", "is no string", 0},
      {R"({"a":)", "no JSON", 0},
      {R"([1])", "does not begin with {", 0},
      {"", "does not begin with {", 0},
  };
  const TempFolder folder;
  for (const Case& c : cases) {
    write_raw(folder / "bad", c.header, c.data);
    EXPECT_NE(error_of(folder / "bad").find(c.says), std::string::npos) << c.header << "\n" << error_of(folder / "bad");
  }
  std::ofstream(folder / "none").close();
  EXPECT_NE(error_of(folder / "none").find("at least 8 bytes"), std::string::npos);
  std::ofstream(folder / "long") << std::string(16, '\xff');
  EXPECT_NE(error_of(folder / "long").find("allowed"), std::string::npos);
  std::ofstream(folder / "short") << std::string("\x40\0\0\0\0\0\0\0{", 9);
  EXPECT_NE(error_of(folder / "short").find("truncated"), std::string::npos);
  EXPECT_NE(error_of(folder / "missing").find("No such file"), std::string::npos);
  EXPECT_NE(error_of(folder.path()).find("folder"), std::string::npos);
}

// Headers of megabytes that say nothing: refused where they stop making sense, in a message of a few lines.
TEST(Safetensors, LongHeadersCostNothing) {
  const TempFolder folder;
  const std::string many = std::string(2'000'000, '[');
  std::string ones = "1";
  for (int i = 0; i < 500'000; ++i) ones += ",1";
  const std::pair<std::string, const char*> cases[] = {
      {"{\"a\":" + many, "got a list"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":" + many, "extents of at least 0, got a list"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[" + ones + "]", "at most 6 dims"},
      {"{\"a\":{\"dtype\":\"" + many + "\"}}", "unknown dtype"},
      {"{\"" + many + "\":1}", "expected an object of dtype"},
      {"{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807,2,0],\"data_offsets\":[0,0]}}", "too large a shape"},
      {"{\"a\xff\":1}", "is no UTF-8"},
  };
  for (const auto& [header, says] : cases) {
    write_raw(folder / "bad", header, 0);
    const std::string error = error_of(folder / "bad");
    EXPECT_NE(error.find(says), std::string::npos) << error.substr(0, 400);
    EXPECT_LT(error.size(), 500U + folder.path().size());
  }
}

TEST(Safetensors, FailedWriteLeavesTheOldFile) {
  const TempFolder folder;
  write_safetensors(folder / "t", samples());
  std::vector<NamedTensor> twice = samples();
  twice.push_back(twice[0]);
  EXPECT_THROW(write_safetensors(folder / "t", twice), Error);
  EXPECT_EQ(SafetensorsReader(folder / "t").tensors().size(), samples().size());
  EXPECT_THROW(write_safetensors(folder / "no/such/folder", samples()), Error);
}

TEST(Safetensors, PythonReadsOursAndWeReadPythons) {
  SPN_FIND_PYTHON(python, "numpy, safetensors");
  const TempFolder folder;
  write_safetensors(folder / "ours", samples(), {{"step", "12"}});
  // numpy has no bfloat16: of "half" Python sees type and shape here; its bits are checked where PyTorch is installed
  const char* script = R"(
import sys
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
with safe_open(sys.argv[1], "np") as f:
    assert f.metadata() == {"format": "pt", "step": "12"}, f.metadata()
    half = f.get_slice("half")
    assert half.get_dtype() == "BF16" and half.get_shape() == [3, 2], half.get_dtype()
    t = {k: f.get_tensor(k) for k in f.keys() if k != "half"}
ramp = lambda n: np.arange(n, dtype=np.float32) * np.float32(0.5) - np.float32(3)
assert np.array_equal(t["b.weight"], ramp(6).reshape(2, 3)) and np.array_equal(t["a.bias"], ramp(3))
assert t["doubles"].dtype == np.float64 and np.array_equal(t["doubles"], [1e300, -2.5])
assert t["bn.num_batches_tracked"].shape == () and t["bn.num_batches_tracked"].item() == 1 << 40
assert t["ints"].dtype == np.int32 and np.array_equal(t["ints"], [[-7], [9]])
assert t["bytes"].dtype == np.uint8 and np.array_equal(t["bytes"], [1, 2, 255]) and t["empty"].shape == (0, 4)
t["float16"], t["flag"] = ramp(5).astype(np.float16), np.array([True, False])
save_file(t, sys.argv[2])
)";
  const std::string command = python + " '" + folder.put("script.py", script) + "' ";
  ASSERT_EQ(std::system((command + (folder / "ours") + " " + (folder / "theirs")).c_str()), 0);
  const SafetensorsReader r(folder / "theirs");
  for (const auto& sample : samples())
    if (sample.name != "half")
      visit_all(sample.tensor.dtype(), "test",
                [&](auto e) { expect_bits<decltype(e)>(r.load(sample.name), sample.tensor); });
  expect_bits<float>(r.load("float16"), Tensor::from(ramp(5), {5}));
  expect_bits<std::uint8_t>(r.load("flag"), Tensor::from(std::vector<std::uint8_t>{1, 0}, {2}));
}

}  // namespace
}  // namespace spn::ckpt
