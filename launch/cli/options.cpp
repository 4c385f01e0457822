#include "launch/cli/options.h"

#include <boost/program_options.hpp>

#include <algorithm>
#include <ostream>
#include <set>
#include <sstream>

#include "engine/core/check.h"
#include "launch/cli/config_file.h"

namespace spn::cli {

namespace po = boost::program_options;

namespace {

// One option: how to print its value, and how to take a text for it.
struct Entry {
  std::string name, help, default_text;
  bool heading = false;  // a section's title: name only
  bool is_switch = false, is_list = false;
  std::function<std::string()> print;
  std::function<std::vector<std::string>()> values;  // of a list
  std::function<void(const std::vector<std::string>&)> take;
  std::vector<std::string> choices;
};

std::string join(const std::vector<std::string>& v, const char* by) {
  std::string s;
  for (const auto& e : v) s += (s.empty() ? "" : by) + e;
  return s;
}

// Levenshtein distance, for "did you mean".
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

template <class T>
T parse_number(const std::string& name, const std::string& text, const char* what) {
  std::istringstream in(text);
  T v{};
  in >> v;
  const bool negative = std::is_unsigned_v<T> && text.find('-') != std::string::npos;
  if (in.fail() || !in.eof() || negative) fail_usage("options", "--{}: expected {}, got '{}'", name, what, text);
  return v;
}

std::string print_double(double v) { return fmt::format("{}", v); }

}  // namespace

struct Options::Impl {
  std::string command, title;
  std::vector<Entry> entries;
  std::vector<std::string> required;
  std::set<std::string> given;
  std::vector<std::pair<std::string, std::string>> alternatives;
  std::set<std::string> in_source;  // given by the file that is read, or by the command line

  Entry* find(const std::string& name) {
    for (auto& e : entries)
      if (!e.heading && e.name == name) return &e;
    return nullptr;
  }

  [[noreturn]] void unknown(const std::string& name, const std::string& where) {
    std::vector<std::string> known{"config", "help"};
    for (const auto& e : entries)
      if (!e.heading) known.push_back(e.name);
    const std::string nearest = *std::ranges::min_element(known, {}, [&](const auto& k) { return distance(name, k); });
    fail_usage("options", "unknown option '{}' {}; did you mean --{}? `spotniche {} --help` lists all", name, where,
               nearest, command);
  }

  void take(const std::string& name, const std::vector<std::string>& values, const std::string& where) {
    Entry* e = find(name);
    if (e == nullptr) unknown(name, where);
    for (const auto& v : values)
      if (!e->choices.empty() && std::find(e->choices.begin(), e->choices.end(), v) == e->choices.end())
        fail_usage("options", "--{} {}: expected one of {}, got '{}'", name, where, join(e->choices, ", "), v);
    e->take(values);
    given.insert(name);
    in_source.insert(name);
  }

  // After each file, and after the command line.
  void end_source() {
    for (const auto& [a, b] : alternatives) {
      if (in_source.count(a) == in_source.count(b)) continue;
      const Entry* said = find(in_source.count(a) != 0 ? a : b);
      Entry* other = find(in_source.count(a) != 0 ? b : a);
      if (said->print() == said->default_text) continue;
      other->take({other->default_text});
      given.erase(other->name);
    }
    in_source.clear();
  }

  void read_file(const std::string& path) {
    try {
      for (auto& [name, values] : read_config(path)) {
        Entry* e = find(name);
        if (e != nullptr && !e->is_list && values.size() > 1)
          fail_usage("options", "{} gives {} {} times; keep one line", path, name, values.size());
        const bool quoted = values.size() == 1 && values[0].starts_with('"');
        if (e != nullptr && (e->is_list || quoted)) values = words_of(values, path);
        if (e != nullptr && !e->is_list && values.size() != 1)
          fail_usage("options", "{}: {}: expected one value, got {}", path, name, values.size());
        take(name, values, "in " + path);
      }
      end_source();
    } catch (const po::error& e) {
      fail_usage("options", "{}: {}", path, e.what());
    }
  }

