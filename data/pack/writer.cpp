// Three phases: rank 0 makes the file alone and reserves its space; all ranks write rows through parallel HDF5; rank 0
// adds names and tables alone (parallel HDF5 cannot write variable-length text), syncs and renames.
#include "data/pack/writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <optional>

#include "data/h5/h5.h"
#include "data/pack/half.h"
#include "data/pack/layout.h"
#include "data/pack/pack_lock.h"
#include "data/pack/temporary_file.h"
#include "engine/core/file.h"
#include "engine/core/log.h"
#include "engine/dist/together.h"

namespace spn::data {
namespace {

using h5::Type;

// Strings as length-prefixed bytes.
void pack_text(std::string& out, const std::string& s) {
  const auto n = static_cast<std::uint32_t>(s.size());
  out.append(reinterpret_cast<const char*>(&n), sizeof n);
  out += s;
}
template <class T>
void pack_plain(std::string& out, T v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}

struct Unpack {
  const std::string& in;
  std::size_t at = 0;
  bool done() const { return at >= in.size(); }
  template <class T>
  T plain() {
    T v;
    std::memcpy(&v, in.data() + at, sizeof v);
    at += sizeof v;
    return v;
  }
  std::string text() {
    const auto n = plain<std::uint32_t>();
    at += n;
    return in.substr(at - n, n);
  }
};

std::string pack_slides(const std::vector<PackSlide>& slides) {
  std::string out;
  for (const PackSlide& s : slides) {
    for (const std::string* t : {&s.name, &s.tissue, &s.species, &s.technology, &s.cluster_names}) pack_text(out, *t);
    for (double v : {s.um_per_px, s.pitch_um, s.niche_window_um, s.niche_radius_um}) pack_plain(out, v);
    for (std::int64_t v : {s.first_row, s.rows, s.padded_windows}) pack_plain(out, v);
  }
  return out;
}

void unpack_slides(const std::string& bytes, std::vector<PackSlide>& out) {
  for (Unpack u{bytes}; !u.done();) {
    PackSlide s;
    for (std::string* t : {&s.name, &s.tissue, &s.species, &s.technology, &s.cluster_names}) *t = u.text();
    for (double* v : {&s.um_per_px, &s.pitch_um, &s.niche_window_um, &s.niche_radius_um}) *v = u.plain<double>();
    for (std::int64_t* v : {&s.first_row, &s.rows, &s.padded_windows}) *v = u.plain<std::int64_t>();
    out.push_back(std::move(s));
  }
}

// Every rank's bytes on rank 0, in rank order; other ranks get nothing. Collective.
std::vector<std::string> gather_bytes(dist::Comm& comm, const std::string& mine) {
  std::vector<std::string> all;
  if (comm.rank() != 0) {
    std::int64_t n = static_cast<std::int64_t>(mine.size());
    comm.send(host_view(&n, {1}), 0);
    if (n > 0) comm.send(host_view(reinterpret_cast<const std::uint8_t*>(mine.data()), {n}), 0);
    return all;
  }
  all.push_back(mine);
  for (int r = 1; r < comm.size(); ++r) {
    std::int64_t n = 0;
    comm.recv(host_view(&n, {1}), r);
    std::string theirs(static_cast<std::size_t>(n), '\0');
    if (n > 0) comm.recv(host_view(reinterpret_cast<std::uint8_t*>(theirs.data()), {n}), r);
    all.push_back(std::move(theirs));
  }
  return all;
}

}  // namespace

struct PackWriter::Impl {
  dist::Comm& comm;
  std::string path, temporary;
  PackHeader header;
  WriterLock lock;  // rank 0's
  std::optional<h5::File> file;
  std::string written;  // (first row, rows, names…) of each write, for rank 0
  std::vector<std::uint16_t> half;
  bool published = false;

