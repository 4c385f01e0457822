#include "engine/ckpt/safetensors.h"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <optional>
#include <set>

namespace spn::ckpt {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

using Json = nlohmann::ordered_json;
constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr const char* kWhere = "safetensors";

// Bits an element, of every type of the format; absent for a name that is no type.
std::optional<std::uint64_t> bits_of(const std::string& type) {
  static const std::map<std::string, std::uint64_t> bits = {
      {"BOOL", 8}, {"U8", 8},      {"I8", 8},          {"F8_E5M2", 8},     {"F8_E4M3", 8}, {"F8_E8M0", 8},
      {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"F8_E4M3FNUZ", 8}, {"I16", 16},    {"U16", 16},
      {"F16", 16}, {"BF16", 16},   {"F8_E5M2FNUZ", 8}, {"I32", 32},        {"U32", 32},    {"F32", 32},
      {"C64", 64}, {"F64", 64},    {"I64", 64},        {"U64", 64},
  };
  const auto it = bits.find(type);
  return it == bits.end() ? std::nullopt : std::optional(it->second);
}

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

// nlohmann keeps the last of equal keys; here a second one is an error.
Json parse_strictly(const std::string& path, const std::string& text) {
  std::vector<std::set<std::string>> seen;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    const auto level = static_cast<std::size_t>(depth);
    if (event == Json::parse_event_t::object_start) {
      if (seen.size() < level + 2) seen.resize(level + 2);
      seen[level + 1].clear();
    } else if (event == Json::parse_event_t::key) {
      const auto key = value.get<std::string>();
      if (!seen.at(level).insert(key).second) fail_data(kWhere, "{}: the header names \"{}\" twice", path, key);
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& e) {
    fail_data(kWhere, "{}: the header is no JSON: {}", path, e.what());
  }
}

SafetensorInfo parse_entry(const std::string& path, const std::string& name, const Json& e) {
  const auto bad = [&](const std::string& why) { fail_data(kWhere, "{}: tensor \"{}\": {}", path, name, why); };
  if (!e.is_object() || e.size() != 3 || !e.contains("dtype") || !e.contains("shape") || !e.contains("data_offsets"))
    bad("expected an object of dtype, shape and data_offsets, got " + e.dump().substr(0, 120));
  const Json &type = e["dtype"], &shape = e["shape"], &offsets = e["data_offsets"];
  if (!type.is_string() || !bits_of(type.get<std::string>())) bad("unknown dtype " + type.dump());
  SafetensorInfo info;
  info.type = type.get<std::string>();
  if (!shape.is_array()) bad("expected a list as shape, got " + shape.dump());
  if (shape.size() > kMaxDims) bad(fmt::format("expected at most {} dims, got shape {}", kMaxDims, shape.dump()));
  const std::uint64_t bits = *bits_of(info.type);
  // the product must fit in 64 bits together with the element size
  std::uint64_t n = 1;
  bool zero = false, overflow = false;
  for (const Json& d : shape) {
    if (!d.is_number_unsigned()) bad("expected extents of at least 0, got shape " + shape.dump());
    const auto extent = d.get<std::uint64_t>();
    zero = zero || extent == 0;
    if (extent > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      bad("too large a shape " + shape.dump());
    if (extent != 0 && n > std::numeric_limits<std::int64_t>::max() / bits / extent)
      overflow = true;
    else if (extent != 0)
      n *= extent;
    info.shape.push_back(static_cast<std::int64_t>(extent));
  }
  if (zero) n = 0;
  if (overflow && !zero) bad("too large a shape " + shape.dump());
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    bad("expected data_offsets [begin, end], got " + offsets.dump());
  info.begin = offsets[0].get<std::uint64_t>();
  info.end = offsets[1].get<std::uint64_t>();
  if (info.end < info.begin) bad("data_offsets end before they begin: " + offsets.dump());
  if (n * bits % 8 != 0 || info.end - info.begin != n * bits / 8)
    bad(fmt::format("shape {} of {} needs {} bytes, data_offsets {} give {}", info.shape.str(), info.type, n * bits / 8,
                    offsets.dump(), info.end - info.begin));
  return info;
}

// Tensors must fill the data exactly: no gap, no overlap, nothing after the last.
void check_layout(const std::string& path, const std::map<std::string, SafetensorInfo>& tensors, std::uint64_t size) {
  std::vector<const std::pair<const std::string, SafetensorInfo>*> order;
  for (const auto& t : tensors) order.push_back(&t);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  std::uint64_t at = 0;
  for (const auto* t : order) {
    const auto& [name, info] = *t;
    if (info.end > size)
      fail_data(kWhere, "{}: tensor \"{}\" ends at byte {} of the data, which has {}; the file is truncated", path,
                name, info.end, size);
    if (info.begin < at) fail_data(kWhere, "{}: tensor \"{}\" overlaps the one before it", path, name);
    if (info.begin > at)
      fail_data(kWhere, "{}: {} bytes before tensor \"{}\" belong to no tensor", path, info.begin - at, name);
    at = info.end;
  }
  if (at != size) fail_data(kWhere, "{}: {} bytes follow the last tensor", path, size - at);
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
  if (text.empty() || text[0] != '{') fail_data(kWhere, "{}: the header does not begin with {{", file_.path());
  const Json json = parse_strictly(file_.path(), text);
  for (const auto& [name, entry] : json.items()) {
    if (name != "__metadata__") {
      tensors_.emplace(name, parse_entry(file_.path(), name, entry));
      continue;
    }
    if (!entry.is_object()) fail_data(kWhere, "{}: __metadata__ is no object", file_.path());
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) fail_data(kWhere, "{}: __metadata__ \"{}\" is no string", file_.path(), key);
      metadata_.emplace(key, value.get<std::string>());
    }
  }
  data_start_ = 8 + header;
  check_layout(file_.path(), tensors_, file_.size() - data_start_);
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
    text = header.dump();
  } catch (const Json::exception& e) {
    fail(kWhere, "{}: a name or a metadata entry is no UTF-8: {}", path, e.what());
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  check(length <= kMaxHeader, kWhere, "{}: a header of {} bytes, at most {} allowed", path, length, kMaxHeader);

  const std::string target = mode == WriteMode::aside ? path + ".tmp" : path;
  try {
    FileWriter file(target);
    file.write(&length, 8);
    file.write(text);
    for (const NamedTensor* t : order) {
      const Tensor host = t->tensor.to(Device{}).contiguous();
      file.write(host.view().data, host.bytes());
    }
    file.finish();
    if (mode == WriteMode::aside) rename_durably(target, path);
  } catch (...) {
    ::unlink(target.c_str());
    throw;
  }
}

}  // namespace spn::ckpt
