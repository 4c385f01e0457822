// Rank 0 makes the datasets in one commit; all ranks then write rows and marks with pwrite at their offsets, so that
// HDF5 has nothing to keep consistent while the long work runs.
#include "data/pack/features.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>

#include "data/pack/commit.h"
#include "data/pack/half.h"
#include "data/pack/layout.h"
#include "data/pack/pack_lock.h"
#include "engine/core/check.h"
#include "engine/core/file.h"
#include "engine/core/view.h"
#include "engine/dist/together.h"

namespace spn::data {
namespace {

using h5::Type;

constexpr const char* kChecksum = "checksum";
constexpr const char* kBlockRows = "block_rows";
// All that any kind may have; what is absent is left out.
constexpr const char* kFacts[] = {"encoder", "encoder_config", "precision",    "weights",          "source",
                                  "key",     "source_sha256",  "missing_rows", "spotniche_version"};
// Facts that may differ between the run that began and one that goes on.
bool may_differ(const std::string& fact) {
  return fact == "weights" || fact == "key" || fact == "source" || fact == "source_sha256" ||
         fact == "spotniche_version";
}

std::int64_t count_blocks(std::int64_t spots, std::int64_t block_rows) { return (spots + block_rows - 1) / block_rows; }

std::vector<std::uint8_t> read_marks(const h5::File& file, FeatureKind kind, std::int64_t blocks) {
  std::vector<std::uint8_t> marks(static_cast<std::size_t>(blocks));
  file.read_rows(feature_blocks(kind), Type::u8, marks.data(), 0, blocks);
  return marks;
}

// What keeps `want` from going on with `have`; empty: nothing.
std::string difference(const FeatureInfo& have, const FeatureInfo& want) {
  if (have.checksum != want.checksum) return fmt::format("checksum {}, this run's is {}", have.checksum, want.checksum);
  if (have.width != want.width) return fmt::format("width {}, this run's is {}", have.width, want.width);
  if (have.type != want.type)
    return fmt::format("float{}, this run writes float{}", have.type == GeneType::f16 ? 16 : 32,
                       want.type == GeneType::f16 ? 16 : 32);
  for (const auto& [name, value] : want.facts) {
    const auto found = have.facts.find(name);
    const std::string old = found == have.facts.end() ? "not told" : found->second;
    if (!may_differ(name) && old != value) return fmt::format("{} {}, this run's is {}", name, old, value);
  }
  return "";
}

// Old ones are unlinked last: HDF5 gives bytes that it has freed to what is made next, and a run that has the pack open
// still reads the old ones at their offsets.
void make_features(const std::string& path, FeatureKind kind, const FeatureInfo& want, std::int64_t spots) {
  h5::File file = h5::File::open_staged(path);
  const std::string name = feature_dataset(kind), marks = feature_blocks(kind);
  const std::string new_name = name + ".new", new_marks = marks + ".new";
  file.make_dataset(new_name, want.type == GeneType::f16 ? Type::f16 : Type::f32, {spots, want.width});
  const std::int64_t blocks = count_blocks(spots, want.block_rows);
  const std::vector<std::uint8_t> none(static_cast<std::size_t>(blocks), 0);
  file.write_all(new_marks, Type::u8, {blocks}, none.data());
  file.set_text(new_name, kChecksum, want.checksum);
  file.set_integer(new_name, kBlockRows, want.block_rows);
  for (const auto& [fact, value] : want.facts) file.set_text(new_name, fact, value);
  for (const auto& [from, to] : {std::pair{new_name, name}, std::pair{new_marks, marks}}) {
    if (file.has(to)) file.remove(to);
    file.rename(from, to);
  }
  commit_pages(path, file.take_changes());
}

}  // namespace

const char* name_of(FeatureKind kind) { return kind == FeatureKind::niche_image ? "niche_image" : "spot_gene"; }
std::string feature_dataset(FeatureKind kind) { return fmt::format("/spots/{}_feature", name_of(kind)); }
std::string feature_blocks(FeatureKind kind) { return feature_dataset(kind) + "_blocks"; }

std::string FeatureInfo::progress() const {
  return fmt::format("{} of {} blocks of {} rows", done, blocks, block_rows);
}

std::optional<FeatureInfo> read_features(const h5::File& file, FeatureKind kind, std::int64_t spots) {
  const std::string name = feature_dataset(kind), marks = feature_blocks(kind);
  if (!file.has(name)) return std::nullopt;
  const auto broken = [&](const std::string& what) {
    fail_data("features", "{} in '{}' {}; write it again with spotniche encode --overwrite", name, file.path(), what);
  };
  const h5::Dataset d = file.dataset(name);
  if (d.shape.size() != 2 || d.shape[0] != spots || d.shape[1] < 1)
    broken(fmt::format("is [{}], expected a vector for each of {} spots", fmt::join(d.shape, ", "), spots));
  if (d.type != Type::f16 && d.type != Type::f32)
    broken(fmt::format("is {}, expected float16 or float32", h5::name_of(d.type)));
  for (const char* attribute : {kChecksum, kBlockRows})
    if (!file.has_attribute(name, attribute)) broken(fmt::format("has no attribute {}", attribute));
  FeatureInfo info;
  info.width = d.shape[1];
  info.type = d.type == Type::f16 ? GeneType::f16 : GeneType::f32;
  info.checksum = file.text(name, kChecksum);
  info.block_rows = file.integer(name, kBlockRows);
  if (info.block_rows < 1) broken(fmt::format("has blocks of {} rows", info.block_rows));
  info.blocks = count_blocks(spots, info.block_rows);
  if (!file.has(marks) || file.dataset(marks).shape != std::vector<std::int64_t>{info.blocks})
    broken(fmt::format("expects {} marks in {}", info.blocks, marks));
  for (const char* fact : kFacts)
    if (file.has_attribute(name, fact)) info.facts[fact] = file.text(name, fact);
  for (const std::uint8_t m : read_marks(file, kind, info.blocks)) info.done += m == 1;
  return info;
}

struct FeatureWriter::Impl {
  dist::Comm& comm;
  std::string path;
  FeatureKind kind;
  FeatureInfo info;
  std::int64_t spots = 0, rows_at = -1, marks_at = -1;
  std::vector<std::int64_t> todo;
  files::Fd fd;
  std::vector<std::uint16_t> half;
  WriterLock lock;  // rank 0's