  void create();
  void open();
  void close();
  void write_genes(const char* name, const std::vector<float>& values, std::int64_t first, std::int64_t rows,
                   int width);
  std::vector<std::string> join_names(const std::vector<std::string>& all) const;
  void add_tables(const std::vector<std::string>& names, std::vector<PackSlide> slides,
                  const std::vector<std::string>& genes);
};

// Rank 0 alone, so that one rank's message tells what is wrong with the folder or the disk.
void PackWriter::Impl::create() {
  const PackHeader& h = header;
  check(h.spots > 0 && h.spot_px > 0 && h.niche_px > 0 && h.spot_genes > 0 && h.niche_genes > 0, "pack",
        "expected positive sizes, got {} spots, {} and {} px, {} and {} genes", h.spots, h.spot_px, h.niche_px,
        h.spot_genes, h.niche_genes);
  check_target(path);
  lock = WriterLock(path, "prepare");
  remove_left_behind(path);
  h5::File skeleton = h5::File::create(temporary);
  make_spots(skeleton, h);
  skeleton.close();
  reserve_space(temporary, static_cast<std::int64_t>(std::filesystem::file_size(temporary)));
}

void PackWriter::Impl::open() { file.emplace(h5::File::open_parallel(temporary, comm)); }

// Collective. Flushing may fail on one rank; all must still reach the close.
void PackWriter::Impl::close() {
  std::exception_ptr failure;
  try {
    file->flush();
  } catch (...) {
    failure = std::current_exception();
  }
  try {
    file->close();
    files::sync_file(temporary);  // on every rank: each node has its own cache
  } catch (...) {
    if (!failure) failure = std::current_exception();
  }
  file.reset();
  dist::share_failure(comm, "pack", failure);
}

PackWriter::PackWriter(dist::Comm& comm, std::string path, const PackHeader& header)
    : impl_(new Impl{comm, std::move(path), "", header, {}, {}, {}, {}, false}) {
  std::int64_t tag = new_tag();
  comm.broadcast(host_view(&tag, {1}), 0);
  impl_->temporary = temporary_name(impl_->path, tag);
  try {
    dist::together(comm, "pack", [&] {
      if (comm.rank() == 0) impl_->create();
    });
    dist::together(comm, "pack", [&] { impl_->open(); });
  } catch (...) {
    if (comm.rank() == 0) remove_quietly(impl_->temporary);
    throw;
  }
}

PackWriter::~PackWriter() {
  impl_->file.reset();
  if (!impl_->published && impl_->comm.rank() == 0) remove_quietly(impl_->temporary);
}

void PackWriter::Impl::write_genes(const char* name, const std::vector<float>& values, std::int64_t first,
                                   std::int64_t rows, int width) {
  const bool as_half = header.gene_type == GeneType::f16;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]) || (as_half && !(std::fabs(values[i]) < 65520.0F)))
      fail_data("pack", "expected finite values{} for {}, got {} at row {}, column {}",
                as_half ? " within float16" : "", name, values[i], first + static_cast<std::int64_t>(i) / width,
                static_cast<std::int64_t>(i) % width);
  if (!as_half) return file->write_rows(name, Type::f32, values.data(), first, rows);
  half.resize(values.size());
  to_half(values, half);
  file->write_rows(name, Type::f16, half.data(), first, rows);
}

void PackWriter::write(std::int64_t first, const PackRows& r) {
  Impl& w = *impl_;
  const PackHeader& h = w.header;
  check(w.file.has_value(), "pack", "write() after finish()");
  const auto n = static_cast<std::int64_t>(r.slide.size());
  check(first >= 0 && first + n <= h.spots, "pack", "expected rows within [0, {}), got [{}, {})", h.spots, first,
        first + n);
  if (n == 0) return;
  const auto expect = [&](const char* what, std::size_t got, std::int64_t per_row) {
    check(got == static_cast<std::size_t>(n * per_row), "pack", "expected {} values of {} for {} rows, got {}",
          n * per_row, what, n, got);
  };
  expect("name", r.name.size(), 1);
  expect("xy", r.xy.size(), 2);
  if (!r.array_row.empty()) expect("array_row", r.array_row.size(), 1);
  if (!r.array_col.empty()) expect("array_col", r.array_col.size(), 1);
  expect("spot_image", r.spot_image.size(), std::int64_t{3} * h.spot_px * h.spot_px);
  expect("niche_image", r.niche_image.size(), std::int64_t{3} * h.niche_px * h.niche_px);
  expect("spot_gene", r.spot_gene.size(), h.spot_genes);
  expect("niche_gene", r.niche_gene.size(), h.niche_genes);
  if (!r.cluster.empty()) expect("cluster", r.cluster.size(), 1);
  check(h.has_cluster || r.cluster.empty(), "pack", "got clusters for a pack whose header says has_cluster = false");

  const std::vector<std::int32_t> unknown(static_cast<std::size_t>(n), -1);
  w.file->write_rows(kSpotSlide, Type::i32, r.slide.data(), first, n);
  w.file->write_rows(kSpotXy, Type::f64, r.xy.data(), first, n);
  w.file->write_rows(kArrayRow, Type::i32, (r.array_row.empty() ? unknown : r.array_row).data(), first, n);
  w.file->write_rows(kArrayCol, Type::i32, (r.array_col.empty() ? unknown : r.array_col).data(), first, n);
  if (h.has_cluster)
    w.file->write_rows(kCluster, Type::i32, (r.cluster.empty() ? unknown : r.cluster).data(), first, n);
  w.file->write_rows(kSpotImage, Type::u8, r.spot_image.data(), first, n);
  w.file->write_rows(kNicheImage, Type::u8, r.niche_image.data(), first, n);
  w.write_genes(kSpotGene, r.spot_gene, first, n, h.spot_genes);
  w.write_genes(kNicheGene, r.niche_gene, first, n, h.niche_genes);

  pack_plain(w.written, first);
  pack_plain(w.written, n);
  for (const std::string& name : r.name) pack_text(w.written, name);
}

