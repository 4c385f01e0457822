#include "tests/support/ptx/text.h"

#include "engine/core/check.h"

namespace spn::ptx {

Variable declaration(std::string_view text) {
  const std::vector<std::string> all = words(text.substr(0, text.find('=')));
  Variable v;
  if (!all.empty()) v.name = all.back();
  for (std::size_t k = 0; k + 1 < all.size(); ++k) {
    if (all[k] == ".align") v.align = std::stoul(all[k + 1]);
    if (all[k][0] == '.' && bits_of(all[k]) != 0) v.unit = static_cast<std::size_t>(bits_of(all[k])) / 8;
  }
  check(v.unit != 0, "ptx", "expected a declaration, got '{}'", text.substr(0, 200));
  v.bytes = v.unit;
  if (const auto open = v.name.find('['); open != std::string::npos) {
    const std::string n = v.name.substr(open + 1, v.name.find(']') - open - 1);
    v.bytes = n.empty() ? 0 : v.unit * std::stoul(n);
    v.name.resize(open);
  }
  if (v.align == 0) v.align = v.unit;
  return v;
}

}  // namespace spn::ptx
