// libcsv calls back once a cell; its C frames must not see exceptions, so the first one is kept and thrown afterwards.
#include "data/readers/csv.h"

#include <csv.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdio>
#include <exception>
#include <memory>

#include "engine/core/check.h"
#include "engine/core/handle.h"
#include "engine/core/log.h"

namespace spn::data {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 18;

struct CloseFile {
  void operator()(std::FILE* f) const noexcept { std::fclose(f); }
};
using File = Handle<std::FILE*, nullptr, CloseFile>;

struct Parser {
  csv_parser csv{};
  Parser() { csv_init(&csv, CSV_STRICT | CSV_STRICT_FINI); }
  ~Parser() { csv_free(&csv); }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;
};

struct State {
  const std::string* path;
  CsvSink* sink;
  std::int64_t row = 1, column = 0, header_cells = 0;
  bool at_end = false;  // the cells come from csv_fini: the file ended without a newline
  std::exception_ptr error;
};

void end_of_row(State& s) {
  if (s.row == 1) s.header_cells = s.column;
  if (s.column != s.header_cells) {
    if (s.at_end)
      fail_data("csv",
                "{}, row {}: expected {} cells as in the header, got {} where the file ends; it looks truncated: "
                "fetch it again",
                *s.path, s.row, s.header_cells, s.column);
    fail_data("csv",
              "{}, row {}: expected {} cells as in the header, got {}; the file is damaged or not comma-separated",
              *s.path, s.row, s.header_cells, s.column);
  }
  s.sink->end_row(s.row);
  ++s.row;
  s.column = 0;
}

void on_cell(void* text, std::size_t n, void* state) {
  State& s = *static_cast<State*>(state);
  if (s.error) return;
  try {
    s.sink->cell(s.row, s.column++, {static_cast<const char*>(text), text ? n : 0});
  } catch (...) {
    s.error = std::current_exception();
  }
}

void on_row(int, void* state) {
  State& s = *static_cast<State*>(state);
  if (s.error) return;
  try {
    end_of_row(s);
  } catch (...) {
    s.error = std::current_exception();
  }
}

bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

void read_csv(const std::string& path, CsvSink& sink) {
  File file(std::fopen(path.c_str(), "rb"));
  if (!file) fail_data("csv", "cannot open {}: the file is missing or unreadable", path);
  Parser parser;
  State state{.path = &path, .sink = &sink, .error = {}};
  std::vector<char> buffer(kReadBytes);
  bool first = true;
  char last = '\n';
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    const std::size_t skip = first && got >= 3 && std::string_view(buffer.data(), 3) == "\xEF\xBB\xBF" ? 3 : 0;
    first = false;
    last = buffer[got - 1];
    if (csv_parse(&parser.csv, buffer.data() + skip, got - skip, on_cell, on_row, &state) != got - skip && !state.error)
      fail_data("csv", "{}, row {}: {}; a quote stands inside an unquoted cell or is not doubled", path, state.row,
                csv_strerror(csv_error(&parser.csv)));
    if (state.error) std::rethrow_exception(state.error);
  }
  if (std::ferror(file.get())) fail_data("csv", "{}: reading failed at row {}", path, state.row);
  if (first) fail_data("csv", "{} is empty; fetch it again", path);
  state.at_end = true;
  if (csv_fini(&parser.csv, on_cell, on_row, &state) != 0)
    fail_data("csv", "{}, row {}: the file ends inside a quoted cell; it looks truncated: fetch it again", path,
              state.row);
  if (state.error) std::rethrow_exception(state.error);
  if (last != '\n' && last != '\r')
    log::warn("[csv] {} does not end in a newline: its last number may be cut short", path);
}

namespace {
class TableSink final : public CsvSink {
 public:
  TableSink(std::vector<std::string>& header, std::vector<std::vector<std::string>>& rows)
      : header_(header), rows_(rows) {}
  void cell(std::int64_t row, std::int64_t column, std::string_view text) override {
    if (row == 1) {
      header_.emplace_back(text);
      return;
    }
    if (column == 0) rows_.emplace_back().reserve(header_.size());
    rows_.back().emplace_back(text);
  }
  void end_row(std::int64_t) override {}

 private:
  std::vector<std::string>& header_;
  std::vector<std::vector<std::string>>& rows_;
};
}  // namespace

CsvTable::CsvTable(const std::string& path) : path_(path) {
  TableSink sink(header_, rows_);
  read_csv(path, sink);
}

std::optional<std::int64_t> CsvTable::find(std::string_view name) const {
  for (std::size_t i = 0; i < header_.size(); ++i)
    if (same_word(header_[i], name)) return static_cast<std::int64_t>(i);
  return std::nullopt;
}

std::int64_t CsvTable::column(std::string_view name) const {
  if (const auto c = find(name)) return *c;
  std::string all;
  for (const std::string& h : header_) all += (all.empty() ? "'" : ", '") + h + "'";
  fail_data("csv", "{}: expected a column '{}', got {}", path_, name, all);
}

const std::string& CsvTable::at(std::int64_t row, std::int64_t column) const {
  return rows_.at(static_cast<std::size_t>(row)).at(static_cast<std::size_t>(column));
}

double CsvTable::number(std::int64_t row, std::int64_t column) const {
  const auto v = parse_number(at(row, column));
  if (!v || !(*v - *v == 0))
    fail_data("csv", "{}, row {}: expected a finite number in column '{}', got '{}'", path_, file_row(row),
              header_[static_cast<std::size_t>(column)], at(row, column));
  return *v;
}

std::optional<double> parse_number(std::string_view text) {
  if (!text.empty() && text.front() == '+') text.remove_prefix(1);
  double v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return v;
}

}  // namespace spn::data
