// One option table a command: parsing, --help, defaults, --config files and the resolved configuration all come from
// it. Later wins: defaults, config files in order, command line. Backed by Boost.Program_options (hidden in
// options.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace spn::cli {

// A finite number that is all of text; usage error otherwise. what: expected what, for its message.
double to_number(const std::string& option, const std::string& text, const char* what = "a number");

class Options {
 public:
  // title: what --help prints first.
  explicit Options(std::string command, std::string title);
  ~Options();
  Options(Options&&) noexcept;

  // A heading in --help and a comment in the resolved configuration.
  void section(const std::string& title);
  // The variable holds the default and receives the value. name: "global-batch" on the command line and in files.
  void add(const std::string& name, std::string* value, const std::string& help);
  void add(const std::string& name, std::int64_t* value, const std::string& help);
  void add(const std::string& name, int* value, const std::string& help);
  void add(const std::string& name, std::uint64_t* value, const std::string& help);
  void add(const std::string& name, double* value, const std::string& help);
  void add(const std::string& name, bool* value, const std::string& help);  // --x, --x=true, --x=false, --x off
  void add(const std::string& name, std::vector<std::string>* value,
           const std::string& help);  // --x a b --x c; a line each
  // Restricts an option to a list of words; --help shows them.
  void choices(const std::string& name, const std::vector<std::string>& words);
  // Two options that say one thing: a source (a file, the command line) that gives one of them puts the other, where
  // an earlier one gave it, back to its default. What gives both keeps both, for the command to judge.
  void alternatives(const std::string& a, const std::string& b);
  // Usage error "give --name …" when it is still empty after parsing.
  void require(const std::string& name);

  // Parses argv after the command's name. Usage error for unknown keys (naming the nearest known one), bad values,
  // missing required ones. Returns false when --help was asked for and printed to out.
  bool parse(const std::vector<std::string>& args, std::ostream& out);
  // name = value lines with sections as comments: `--config FILE` of this repeats the run.
  std::string resolved() const;
  // Names given by the user (file or command line), as opposed to defaults.
  bool given(const std::string& name) const;
  // The value of each option below a heading, by name, as --help and files write it.
  std::map<std::string, std::string> texts(const std::string& section) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spn::cli
