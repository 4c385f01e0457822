#include "launch/cli/config_file.h"

#include <boost/program_options.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <utility>

#include "engine/core/check.h"
#include "engine/core/text.h"

namespace spn::cli {
namespace {

// Boost takes any # for the beginning of a comment. Those that are none go by it as a character that no file holds.
constexpr char kHash = '\x01';

std::stringstream without_comments(std::istream& in) {
  std::stringstream out;
  bool first = true;
  for (std::string line; std::getline(in, line); out << line << '\n') {
    if (std::exchange(first, false)) line = without_bom(line);
    const std::size_t value = line.find('=') + 1;  // 0: there is none
    bool quoted = false, closed = false;           // closed: just before
    for (std::size_t i = 0; i < line.size(); ++i) {
      const bool after_blank = i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t';
      const bool begins = after_blank || i == value || closed;
      closed = false;
      if (quoted && line[i] == '\\') {
        if (++i == line.size()) break;  // what follows is a character like any other
      } else if (line[i] == '"') {
        closed = quoted;
        quoted = !quoted && begins;
      }
      if (line[i] != '#') continue;
      if (!quoted && after_blank) {
        line.resize(i);
        break;
      }
      line[i] = kHash;
    }
  }
  return out;
}

}  // namespace

std::vector<ConfigEntry> read_config(const std::string& path) {
  if (std::error_code none; std::filesystem::is_directory(path, none))
    fail_usage("options", "--config {}: expected a file, got a folder; a run's is {}/config.cfg", path, path);
  std::ifstream in(path);
  if (!in) fail_usage("options", "cannot read configuration file {}", path);
  auto text = without_comments(in);
  std::vector<ConfigEntry> entries;
  for (const auto& o :
       boost::program_options::parse_config_file(text, boost::program_options::options_description(), true).options) {
    auto it = std::find_if(entries.begin(), entries.end(), [&](const auto& e) { return e.key == o.string_key; });
    if (it == entries.end()) it = entries.insert(entries.end(), {o.string_key, {}});
    for (std::string value : o.value) {
      std::replace(value.begin(), value.end(), kHash, '#');
      it->values.push_back(std::move(value));
    }
  }
  return entries;
}

std::vector<std::string> words_of(const std::vector<std::string>& lines, const std::string& path) {
  std::vector<std::string> out;
  for (const std::string& line : lines) {
    std::istringstream in(line);
    for (std::string word; in >> std::ws && !in.eof(); out.push_back(word))
      if (!(in >> std::quoted(word))) fail_usage("options", "{}: expected a \" at the end of {}", path, line);
  }
  return out;
}

std::string config_text(const std::string& value, bool of_list) {
  const bool plain = value.find_first_of("\"\\#") == std::string::npos;
  if (plain && !(of_list && value.find_first_of(" \t") != std::string::npos)) return value;
  std::ostringstream text;
  text << std::quoted(value);
  return text.str();
}

}  // namespace spn::cli