  void print_help(std::ostream& out) const {
    out << "usage: spotniche " << command << " [--config FILE]... [--key value]...\n" << title << "\n";
    for (const auto& e : entries) {
      if (e.heading) {
        out << "\n" << e.name << ":\n";
        continue;
      }
      std::string left = "  --" + e.name;
      left += std::string(left.size() < 30 ? 30 - left.size() : 1, ' ');
      out << left << e.help;
      if (!e.choices.empty()) out << " (" << join(e.choices, "|") << ")";
      if (!e.default_text.empty()) out << " [" << e.default_text << "]";
      out << "\n";
    }
    out << "\n  --config FILE               read options from a file of `key = value` lines (repeatable; the command "
           "line wins)\n"
           "  --help                      this text\n";
  }
};

double to_number(const std::string& option, const std::string& text, const char* what) {
  return parse_number<double>(option, text, what);
}

Options::Options(std::string command, std::string title) : impl_(std::make_unique<Impl>()) {
  impl_->command = std::move(command);
  impl_->title = std::move(title);
}
Options::~Options() = default;
Options::Options(Options&&) noexcept = default;

void Options::section(const std::string& title) {
  Entry e;
  e.name = title;
  e.heading = true;
  impl_->entries.push_back(std::move(e));
}

namespace {
template <class Take>
Entry make_entry(const std::string& name, const std::string& help, std::function<std::string()> print, Take take) {
  Entry e;
  e.name = name;
  e.help = help;
  e.default_text = print();
  e.print = std::move(print);
  e.take = [name, take](const std::vector<std::string>& v) {
    if (v.size() != 1) fail_usage("options", "--{}: expected one value, got {}", name, v.size());
    take(v[0]);
  };
  return e;
}
}  // namespace

void Options::add(const std::string& name, std::string* value, const std::string& help) {
  impl_->entries.push_back(make_entry(
      name, help, [value] { return *value; }, [value](const std::string& s) { *value = s; }));
}
void Options::add(const std::string& name, std::int64_t* value, const std::string& help) {
  impl_->entries.push_back(make_entry(
      name, help, [value] { return std::to_string(*value); },
      [name, value](const std::string& s) { *value = parse_number<std::int64_t>(name, s, "a whole number"); }));
}
void Options::add(const std::string& name, int* value, const std::string& help) {
  impl_->entries.push_back(make_entry(
      name, help, [value] { return std::to_string(*value); },
      [name, value](const std::string& s) { *value = parse_number<int>(name, s, "a whole number"); }));
}
void Options::add(const std::string& name, std::uint64_t* value, const std::string& help) {
  impl_->entries.push_back(make_entry(
      name, help, [value] { return std::to_string(*value); },
      [name, value](const std::string& s) {
        *value = parse_number<std::uint64_t>(name, s, "a whole number of at least 0");
      }));
}
void Options::add(const std::string& name, double* value, const std::string& help) {
  impl_->entries.push_back(make_entry(
      name, help, [value] { return print_double(*value); },
      [name, value](const std::string& s) { *value = to_number(name, s); }));
}
void Options::add(const std::string& name, bool* value, const std::string& help) {
  Entry e;
  e.name = name;
  e.help = help;
  e.is_switch = true;
  e.print = [value] { return std::string(*value ? "true" : "false"); };
  e.default_text = e.print();
  e.take = [name, value](const std::vector<std::string>& v) {
    const std::string s = v.empty() || v[0].empty() ? "true" : v[0];
    if (s == "true" || s == "on" || s == "yes" || s == "1")
      *value = true;
    else if (s == "false" || s == "off" || s == "no" || s == "0")
      *value = false;
    else
      fail_usage("options", "--{}: expected true or false, got '{}'", name, s);
  };
  impl_->entries.push_back(std::move(e));
}
void Options::add(const std::string& name, std::vector<std::string>* value, const std::string& help) {
  Entry e;
  e.name = name;
  e.help = help;
  e.is_list = true;
  e.print = [value] { return join(*value, " "); };
  e.values = [value] { return *value; };
  e.default_text = e.print();
  e.take = [value](const std::vector<std::string>& v) { *value = v; };
  impl_->entries.push_back(std::move(e));
}

void Options::choices(const std::string& name, const std::vector<std::string>& words) {
  Entry* e = impl_->find(name);
  check(e != nullptr, "options", "choices for an option that is not there: {}", name);
  e->choices = words;
}

void Options::alternatives(const std::string& a, const std::string& b) {
  check(impl_->find(a) != nullptr && impl_->find(b) != nullptr, "options", "alternatives that are not there: {}, {}", a,
        b);
  impl_->alternatives.emplace_back(a, b);
}

void Options::require(const std::string& name) { impl_->required.push_back(name); }

bool Options::parse(const std::vector<std::string>& args, std::ostream& out) {
  po::options_description table;
  table.add_options()("help,h", "")("config", po::value<std::vector<std::string>>()->composing(), "");
  for (const auto& e : impl_->entries) {
    if (e.heading) continue;
    if (e.is_switch) {
      table.add_options()(e.name.c_str(), po::value<std::string>()->implicit_value(""), "");
    } else if (e.is_list) {
      table.add_options()(e.name.c_str(), po::value<std::vector<std::string>>()->multitoken()->composing(), "");
    } else {
      table.add_options()(e.name.c_str(), po::value<std::string>(), "");
    }
  }
  try {
    // exact names only: an abbreviation that works today breaks when an option is added
    const auto style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    const auto parsed = po::command_line_parser(args).options(table).style(style).allow_unregistered().run();
    for (const auto& o : parsed.options) {
      if (o.unregistered)
        impl_->unknown(o.string_key.empty() ? join(o.original_tokens, " ") : o.string_key, "on the command line");
      if (o.position_key >= 0)
        fail_usage("options", "unexpected argument '{}'; options are given as --key value", join(o.value, " "));
      if (o.string_key == "help") {
        impl_->print_help(out);
        return false;
      }
    }
    for (const auto& o : parsed.options)
      if (o.string_key == "config")
        for (const auto& path : o.value) impl_->read_file(path);
    std::map<std::string, std::vector<std::string>> lists;
    for (const auto& o : parsed.options) {
      if (o.string_key == "config") continue;
      Entry* e = impl_->find(o.string_key);
      if (e != nullptr && e->is_list) {
        auto& all = lists[o.string_key];
        all.insert(all.end(), o.value.begin(), o.value.end());
        impl_->take(o.string_key, all, "on the command line");
      } else {
        impl_->take(o.string_key, o.value, "on the command line");
      }
    }
    impl_->end_source();
  } catch (const po::error& e) {
    fail_usage("options", "{}; `spotniche {} --help` lists all options", e.what(), impl_->command);
  }
  for (const auto& name : impl_->required)
    if (!given(name)) fail_usage("options", "give --{}; `spotniche {} --help` lists all options", name, impl_->command);
  return true;
}

std::string Options::resolved() const {
  std::string s = "# spotniche " + impl_->command + ": the resolved configuration\n";
  for (const auto& e : impl_->entries) {
    if (e.heading) {
      s += "\n# " + e.name + "\n";
    } else if (e.is_list && !e.values().empty()) {
      for (const auto& v : e.values()) s += e.name + " = " + config_text(v, true) + "\n";
    } else if (const std::string v = e.print(); !v.empty()) {
      s += e.name + " = " + config_text(v, false) + "\n";
    } else {
      s += "# " + e.name + " =\n";
    }
  }
  return s;
}

std::map<std::string, std::string> Options::texts(const std::string& section) const {
  std::map<std::string, std::string> out;
  bool inside = false;
  for (const auto& e : impl_->entries) {
    if (e.heading)
      inside = e.name == section;
    else if (inside)
      out[e.name] = e.print();
  }
  check(!out.empty(), "options", "expected a section with options, got '{}'", section);
  return out;
}

bool Options::given(const std::string& name) const { return impl_->given.count(name) != 0; }

}  // namespace spn::cli
