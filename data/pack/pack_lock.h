// Who may touch a pack when: short locks on the pack itself while its pages change or while it is opened, and one long
// lock beside it for a whole encode. All by flock, which ends with the process; file systems without it go without.
#pragma once

#include <chrono>
#include <string>

#include "engine/core/file.h"

namespace spn::data {

enum class Share : bool { readers, nobody };
// Waits for other programs that have the pack open, and says so; data error after a minute.
void lock_pack(int fd, const std::string& path, Share with);

// The one writer of a pack or of a run, from before it looks at it until its last byte is written: PATH.lock, which
// goes with it. Another file than the pack, so that readers need not wait for an encode.
class WriterLock {
 public:
  WriterLock() = default;
  // what: "encode", in the data error when there is a writer.
  WriterLock(const std::string& path, const char* what);
  ~WriterLock() { release(); }
  WriterLock(WriterLock&&) noexcept = default;
  WriterLock& operator=(WriterLock&& other) noexcept;
  void release() noexcept;

 private:
  std::string path_;
  files::Fd fd_;
};

// For tests: how long lock_pack() waits.
void set_lock_patience(std::chrono::milliseconds most);

}  // namespace spn::data
