#include "engine/models/weights.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/ckpt/safetensors_set.h"
#include "engine/core/sha256.h"
#include "engine/models/resample.h"

namespace spn::models {
namespace {

constexpr const char* kWhere = "weights";

bool starts(const std::string& s, std::string_view with) { return s.starts_with(with); }
bool is_counter(const std::string& name) { return name.ends_with("num_batches_tracked"); }

// A file beside the part of a registry that it is for. Names on both sides stand without the prefix.
class Fitting {
 public:
  Fitting(nn::Registry& registry, const std::string& path, const std::string& prefix) : file_(path), path_(path) {
    for (const auto& e : registry.entries())
      if (starts(e.name, prefix)) ours_.emplace(e.name.substr(prefix.size()), &e);
    check(!ours_.empty(), kWhere, "the model holds nothing below {}", prefix);
    std::size_t others = 0;
    const bool whole_model = std::any_of(file_.tensors().begin(), file_.tensors().end(),
                                         [&](const auto& t) { return starts(t.first, prefix); });
    for (const auto& [name, reader] : file_.tensors())
      if (!whole_model)
        theirs_.emplace(name, name);
      else if (starts(name, prefix))
        theirs_.emplace(name.substr(prefix.size()), name);
      else
        ++others;
    if (others > 0) note(fmt::format("{} tensors of other parts are not read", others));
  }

  bool has(const std::string& name) const { return theirs_.count(name) != 0; }
  const Shape& their_shape(const std::string& name) const { return file_.info(theirs_.at(name)).shape; }
  const std::map<std::string, std::string>& theirs() const { return theirs_; }
  const std::map<std::string, const nn::Registry::Entry*>& ours() const { return ours_; }
  const Tensor& our_value(const std::string& name) const { return ours_.at(name)->value(); }
  Tensor load(const std::string& name) const { return file_.load(theirs_.at(name)).to(DType::f32); }

  void note(std::string text) { notes_.push_back(std::move(text)); }
  void problem(std::string text) { problems_.push_back(std::move(text)); }
  // The file's tensor is not used.
  void drop(const std::string& name) { theirs_.erase(name); }
  // The file has no such tensor, and that is well.
  void keep_ours(const std::string& name) { ours_.erase(name); }
  // A tensor that is made from the file's instead of copied.
  void make(const std::string& name, Tensor value) {
    made_.emplace(name, std::move(value));
    theirs_.erase(name);
    ours_.erase(name);
  }
  void rename(std::map<std::string, std::string> theirs) { theirs_ = std::move(theirs); }
  [[noreturn]] void refuse(const std::string& why) const { fail_data(kWhere, "{}: {}", path_, why); }

  // Everything fits and is copied, or one error and nothing is.
  WeightsLoaded finish(const nn::Registry& registry, const std::string& prefix, const std::string& more_advice = "") {
    for (const auto& [name, entry] : ours_)
      if (!has(name))
        problem("missing " + name + " " + entry->value().shape().str());
      else if (!(their_shape(name) == entry->value().shape()))
        problem(name + ": expected shape " + entry->value().shape().str() + ", got " + their_shape(name).str());
      else if (is_floating(entry->value().dtype()) != is_floating_type(file_.info(theirs_.at(name)).type))
        problem(name + ": expected " + name_of(entry->value().dtype()) + ", got " + file_.info(theirs_.at(name)).type);
    for (const auto& [name, theirs] : theirs_)
      if (ours_.count(name) == 0) problem("unexpected " + theirs + " " + their_shape(name).str());
    if (!problems_.empty()) {
      std::string text;
      for (const auto& p : problems_) text += "\n  " + p;
      const std::string what = prefix.empty() ? "" : "the " + prefix.substr(0, prefix.size() - 1) + " of ";
      fail_data(kWhere, "{} does not fit {}this model: {} tensors differ; check its sizes (--config){}:{}", path_, what,
                problems_.size(), more_advice, text);
    }
    for (const auto& [name, entry] : ours_) {
      file_.load_into(theirs_.at(name), entry->value());
      entry->written();
    }
    for (const auto& e : registry.entries())
      if (starts(e.name, prefix))
        if (const auto it = made_.find(e.name.substr(prefix.size())); it != made_.end()) {
          e.value().copy_from(it->second.to(e.value().device()));
          e.written();
        }
    WeightsLoaded loaded{file_.path(), static_cast<std::int64_t>(ours_.size() + made_.size()), std::move(notes_), {}};
    for (const auto& [name, entry] : ours_) loaded.names.push_back(prefix + name);
    for (const auto& [name, value] : made_) loaded.names.push_back(prefix + name);
    return loaded;
  }

