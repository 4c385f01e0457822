// Files, folders and shards as one set of tensors; what is refused and how the user is told to go on.
#include "engine/ckpt/safetensors_set.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/temp_folder.h"

namespace spn::ckpt {
namespace {

using test::error_of;
using test::has;

Tensor one(float x) { return Tensor::from(std::vector<float>{x, x + 1}, {2}); }

TEST(SafetensorsSet, FileFolderAndShards) {
  const test::TempFolder folder;
  write_safetensors(folder / "model.safetensors", std::vector<NamedTensor>{{"a", one(1)}, {"b", one(5)}});
  for (const std::string& path : {folder / "model.safetensors", folder.path()}) {
    const SafetensorsSet set(path);
    EXPECT_EQ(set.path(), folder / "model.safetensors");
    EXPECT_EQ(set.tensors().size(), 2U);
    EXPECT_EQ(set.load("b").data<float>()[1], 6);
  }
  const test::TempFolder shards;
  write_safetensors(shards / "model-00001-of-00002.safetensors", std::vector<NamedTensor>{{"a", one(1)}});
  write_safetensors(shards / "model-00002-of-00002.safetensors", std::vector<NamedTensor>{{"b", one(5)}});
  shards.put("model.safetensors.index.json",
             R"({"metadata":{"total_size":16},"weight_map":{"a":"model-00001-of-00002.safetensors",
                 "b":"model-00002-of-00002.safetensors"}})");
  const SafetensorsSet set(shards.path());
  EXPECT_EQ(set.tensors().size(), 2U);
  EXPECT_EQ(set.load("a").data<float>()[0], 1);
  EXPECT_EQ(set.load("b").data<float>()[0], 5);
  EXPECT_EQ(set.info("b").shape, Shape{2});
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { (void)set.load("c"); }), "no tensor \"c\" among its 2"));
}

TEST(SafetensorsSet, RefusesBrokenIndexes) {
  const test::TempFolder folder;
  write_safetensors(folder / "x.safetensors", std::vector<NamedTensor>{{"a", one(1)}, {"b", one(5)}});
  write_safetensors(folder / "y.safetensors", std::vector<NamedTensor>{{"a", one(1)}});
  const std::pair<const char*, const char*> cases[] = {
      {"{", "no JSON"},
      {"[]", "weight_map"},
      {R"({"weight_map":[]})", "weight_map"},
      {R"({"weight_map":{}})", "weight_map"},
      {R"({"weight_map":{"a":7}})", "name of a file"},
      {R"({"weight_map":{"a":"../x.safetensors"}})", "name of a file"},
      {R"({"weight_map":{"a":"gone.safetensors"}})", "gone.safetensors"},
      {R"({"weight_map":{"c":"x.safetensors"}})", "tensor \"c\" is not in x.safetensors"},
      {R"({"weight_map":{"a":"x.safetensors"}})", "holds tensor \"b\""},
      {R"({"weight_map":{"a":"x.safetensors","b":"x.safetensors","c":"y.safetensors"}})", "tensor \"c\" is not in y"},
  };
  for (const auto& [text, says] : cases) {
    const std::string index = folder.put("model.safetensors.index.json", text);
    const std::string error = error_of(ErrorKind::data, [&] { const SafetensorsSet set(folder.path()); });
    EXPECT_TRUE(has(error, says)) << text << "\n" << error;
    EXPECT_TRUE(has(error, folder.path())) << error;
  }
  folder.put("model.safetensors.index.json", std::string(100000, '['));
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { const SafetensorsSet set(folder.path()); }), "nested too deeply"));
}

TEST(SafetensorsSet, SaysHowToConvertAPickle) {
  const test::TempFolder folder;
  const std::string zip = folder.put("weights.bin", std::string("PK\3\4\0\0", 6));
  for (const std::string& path : {zip, folder.put("old.pt", "\x80\x02rest")})
    EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { const SafetensorsSet set(path); }), "to_safetensors.py"));
  // a header of 0x280 bytes begins as a pickle does
  std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  header.resize(0x280, ' ');
  EXPECT_TRUE(SafetensorsSet(folder.put("t", std::string("\x80\x02\0\0\0\0\0\0", 8) + header + "x")).contains("a"));
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { const SafetensorsSet set(folder.path()); }), "got neither"));
  folder.put("pytorch_model.bin", "PK\3\4");
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { const SafetensorsSet set(folder.path()); }), "to_safetensors.py"));
  EXPECT_TRUE(has(error_of(ErrorKind::data, [&] { const SafetensorsSet set(folder / "no"); }), "no such file"));
}

}  // namespace
}  // namespace spn::ckpt
