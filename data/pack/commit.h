// Changes to a pack in place, all or none: a kill or a power cut at any moment leaves a pack that opens. The changed
// pages go to PATH.redo first (synced, renamed), then into the pack (synced); then PATH.redo goes. Whoever finds a
// PATH.redo finishes that work before reading.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "data/h5/pages.h"
#include "engine/core/file.h"

namespace spn::data {

// Reserves the space first: a full disk is a data error that leaves the pack as it was. So is a pack that another
// program changed since it was opened staged. Callers hold the WriterLock from before they open it.
void commit_pages(const std::string& path, const h5::Pages& pages);
// Nothing to do when there is no PATH.redo. Data error when it belongs to another file of that name, or when the pack
// may not be written.
void finish_commit(const std::string& path);

// While it lives nobody changes the pack, whose change, if one was interrupted, is finished. File systems without locks
// only lose the protection against a change at that very moment.
class UnchangedPack {
 public:
  explicit UnchangedPack(const std::string& path);

 private:
  files::Fd fd_;
};

// For tests: called with the name of every step, in order. May throw or end the process.
void set_commit_hook(std::function<void(std::string_view)> hook);

}  // namespace spn::data
