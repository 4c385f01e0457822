#include "engine/ckpt/safetensors.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <set>

#include "engine/ckpt/safetensors_header.h"
#include "engine/core/file.h"
#include "engine/core/json.h"

namespace spn::ckpt {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

using Json = nlohmann::ordered_json;
constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr const char* kWhere = "safetensors";

// The dtype a stored type is read as.
std::optional<DType> dtype_of_type(const std::string& type) {
  if (type == "F32" || type == "F16") return DType::f32;
  if (type == "BF16") return DType::bf16;
  if (type == "F64") return DType::f64;
  if (type == "I32") return DType::i32;
  if (type == "I64") return DType::i64;
  if (type == "U8" || type == "BOOL") return DType::u8;
  return std::nullopt;
}

const char* type_of(DType t) {
  switch (t) {
    case DType::f32: return "F32";
    case DType::bf16: return "BF16";
    case DType::f64: return "F64";
    case DType::i32: return "I32";
    case DType::i64: return "I64";
    case DType::u8: return "U8";
  }
  return "?";
}

float float_of_half(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000U) << 16, exponent = (h >> 10) & 0x1fU;
  const std::uint32_t mantissa = h & 0x3ffU;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000U | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;  // zero and subnormals
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace

SafetensorsReader::SafetensorsReader(std::string path) : file_(std::move(path)) {
  if (file_.size() < 8)
    fail_data(kWhere, "{}: expected at least 8 bytes, got {}; no safetensors file", file_.path(), file_.size());
  std::uint64_t header = 0;
  file_.read(&header, 8, 0);
  if (header > kMaxHeader)
    fail_data(kWhere, "{}: header of {} bytes, at most {} allowed; no safetensors file", file_.path(), header,
              kMaxHeader);
  if (header > file_.size() - 8)
    fail_data(kWhere, "{}: header of {} bytes in a file of {}; the file is truncated", file_.path(), header,
              file_.size());
  std::string text(static_cast<std::size_t>(header), '\0');
  file_.read(text.data(), text.size(), 8);
  data_start_ = 8 + header;
  SafetensorsHeader parsed = parse_safetensors_header(file_.path(), text, file_.size() - data_start_);
  tensors_ = std::move(parsed.tensors);
  metadata_ = std::move(parsed.metadata);
}

const SafetensorInfo& SafetensorsReader::info(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    std::string some;
    for (const auto& [n, i] : tensors_)
      if (some.size() < 200) some += (some.empty() ? "" : ", ") + n;
    fail_data(kWhere, "{}: no tensor \"{}\" among its {}: {}{}", path(), name, tensors_.size(), some,
              some.size() >= 200 ? ", …" : "");
  }
  return it->second;
}

Tensor SafetensorsReader::load(const std::string& name, Device device) const {
  const SafetensorInfo& i = info(name);
  const auto dtype = dtype_of_type(i.type);
  if (!dtype)
    fail_data(kWhere, "{}: tensor \"{}\" is {}; expected F32, BF16, F16, F64, I32, I64, U8 or BOOL", path(), name,
              i.type);
  const Tensor t = Tensor::empty(i.shape, *dtype);
  if (i.type == "F16") {
    std::vector<std::uint16_t> half(static_cast<std::size_t>(t.numel()));
    file_.read(half.data(), half.size() * 2, data_start_ + i.begin);
    std::transform(half.begin(), half.end(), t.data<float>(), float_of_half);
  } else {
    file_.read(t.view().data, t.bytes(), data_start_ + i.begin);
  }
  return t.to(device);
}

void SafetensorsReader::load_into(const std::string& name, const Tensor& to) const {
  const SafetensorInfo& i = info(name);
  if (!(i.shape == to.shape()))
    fail_data(kWhere, "{}: tensor \"{}\": expected shape {}, got {}", path(), name, to.shape().str(), i.shape.str());
  const Tensor t = load(name);
  if (t.dtype() != to.dtype() && !(is_floating(t.dtype()) && is_floating(to.dtype())))
    fail_data(kWhere, "{}: tensor \"{}\": expected {}, got {}", path(), name, name_of(to.dtype()), i.type);
  to.copy_from(t.to(to.dtype()).to(to.device()));
}

void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors, const Metadata& metadata,
                       WriteMode mode) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& t : tensors) {
    check(static_cast<bool>(t.tensor), kWhere, "{}: tensor \"{}\" is absent", path, t.name);
    check(t.name != "__metadata__", kWhere, "{}: the name __metadata__ is taken", path);
    order.push_back(&t);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    const std::size_t sa = size_of(a->tensor.dtype()), sb = size_of(b->tensor.dtype());
    return sa != sb ? sa > sb : a->name < b->name;
  });
  Json header = Json::object();
  header["__metadata__"]["format"] = "pt";
  for (const auto& [key, value] : metadata) header["__metadata__"][key] = value;
  std::uint64_t at = 0;
  std::set<std::string> names;
  for (const NamedTensor* t : order) {
    check(names.insert(t->name).second, kWhere, "{}: two tensors are named \"{}\"", path, t->name);
    const std::uint64_t end = at + t->tensor.bytes();
    Json shape = Json::array();
    for (std::int64_t e : t->tensor.shape()) shape.push_back(e);
    // push_back: ordered_json looks a new key up among all before it
    header.get_ref<Json::object_t&>().push_back(
        {t->name, Json{{"dtype", type_of(t->tensor.dtype())}, {"shape", shape}, {"data_offsets", {at, end}}}});
    at = end;
  }
  std::string text;
  try {
    text = json_text(header);
  } catch (const Json::exception& e) {
    fail(kWhere, "{}: a name or a metadata entry is no UTF-8: {}", path, e.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  check(length <= kMaxHeader, kWhere, "{}: a header of {} bytes, at most {} allowed", path, length, kMaxHeader);

  const std::string target = mode == WriteMode::aside ? path + ".tmp" : path;
  try {
    files::FileWriter file(target);
    file.write(&length, 8);
    file.write(text);
    for (const NamedTensor* t : order) {
      const Tensor host = t->tensor.to(Device{}).contiguous();
      file.write(host.view().data, host.bytes());
    }
    file.finish();
    if (mode == WriteMode::aside) files::rename_durably(target, path);
  } catch (...) {
    ::unlink(target.c_str());
    throw;
  }
}

}  // namespace spn::ckpt
