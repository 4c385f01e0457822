#include "engine/ckpt/safetensors_header.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>
#include <optional>

namespace spn::ckpt {
namespace {

using Json = nlohmann::json;
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

// A name from a file as an error may show it: short, and without bytes that steer a terminal.
std::string shown(std::string_view name) {
  std::string s(name.substr(0, 120));
  for (char& c : s)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return name.size() > 120 ? s + "…" : s;
}

// Bytes of a tensor; absent: more than 63 bits can count, or no whole number of bytes.
std::optional<std::uint64_t> bytes_of(const SafetensorInfo& info) {
  std::uint64_t n = *bits_of(info.type);
  for (const std::int64_t extent : info.shape) {
    const auto e = static_cast<std::uint64_t>(extent);
    // extents beside a zero must not overflow either: others multiply them without looking
    if (e > 0 && n > std::numeric_limits<std::int64_t>::max() / e) return std::nullopt;
    if (e > 0) n *= e;
  }
  if (std::any_of(info.shape.begin(), info.shape.end(), [](std::int64_t e) { return e == 0; })) return 0;
  return n % 8 == 0 ? std::optional(n / 8) : std::nullopt;
}

// Follows {"name": {"dtype": …, "shape": […], "data_offsets": […]}, …, "__metadata__": {…}} and nothing else.
class Parser final : public nlohmann::json_sax<Json> {
 public:
  explicit Parser(const std::string& path) : path_(path) {}
  SafetensorsHeader take() { return std::move(header_); }

  bool null() override { wrong("null"); }
  bool boolean(bool v) override { wrong(v ? "true" : "false"); }
  bool number_integer(number_integer_t v) override { wrong(std::to_string(v)); }
  bool number_float(number_float_t, const string_t& text) override { wrong(shown(text)); }
  bool binary(binary_t&) override { wrong("bytes"); }

