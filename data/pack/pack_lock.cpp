#include "data/pack/pack_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "engine/core/check.h"
#include "engine/core/log.h"

namespace spn::data {
namespace {

using Clock = std::chrono::steady_clock;

std::chrono::milliseconds& patience() {
  static std::chrono::milliseconds most = std::chrono::seconds(60);
  return most;
}

// False: another has it.
bool try_lock(int fd, int how) {
  while (::flock(fd, how | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    if (errno != EINTR) return true;  // no locks here
  }
  return true;
}

// The file that was locked still has the name: it was not removed by its last owner in between.
bool has_name(int fd, const std::string& path) {
  struct stat mine {
  }, named{};
  return ::fstat(fd, &mine) == 0 && ::stat(path.c_str(), &named) == 0 && mine.st_dev == named.st_dev &&
         mine.st_ino == named.st_ino;
}

}  // namespace

void set_lock_patience(std::chrono::milliseconds most) { patience() = most; }

void lock_pack(int fd, const std::string& path, Share with) {
  const int how = with == Share::nobody ? LOCK_EX : LOCK_SH;
  const auto begin = Clock::now();
  // a change takes milliseconds: only what lasts is worth a line
  constexpr std::chrono::milliseconds kUnsaid(1000);
  for (bool said = false; !try_lock(fd, how);) {
    const auto waited = Clock::now() - begin;
    if (waited >= patience())
      fail_data("pack", "another program has '{}' open{} (a notebook with h5py?) and keeps it locked; close it there",
                path, with == Share::nobody ? "" : " to write");
    if (!said && waited >= std::min(kUnsaid, patience() / 2)) {
      log::warn("waiting for another program that has '{}' open", path);
      said = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

WriterLock::WriterLock(const std::string& path, const char* what) : path_(path + ".lock") {
  do {
    fd_ = files::open_file(path_, O_RDWR | O_CREAT, "make the lock");
    if (!try_lock(fd_.get(), LOCK_EX)) {
      fd_.reset();
      fail_data(what, "another {} is at work on '{}'; wait for it or stop it", what, path);
    }
  } while (!has_name(fd_.get(), path_));
}

void WriterLock::release() noexcept {
  if (fd_) ::unlink(path_.c_str());  // before it is unlocked: who comes then makes a new one
  fd_.reset();
}

WriterLock& WriterLock::operator=(WriterLock&& other) noexcept {
  release();
  path_ = std::move(other.path_);
  fd_ = std::move(other.fd_);
  return *this;
}

}  // namespace spn::data
