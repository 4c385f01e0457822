#include "kernels/profile.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "kernels/table.h"
#include "kernels/timing.h"

namespace spn::kernels {
namespace {
// keyed by the literal's address: one a run<> instance
std::map<const char*, ProfileRow> g_rows;

// By the device's clock: a scope's two moments are the last of g_moments when it ends (scopes within it have taken
// theirs), and are read at the end.
struct Span {
  const char* pretty;
  Work work;
  void *from, *to;
};
bool g_on_device = false;
std::vector<void*> g_moments;
std::vector<Span> g_spans;

void add(const char* pretty, double seconds, const Work& work) {
  ProfileRow& row = g_rows[pretty];
  if (row.calls++ == 0) row.entry = std::string(detail::entry_name(pretty));
  row.seconds += seconds;
  row.work += work;
}

void read_spans() {
  for (const Span& s : g_spans) add(s.pretty, cuda_seconds_between(s.from, s.to), s.work);
  g_spans.clear();
  g_on_device = false;
}
}  // namespace

namespace detail {
bool profile_on = false;

double profile_now() {
  if (g_on_device) {
    g_moments.push_back(cuda_moment());
    return 0;
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void profile_note(const char* pretty, double seconds, const Work& work) {
  if (!g_on_device) {
    add(pretty, seconds, work);
    return;
  }
  void* const to = g_moments.back();
  g_moments.pop_back();
  g_spans.push_back({pretty, work, g_moments.back(), to});
  g_moments.pop_back();
}
}  // namespace detail

void profile_start() {
  read_spans();
  g_rows.clear();
  detail::profile_on = true;
}

void profile_start_on_device() {
  profile_start();
  g_on_device = true;
}

std::vector<ProfileRow> profile_stop() {
  detail::profile_on = false;
  read_spans();
  std::map<std::string, ProfileRow> joined;  // several translation units may hold one instance each
  for (const auto& [pretty, row] : g_rows) {
    ProfileRow& j = joined[row.entry];
    j.entry = row.entry;
    j.calls += row.calls;
    j.seconds += row.seconds;
    j.work += row.work;
  }
  std::vector<ProfileRow> rows;
  for (auto& [name, row] : joined) rows.push_back(row);
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace spn::kernels