  void begin(const FeatureInfo& want, bool overwrite);
  void open();
  void share_todo();
  void sync() const;
};

void FeatureWriter::Impl::begin(const FeatureInfo& want, bool overwrite) {
  check(want.width > 0 && want.block_rows > 0, "features", "expected positive width and block rows, got {} and {}",
        want.width, want.block_rows);
  // what is read from here on stays true until the commit, and the marks are this run's alone until it ends
  lock = WriterLock(path, "encode");
  finish_commit(path);
  std::int64_t n = 0;
  std::optional<FeatureInfo> have;
  {
    const h5::File file = h5::File::open(path);
    n = read_header(file).spots;
    try {
      have = read_features(file, kind, n);
    } catch (const Error&) {
      if (!overwrite) throw;
    }
  }
  if (have) {
    const std::string why = difference(*have, want);
    if (why.empty() && !(overwrite && have->complete())) return;
    if (!overwrite)
      fail_data("features", "'{}' has {} features already ({}{}), of {}; give --overwrite to replace them", path,
                name_of(kind), have->complete() ? "complete" : "incomplete: ", have->complete() ? "" : have->progress(),
                why);
  }
  make_features(path, kind, want, n);
}

void FeatureWriter::Impl::open() {
  const h5::File file = h5::File::open(path);
  spots = read_header(file).spots;
  const auto have = read_features(file, kind, spots);
  check(have.has_value(), "features", "expected the features just made in '{}', got none", path);
  info = *have;
  rows_at = file.dataset(feature_dataset(kind)).offset;
  marks_at = file.dataset(feature_blocks(kind)).offset;
  if (rows_at < 0 || marks_at < 0)
    fail_data("features",
              "'{}' was rewritten by another program (its features are chunked or compressed); give --overwrite", path);
  fd = files::open_file(path, O_RDWR, "change");
  const auto marks = read_marks(file, kind, info.blocks);
  for (std::int64_t b = 0; b < info.blocks; ++b)
    if (marks[static_cast<std::size_t>(b)] != 1) todo.push_back(b);
}

// Rank 0's: on a network file system ranks may see marks of different age, and would then meet in different rounds.
void FeatureWriter::Impl::share_todo() {
  auto count = static_cast<std::int64_t>(todo.size());
  comm.broadcast(host_view(&count, {1}), 0);
  todo.resize(static_cast<std::size_t>(count));
  if (count > 0) comm.broadcast(host_view(todo.data(), {count}), 0);
}

void FeatureWriter::Impl::sync() const {
  if (::fdatasync(fd.get()) != 0) files::fail_errno("sync", path, errno);
}

FeatureWriter::FeatureWriter(dist::Comm& comm, std::string path, FeatureKind kind, const FeatureInfo& want,
                             bool overwrite)
    : impl_(new Impl{comm, std::move(path), kind, {}, 0, -1, -1, {}, {}, {}, {}}) {
  dist::together(comm, "features", [&] {
    if (comm.rank() == 0) impl_->begin(want, overwrite);
  });
  // all ranks look before the first of them writes
  dist::together(comm, "features", [&] { impl_->open(); });
  impl_->share_todo();
}

FeatureWriter::~FeatureWriter() = default;

const FeatureInfo& FeatureWriter::info() const { return impl_->info; }
const std::vector<std::int64_t>& FeatureWriter::todo() const { return impl_->todo; }
std::int64_t FeatureWriter::first_row(std::int64_t block) const { return block * impl_->info.block_rows; }
std::int64_t FeatureWriter::rows(std::int64_t block) const {
  return std::min(impl_->info.block_rows, impl_->spots - first_row(block));
}

void FeatureWriter::write(std::int64_t block, std::span<const float> values) {
  Impl& w = *impl_;
  check(block >= 0 && block < w.info.blocks, "features", "expected a block below {}, got {}", w.info.blocks, block);
  const std::int64_t first = first_row(block), width = w.info.width;
  check(values.size() == static_cast<std::size_t>(rows(block) * width), "features", "expected {} values, got {}",
        rows(block) * width, values.size());
  const bool as_half = w.info.type == GeneType::f16;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]) || (as_half && !(std::fabs(values[i]) < 65520.0F)))
      fail_data("features", "expected finite values{}, got {} for row {}, column {} of {} in '{}'{}",
                as_half ? " within float16" : "", values[i], first + static_cast<std::int64_t>(i) / width,
                static_cast<std::int64_t>(i) % width, feature_dataset(w.kind), w.path,
                as_half ? "; store them as float32" : "");
  const void* bytes = values.data();
  std::size_t value_bytes = sizeof(float);
  if (as_half) {
    w.half.resize(values.size());
    to_half(values, w.half);
    bytes = w.half.data();
    value_bytes = sizeof(std::uint16_t);
  }
  files::write_at(w.fd, w.path, bytes, values.size() * value_bytes,
                  static_cast<std::uint64_t>(w.rows_at + first * width * static_cast<std::int64_t>(value_bytes)));
  w.sync();  // rows before their mark
  const std::uint8_t mark = 1;
  files::write_at(w.fd, w.path, &mark, 1, static_cast<std::uint64_t>(w.marks_at + block));
}

void FeatureWriter::finish() {
  dist::together(impl_->comm, "features", [&] { impl_->sync(); });
  impl_->lock.release();
}

}  // namespace spn::data