// Rank 0: names by row; every row exactly once, every name unique.
std::vector<std::string> PackWriter::Impl::join_names(const std::vector<std::string>& all) const {
  const auto n = static_cast<std::size_t>(header.spots);
  std::vector<std::string> names(n);
  std::vector<bool> seen(n, false);
  for (const std::string& bytes : all)
    for (Unpack u{bytes}; !u.done();) {
      const auto first = u.plain<std::int64_t>(), rows = u.plain<std::int64_t>();
      for (auto row = static_cast<std::size_t>(first); row < static_cast<std::size_t>(first + rows); ++row) {
        check(!seen[row], "pack", "row {} was written twice", row);
        seen[row] = true;
        names[row] = u.text();
      }
    }
  const auto gap = std::find(seen.begin(), seen.end(), false);
  check(gap == seen.end(), "pack", "expected every row to be written, got none for row {}", gap - seen.begin());

  std::vector<std::int64_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  const auto at = [&](std::int64_t row) -> const std::string& { return names[static_cast<std::size_t>(row)]; };
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return at(a) != at(b) ? at(a) < at(b) : a < b; });
  for (std::size_t i = 0; i < n; ++i) {
    if (at(order[i]).empty()) fail_data("pack", "expected a name for row {}, got none", order[i]);
    if (i > 0 && at(order[i]) == at(order[i - 1]))
      fail_data("pack", "expected unique spot names, got '{}' in rows {} and {}; remove one of them from the source",
                at(order[i]), order[i - 1], order[i]);
  }
  return names;
}

void PackWriter::Impl::add_tables(const std::vector<std::string>& names, std::vector<PackSlide> slides,
                                  const std::vector<std::string>& genes) {
  check(static_cast<int>(genes.size()) == header.niche_genes, "pack", "expected {} gene names, got {}",
        header.niche_genes, genes.size());
  std::sort(slides.begin(), slides.end(), [](const auto& a, const auto& b) { return a.first_row < b.first_row; });
  check_slides(path, slides, header.spots);

  h5::File again = h5::File::open_to_write(temporary);
  std::vector<std::int32_t> index(static_cast<std::size_t>(header.spots));
  again.read_rows(kSpotSlide, Type::i32, index.data(), 0, header.spots);
  for (std::size_t s = 0; s < slides.size(); ++s)
    for (std::int64_t row = slides[s].first_row; row < slides[s].first_row + slides[s].rows; ++row)
      check(index[static_cast<std::size_t>(row)] == static_cast<std::int32_t>(s), "pack",
            "expected slide index {} ('{}') at row {}, got {}", s, slides[s].name, row,
            index[static_cast<std::size_t>(row)]);
  again.write_strings(kSpotName, names);
  write_tables(again, header, slides, genes);
  again.close();
  files::sync_file(temporary);
  files::rename_durably(temporary, path);
}

void PackWriter::finish(const std::vector<PackSlide>& my_slides, const std::vector<std::string>& genes) {
  Impl& w = *impl_;
  check(w.file.has_value(), "pack", "finish() called twice");
  w.close();
  const auto names = gather_bytes(w.comm, w.written);
  const auto tables = gather_bytes(w.comm, pack_slides(my_slides));
  dist::together(w.comm, "pack", [&] {
    if (w.comm.rank() != 0) return;
    std::vector<PackSlide> slides;
    for (const std::string& t : tables) unpack_slides(t, slides);
    w.add_tables(w.join_names(names), std::move(slides), genes);
  });
  w.published = true;
  w.written.clear();
}

}  // namespace spn::data
