// Configuration files: `key = value` lines, comments and quotes.
#pragma once

#include <string>
#include <vector>

namespace spn::cli {

struct ConfigEntry {
  std::string key;
  std::vector<std::string> values;  // one a line that gives the key, as it is written there
};

// In the order of each key's first line. A # begins a comment where it begins a line or follows a blank, outside
// quotes, which open where a word begins and hold \" and \\. Throws a usage error naming the file when it cannot be
// read, boost::program_options::error where a line is none.
std::vector<ConfigEntry> read_config(const std::string& path);

// The words of these lines: apart by blanks, in quotes where they hold some. An empty line has none.
std::vector<std::string> words_of(const std::vector<std::string>& lines, const std::string& path);

// A value as such a file has it: in quotes where it would be read otherwise.
std::string config_text(const std::string& value, bool of_list);

}  // namespace spn::cli