 private:
  static bool is_floating_type(const std::string& type) { return starts(type, "F") || type == "BF16"; }
  ckpt::SafetensorsSet file_;
  std::string path_;
  std::map<std::string, const nn::Registry::Entry*> ours_;
  std::map<std::string, std::string> theirs_;  // name in our terms -> name in the file
  std::map<std::string, Tensor> made_;
  std::vector<std::string> notes_, problems_;
};

void refuse_other_architectures(const Fitting& f, const VitSize& size) {
  const char* patch = "patch_embed.proj.weight";
  const bool registers = f.has("reg_token") || f.has("register_tokens");
  if (f.has(patch) && f.their_shape(patch) == Shape{1536, 3, 14, 14} && registers)
    f.refuse(
        "this is UNI2-h (width 1536, patch 14, 8 register tokens, gated MLP), another architecture than the ViT of "
        "ST-Align; use UNI (MahmoodLab/UNI, a ViT-L/16)");
  if (registers)
    f.refuse("a ViT with register tokens is another architecture than the ViT of ST-Align (class token alone)");
  if (f.has("fc_norm.weight"))
    f.refuse(
        "fc_norm means that this ViT averages its patches; ST-Align reads the class token after `norm`, which it "
        "does not have");
  if (f.has(patch) && f.their_shape(patch).ndim() == 4 && f.their_shape(patch)[2] != size.patch)
    f.refuse(fmt::format("its patches are {} px wide, those of this model {}; set --vit-patch {}",
                         f.their_shape(patch)[2], size.patch, f.their_shape(patch)[2]));
}

void fit_position(Fitting& f, const VitSize& size) {
  if (!f.has("pos_embed")) return;  // named as missing
  const Shape& got = f.their_shape("pos_embed");
  const std::int64_t to = size.px / size.patch;
  if (got.ndim() != 3 || got[0] != 1 || got[2] != size.width || got[1] < 2 || got[1] == 1 + to * to) return;
  const auto from = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(got[1] - 1))));
  if (from * from != got[1] - 1) {
    f.problem(fmt::format("pos_embed: expected a class token and a square grid, got {}: {} is no square", got.str(),
                          got[1] - 1));
    f.drop("pos_embed");
    f.keep_ours("pos_embed");
    return;
  }
  f.make("pos_embed", resample_position(f.load("pos_embed"), from, to));
  f.note(fmt::format("pos_embed of {} x {} positions was resampled to {} x {} (bicubic, antialiased, as timm does)",
                     from, from, to, to));
}

void fit_layer_scale(Fitting& f) {
  std::vector<std::string> gammas;
  for (const auto& [name, entry] : f.ours())
    if (name.ends_with(".ls1.gamma") || name.ends_with(".ls2.gamma")) gammas.push_back(name);
  if (std::any_of(gammas.begin(), gammas.end(), [&](const auto& g) { return f.has(g); })) return;
  for (const auto& g : gammas) f.make(g, Tensor::full(f.our_value(g).shape(), 1));
  f.note(fmt::format("the file has no layer scale: its {} factors are 1, which is the same", gammas.size()));
}

// The published code's ResNet: conv1.0, conv1.1, conv{2..5}_x.{i}.{residual_function.{0,1,3,4,6,7}, shortcut.{0,1}},
// fc.
std::map<std::string, std::string> published_names(const std::map<std::string, std::string>& theirs) {
  static const std::pair<const char*, const char*> kInBlock[] = {
      {"residual_function.0.", "conv1."}, {"residual_function.1.", "bn1."},   {"residual_function.3.", "conv2."},
      {"residual_function.4.", "bn2."},   {"residual_function.6.", "conv3."}, {"residual_function.7.", "bn3."},
      {"shortcut.", "downsample."}};
  std::map<std::string, std::string> out;
  for (const auto& [name, in_file] : theirs) {
    std::string ours = name;
    if (starts(name, "conv1.0."))
      ours = "conv1." + name.substr(8);
    else if (starts(name, "conv1.1."))
      ours = "bn1." + name.substr(8);
    else if (starts(name, "conv") && name.size() > 8 && name.compare(5, 3, "_x.") == 0) {
      const auto dot = name.find('.', 8);
      for (const auto& [from, to] : kInBlock)
        if (dot != std::string::npos && name.compare(dot + 1, std::string_view(from).size(), from) == 0)
          ours = fmt::format("layer{}.{}.{}{}", name[4] - '1', name.substr(8, dot - 8), to,
                             name.substr(dot + 1 + std::string_view(from).size()));
    }
    out.emplace(ours, in_file);
  }
  return out;
}

// Their stems differ in one kernel, which is all the user needs to hear.
void check_stem(const Fitting& f) {
  if (!f.has("conv1.weight")) return;
  const Shape &got = f.their_shape("conv1.weight"), &want = f.our_value("conv1.weight").shape();
  if (got.ndim() != 4 || got[2] == want[2] || (got[2] != 3 && got[2] != 7)) return;
  f.refuse(fmt::format("its stem is {}, that of this model {}; set --resnet-stem {}",
                       got[2] == 7 ? "imagenet" : "cifar", want[2] == 7 ? "imagenet" : "cifar",
                       got[2] == 7 ? "imagenet" : "cifar"));
}

