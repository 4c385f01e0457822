// A file written beside its final name: the names of such neighbours, what is left of them, and room on the disk. The
// rest is engine/core/file.h: sync_file(), then rename_durably().
#pragma once

#include <cstdint>
#include <string>

namespace spn::data {

// PATH.tmp-<tag>; tag from new_tag(), the same on all ranks.
std::string temporary_name(const std::string& path, std::int64_t tag);
std::int64_t new_tag();

// Data error when the folder of path is missing, or path is a folder.
void check_target(const std::string& path);
// Reserves `bytes` on disk for an existing file, so that a full disk shows now and not in the middle of writing. Data
// error with the size wanted and the size free. False: the file system has no such call, and nothing happened.
bool reserve_space(const std::string& path, std::int64_t bytes);
void remove_quietly(const std::string& path) noexcept;
// Temporary neighbours of path, as a kill leaves them; for who alone may write it.
void remove_left_behind(const std::string& path);

// For tests: as on file systems that cannot reserve space.
void set_reserving(bool possible);

}  // namespace spn::data
