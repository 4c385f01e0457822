#include "kernels/profile.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "kernels/table.h"

namespace spn::kernels {
namespace {
// keyed by the literal's address: one a run<> instance
std::map<const char*, ProfileRow> g_rows;
}  // namespace

namespace detail {
bool profile_on = false;

double ProfileScope::now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void ProfileScope::note(const char* pretty, double seconds) {
  ProfileRow& row = g_rows[pretty];
  if (row.calls++ == 0) row.entry = std::string(entry_name(pretty));
  row.seconds += seconds;
}
}  // namespace detail

void profile_start() {
  g_rows.clear();
  detail::profile_on = true;
}

std::vector<ProfileRow> profile_stop() {
  detail::profile_on = false;
  std::map<std::string, ProfileRow> joined;  // several translation units may hold one instance each
  for (const auto& [pretty, row] : g_rows) {
    ProfileRow& j = joined[row.entry];
    j.entry = row.entry;
    j.calls += row.calls;
    j.seconds += row.seconds;
  }
  std::vector<ProfileRow> rows;
  for (auto& [name, row] : joined) rows.push_back(row);
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace spn::kernels