void fit_classifier(Fitting& f) {
  const Shape want = f.our_value("fc.weight").shape();
  if (!f.has("fc.weight") && !f.has("fc.bias")) {
    f.note(fmt::format("the file has no fc: ours, {}, stays as it was", want.str()));
  } else if (f.has("fc.weight") && f.their_shape("fc.weight").ndim() == 2 && f.their_shape("fc.weight")[1] == want[1] &&
             f.their_shape("fc.weight")[0] != want[0]) {
    f.note(fmt::format("fc of {} classes was dropped: ours, {}, is a projection and stays as it was",
                       f.their_shape("fc.weight")[0], want.str()));
  } else {
    return;
  }
  for (const char* name : {"fc.weight", "fc.bias"}) {
    f.drop(name);
    f.keep_ours(name);
  }
}

// What --init may leave out (docs/formats.md#checkpoint): a fusion, or what two names stand for. fc is its own part:
// classifiers of other widths are dropped on import.
std::string part_of(const std::string& name) {
  if (starts(name, std::string(kResNetPrefix) + "fc.")) return std::string(kResNetPrefix) + "fc";
  const auto dot = name.find('.');
  if (dot == std::string::npos || name.substr(0, dot).ends_with("_fusion")) return name.substr(0, dot);
  return name.substr(0, name.find('.', dot + 1));
}

void fit_counters(Fitting& f) {
  std::vector<std::string> absent;
  for (const auto& [name, entry] : f.ours())
    if (is_counter(name) && !f.has(name)) absent.push_back(name);
  for (const auto& name : absent) f.keep_ours(name);
  if (!absent.empty())
    f.note(fmt::format("{} counters num_batches_tracked are not in the file and stay as they were", absent.size()));
}

}  // namespace

WeightsLoaded load_vit(nn::Registry& registry, const VitSize& size, const std::string& path,
                       const std::string& prefix) {
  Fitting f(registry, path, prefix);
  refuse_other_architectures(f, size);
  std::vector<std::string> heads;
  for (const auto& [name, in_file] : f.theirs())
    if (starts(name, "head.")) heads.push_back(name);
  for (const auto& name : heads) f.drop(name);
  if (!heads.empty()) f.note(fmt::format("{} tensors of the classifier head.* are not used", heads.size()));
  fit_position(f, size);
  fit_layer_scale(f);
  return f.finish(registry, prefix);
}

WeightsLoaded load_resnet(nn::Registry& registry, const std::string& path, const std::string& prefix) {
  Fitting f(registry, path, prefix);
  if (f.has("conv1.0.weight") && f.has("conv2_x.0.residual_function.0.weight")) {
    f.rename(published_names(f.theirs()));
    f.note("names are those of the published ST-Align (conv2_x.0.residual_function…)");
  }
  check_stem(f);
  fit_classifier(f);
  fit_counters(f);
  return f.finish(registry, prefix);
}

WeightsLoaded load_ours(nn::Registry& registry, const std::string& path) {
  Fitting f(registry, path, "");
  if (f.theirs().empty()) f.refuse("it holds no tensors");
  std::set<std::string> held;
  for (const auto& [name, in_file] : f.theirs()) {
    held.insert(part_of(name));
    held.insert(name.substr(0, name.find('.')));
  }
  std::map<std::string, int> lacking;  // by part, or by first name where nothing below it is there
  std::vector<std::string> absent;
  for (const auto& [name, entry] : f.ours()) {
    if (held.count(part_of(name)) != 0) continue;
    const std::string first = name.substr(0, name.find('.'));
    ++lacking[held.count(first) == 0 ? first : part_of(name)];
    absent.push_back(name);
  }
  for (const auto& name : absent) f.keep_ours(name);
  for (const auto& [part, n] : lacking)
    f.note(fmt::format("{} tensors of {} are not in the file and stay as they were", n, part));
  fit_counters(f);
  return f.finish(registry, "", "; a part may be absent as a whole, one that is there must be complete");
}

std::string weights_checksum(const nn::Registry& registry, const std::string& prefix) {
  std::map<std::string, Tensor> sorted;
  for (const auto& e : registry.entries())
    if (starts(e.name, prefix) && !is_counter(e.name)) sorted.emplace(e.name.substr(prefix.size()), e.value());
  check(!sorted.empty(), kWhere, "nothing to sum below {}", prefix);
  Sha256 sum;
  for (const auto& [name, value] : sorted) {
    const Tensor t = value.to(Device{}).to(DType::f32).contiguous();
    sum.add(name + " " + t.shape().str() + "\n");
    sum.add(t.view().data, t.bytes());
  }
  return sum.hex();
}

}  // namespace spn::models
