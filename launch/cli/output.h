// Where results go, looked at before the work that makes them.
#pragma once

#include <string>

namespace spn::cli {

// --output is a file that can be made or replaced: usage error when it is a folder, or when there is no folder for it.
void require_file_place(const char* command, const std::string& output);
// --output is a folder, or a name that is free for one.
void require_folder_place(const char* command, const std::string& output);

}  // namespace spn::cli
