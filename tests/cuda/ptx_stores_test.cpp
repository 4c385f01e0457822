// What nvcc made of stores: where a kernel moves packs of bf16, each is one instruction. nvcc splits a store of a
// struct whose members were computed one by one, and no result tells.
#include <cxxabi.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "tests/support/ptx/text.h"
#include "tests/support/temp_folder.h"

namespace spn::test {
namespace {

// Text of each kernel in the PTX of SPN_PTX, by its name with template arguments.
std::map<std::string, std::string> kernels() {
  std::map<std::string, std::string> found;
  const char* paths = std::getenv("SPN_PTX");
  for (const std::string& path : ptx::split(paths != nullptr ? paths : "", ':')) {
    std::vector<std::filesystem::path> files;
    if (std::filesystem::is_directory(path))
      for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
    else
      files.emplace_back(path);
    for (const auto& file : files) {
      const std::string text = read_text(file.string());
      for (std::size_t at = 0; (at = text.find(".entry ", at)) != std::string::npos;) {
        at += 7;
        const std::string mangled = text.substr(at, text.find('(', at) - at);
        int status = 0;
        const std::unique_ptr<char, void (*)(void*)> name(
            abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), std::free);
        const std::size_t end = text.find("\n}", at);
        found[status == 0 ? name.get() : mangled] = text.substr(at, end - at);
        at = end;
      }
    }
  }
  return found;
}

int count(const std::string& text, const std::string& what) {
  int n = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
  return n;
}

TEST(FromNvccText, PacksAreStoredWhole) {
  const auto all = kernels();
  const char* given = std::getenv("SPN_REQUIRE_PTX");  // by the test cuda_ptx, which has all of them
  const bool required = given != nullptr && std::string(given) == "1";
  if (all.empty() && !required) GTEST_SKIP() << "no PTX: set SPN_PTX to the folder ptx of a build with nvcc";
  struct Row {
    const char *kernel, *store;
    int times;
  };
  for (const Row& row : {Row{"::batch_norm_map<spn::bf16, 8>", "st.global.v4.", 4},
                         Row{"::batch_norm_bwd_sums<spn::bf16, 8>", "st.global.v4.", 2},
                         Row{"::batch_norm_bwd_map<spn::bf16, 8>", "st.global.v4.", 4},
                         Row{"::attention_short_fragments<false>", "st.global.v4.", 2},
                         Row{"::attention_short_fragments<true>", "st.global.v4.", 2},
                         Row{"::attention_short_fragments_bwd<false>", "st.global.v4.", 6},
                         Row{"::attention_short_fragments_bwd<true>", "st.global.v4.", 6},
                         Row{"::contrastive_gradient<float, spn::bf16,", "st.global.v2.b32", 32},
                         Row{"::image_embed_flat<spn::bf16, 8,", "st.global.v4.", 4},
                         Row{"::layer_norm_rows<spn::bf16, float, spn::kernels::cuda::Registers<"
                             "spn::kernels::cuda::WarpGroup, 4, 16>, false>",
                             "st.global.v4.", 4},
                         Row{"::layer_norm_bwd_rows<spn::bf16, float, spn::kernels::cuda::Registers<"
                             "spn::kernels::cuda::WarpGroup, 4, 16> >",
                             "st.global.v4.b32", 4}}) {
    int seen = 0;
    for (const auto& [name, text] : all) {
      if (name.find(row.kernel) == std::string::npos) continue;
      ++seen;
      EXPECT_EQ(count(text, row.store), row.times) << name;
      // flat images store what is left of a pack one by one
      const int narrow = name.find("image_embed_flat") != std::string::npos ? 1 : 0;
      EXPECT_EQ(count(text, "st.global.u16") + count(text, "st.global.b16") + count(text, "st.global.v2.u16"), narrow)
          << name;
    }
    EXPECT_TRUE(seen > 0 || !required) << row.kernel;
  }
}

}  // namespace
}  // namespace spn::test
