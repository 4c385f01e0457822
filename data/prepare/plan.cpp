#include "data/prepare/plan.h"

#include <fnmatch.h>

#include <algorithm>
#include <numeric>
#include <sstream>

#include "engine/core/check.h"

namespace spn::data {

std::vector<SlideInfo> select_slides(const std::vector<SlideInfo>& all, const std::vector<std::string>& patterns) {
  std::vector<bool> wanted(all.size(), false);
  bool any = false;
  for (const std::string& list : patterns) {
    std::istringstream parts(list);
    for (std::string pattern; std::getline(parts, pattern, ',');) {
      const std::size_t b = pattern.find_first_not_of(' '), e = pattern.find_last_not_of(' ');
      if (b == std::string::npos) continue;
      pattern = pattern.substr(b, e - b + 1);
      any = true;
      bool found = false;
      for (std::size_t i = 0; i < all.size(); ++i)
        if (all[i].name == pattern || fnmatch(pattern.c_str(), all[i].name.c_str(), 0) == 0) found = wanted[i] = true;
      if (found) continue;
      std::string names;
      for (std::size_t i = 0; i < std::min<std::size_t>(all.size(), 5); ++i) names += (i ? ", " : "") + all[i].name;
      fail_usage("prepare", "--slides: no slide is called '{}'; there are {}: {}{}", pattern, all.size(), names,
                 all.size() > 5 ? ", …" : "");
    }
  }
  if (!any) return all;
  std::vector<SlideInfo> out;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (wanted[i]) out.push_back(all[i]);
  return out;
}

std::vector<int> spread(const std::vector<std::int64_t>& bytes, int ranks) {
  std::vector<std::size_t> order(bytes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return bytes[a] > bytes[b]; });
  std::vector<std::int64_t> load(static_cast<std::size_t>(ranks), 0);
  std::vector<int> owner(bytes.size());
  for (const std::size_t i : order) {
    const auto least = std::ranges::min_element(load);
    owner[i] = static_cast<int>(least - load.begin());
    *least += bytes[i] + 1;  // + 1: empty files too take turns
  }
  return owner;
}

}  // namespace spn::data