  bool number_unsigned(number_unsigned_t v) override {
    if (at_ == At::shape) {
      if (v > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        bad(fmt::format("too large an extent, {}", v));
      if (entry_.shape.ndim() == kMaxDims) bad(fmt::format("expected at most {} dims, got more", kMaxDims));
      entry_.shape.push_back(static_cast<std::int64_t>(v));
    } else if (at_ == At::offsets && offsets_ < 2) {
      (offsets_++ == 0 ? entry_.begin : entry_.end) = v;
    } else {
      wrong(std::to_string(v));
    }
    return true;
  }

  bool string(string_t& v) override {
    if (at_ == At::type) {
      if (!bits_of(v)) bad("unknown dtype \"" + shown(v) + "\"");
      entry_.type = v;
      at_ = At::fields;
    } else if (at_ == At::metadata_value) {
      header_.metadata[name_] = v;
      at_ = At::metadata;
    } else {
      wrong("\"" + shown(v) + "\"");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    switch (at_) {
      case At::root: at_ = At::names; break;
      case At::entry:
        at_ = At::fields;
        entry_ = {};
        offsets_ = 0;
        has_shape_ = has_offsets_ = false;
        break;
      case At::metadata_start: at_ = At::metadata; break;
      default: wrong("an object");
    }
    return true;
  }

  bool key(string_t& k) override {
    if (at_ == At::names) {
      if (k == "__metadata__" ? has_metadata_ : header_.tensors.count(k) != 0) twice(k);
      name_ = k;
      has_metadata_ = has_metadata_ || k == "__metadata__";
      at_ = k == "__metadata__" ? At::metadata_start : At::entry;
    } else if (at_ == At::metadata) {
      if (header_.metadata.count(k) != 0) twice(k);
      name_ = k;
      at_ = At::metadata_value;
    } else if (k == "dtype") {
      if (!entry_.type.empty()) twice(k);
      at_ = At::type;
    } else if (k == "shape") {
      if (std::exchange(has_shape_, true)) twice(k);
      at_ = At::shape_start;
    } else if (k == "data_offsets") {
      if (std::exchange(has_offsets_, true)) twice(k);
      at_ = At::offsets_start;
    } else {
      bad("expected an object of dtype, shape and data_offsets, got a key \"" + shown(k) + "\"");
    }
    return true;
  }

  bool end_object() override {
    if (at_ == At::fields) finish_entry();
    at_ = at_ == At::names ? At::end : At::names;
    return true;
  }

  bool start_array(std::size_t) override {
    if (at_ == At::shape_start)
      at_ = At::shape;
    else if (at_ == At::offsets_start)
      at_ = At::offsets;
    else
      wrong("a list");
    return true;
  }

  bool end_array() override {
    if (at_ == At::offsets && offsets_ != 2) wrong("one of them");
    at_ = At::fields;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& e) override {
    const bool utf8 = std::string_view(e.what()).find("UTF-8") != std::string_view::npos;
    fail_data(kWhere, "{}: the header is no JSON: byte {} of it {}", path_, position,
              utf8 ? "is no UTF-8" : "was not expected");
  }

 private:
  enum class At : std::uint8_t {
    root,
    names,
    entry,
    fields,
    type,
    shape_start,
    shape,
    offsets_start,
    offsets,
    metadata_start,
    metadata,
    metadata_value,
    end
  };

  [[noreturn]] void bad(const std::string& why) const {
    fail_data(kWhere, "{}: tensor \"{}\": {}", path_, shown(name_), why);
  }
  [[noreturn]] void twice(const std::string& key) const {
    fail_data(kWhere, "{}: the header names \"{}\" twice", path_, shown(key));
  }
  // A value of another kind than the format has at this place.
  [[noreturn]] void wrong(const std::string& got) const {
    switch (at_) {
      case At::entry: bad("expected an object of dtype, shape and data_offsets, got " + got);
      case At::type: bad("unknown dtype " + got);
      case At::shape_start: bad("expected a list as shape, got " + got);
      case At::shape: bad("expected extents of at least 0, got " + got);
      case At::offsets_start:
      case At::offsets: bad("expected data_offsets [begin, end], got " + got);
      case At::metadata_start: fail_data(kWhere, "{}: __metadata__ is no object", path_);
      case At::metadata_value: fail_data(kWhere, "{}: __metadata__ \"{}\" is no string", path_, shown(name_));
      default: fail_data(kWhere, "{}: the header does not begin with {{", path_);
    }
  }

  void finish_entry() {
    if (entry_.type.empty() || !has_shape_ || !has_offsets_)
      bad("expected an object of dtype, shape and data_offsets, got less");
    const auto bytes = bytes_of(entry_);
    if (!bytes) bad(fmt::format("too large a shape {} of {}, or no whole bytes", entry_.shape.str(), entry_.type));
    if (entry_.end < entry_.begin)
      bad(fmt::format("data_offsets end before they begin: [{}, {}]", entry_.begin, entry_.end));
    if (entry_.end - entry_.begin != *bytes)
      bad(fmt::format("shape {} of {} needs {} bytes, data_offsets [{}, {}] give {}", entry_.shape.str(), entry_.type,
                      *bytes, entry_.begin, entry_.end, entry_.end - entry_.begin));
    header_.tensors.emplace(name_, entry_);
  }

  const std::string& path_;
  SafetensorsHeader header_;
  At at_ = At::root;
  std::string name_;  // the tensor or the metadata's key that is being read
  SafetensorInfo entry_;
  int offsets_ = 0;
  bool has_shape_ = false, has_offsets_ = false, has_metadata_ = false;
};

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
                shown(name), info.end, size);
    if (info.begin < at) fail_data(kWhere, "{}: tensor \"{}\" overlaps the one before it", path, shown(name));
    if (info.begin > at)
      fail_data(kWhere, "{}: {} bytes before tensor \"{}\" belong to no tensor", path, info.begin - at, shown(name));
    at = info.end;
  }
  if (at != size) fail_data(kWhere, "{}: {} bytes follow the last tensor", path, size - at);
}

}  // namespace

SafetensorsHeader parse_safetensors_header(const std::string& path, std::string_view text, std::uint64_t data_bytes) {
  if (text.empty() || text[0] != '{') fail_data(kWhere, "{}: the header does not begin with {{", path);
  Parser parser(path);
  Json::sax_parse(text, &parser);
  SafetensorsHeader header = parser.take();
  check_layout(path, header.tensors, data_bytes);
  return header;
}

}  // namespace spn::ckpt
