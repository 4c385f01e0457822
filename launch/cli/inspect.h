// What `inspect` does for each kind of file: prints what is in it, and with `verify` returns what is wrong, one line a
// problem. All throw a data error when the file cannot be opened at all.
#pragma once

#include <fmt/format.h>

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "engine/train/cost.h"

namespace spn::cli {

using Faults = std::vector<std::string>;

// fmt::print of fmt/ostream.h compiles all of fmt in each source that uses it.
template <class... T>
void print(std::ostream& out, fmt::format_string<T...> format, T&&... values) {
  out << fmt::format(format, std::forward<T>(values)...);
}

Faults inspect_pack(const std::string& path, bool verify, std::ostream& out);
Faults inspect_h5ad(const std::string& path, bool verify, std::ostream& out);
// The largest difference of each obsm matrix from the other file's; faults where they do not hold the same things.
Faults compare_h5ad(const std::string& path, const std::string& other, std::ostream& out);
Faults inspect_safetensors(const std::string& path, bool verify, std::ostream& out);
Faults inspect_checkpoint(const std::string& folder, bool verify, std::ostream& out);
// Of import or export.
Faults inspect_folder(const std::string& folder, bool verify, std::ostream& out);
// A .cfg of configs/model, a checkpoint folder or a config.json: parts, FLOPs, memory; as a table or one JSON object.
void inspect_model(const std::string& path, const train::CostOptions& options, bool json, std::ostream& out);
Faults inspect_run(const std::string& folder, bool verify, std::ostream& out);
// What evaluate left: of which model on which packs, and retrieval over all spots.
Faults inspect_evaluation(const std::string& folder, std::ostream& out);

}  // namespace spn::cli
