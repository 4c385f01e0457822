// Comma-separated files, streamed: quoted fields, a byte-order mark, CRLF. Backed by libcsv. Rows are numbered as in an
// editor that wraps nothing: the header is row 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spn::data {

// Receives one file, cell by cell. Row 1 is the header. Exceptions pass through read_csv to its caller.
class CsvSink {
 public:
  virtual ~CsvSink() = default;
  // text lives during the call only.
  virtual void cell(std::int64_t row, std::int64_t column, std::string_view text) = 0;
  virtual void end_row(std::int64_t row) = 0;
};

// Data errors, each with file and row: missing or empty file, a row whose number of cells is not the header's (the last
// one: truncated file), a quote that never closes. Never holds more than a cell and a read buffer.
void read_csv(const std::string& path, CsvSink& sink);

// A small file held whole, with columns found by header name.
class CsvTable {
 public:
  explicit CsvTable(const std::string& path);
  const std::string& path() const { return path_; }
  const std::vector<std::string>& header() const { return header_; }
  std::int64_t rows() const { return static_cast<std::int64_t>(rows_.size()); }
  // Column of that name, letter case ignored.
  std::optional<std::int64_t> find(std::string_view name) const;
  // The same; a data error that lists the header when there is none.
  std::int64_t column(std::string_view name) const;
  const std::string& at(std::int64_t row, std::int64_t column) const;
  // Row number in the file of rows()[row], for messages.
  static std::int64_t file_row(std::int64_t row) { return row + 2; }
  // A finite number, or a data error with file, row and column.
  double number(std::int64_t row, std::int64_t column) const;

 private:
  std::string path_;
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

// A decimal number that fills the whole text ("12", "-0.5", "1e3", "nan"); nothing otherwise.
std::optional<double> parse_number(std::string_view text);

}  // namespace spn::data
