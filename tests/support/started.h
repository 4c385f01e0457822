// A command of several processes that a test starts and then disturbs: its ranks are known by their process ids.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "engine/core/check.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"

namespace spn::test {

class Started {
 public:
  // before: "mpirun -np 2"; rank_args: what each of its ranks runs, after `spotniche`. Several: a part of one rank
  // each, as mpirun's `:` has it.
  Started(const std::string& before, const std::vector<std::string>& rank_args) {
    // every rank leaves its id and becomes spotniche
    const std::string script = folder_.put(
        "rank.sh", "#!/bin/sh\n: >'" + folder_.path() + "/'$$.pid\nexec '" + SPN_BINARY_DIR + "/spotniche' \"$@\"\n");
    std::string command = "exec " + before;
    for (std::size_t i = 0; i < rank_args.size(); ++i)
      command += (i == 0 ? "" : " : -np 1 ") + std::string(" sh '") + script + "' " + rank_args[i];
    command += " >'" + log_path() + "' 2>&1";
    pid_ = fork();
    check(pid_ >= 0, "test", "cannot start {}", command);
    if (pid_ == 0) {
      execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
      _exit(127);
    }
  }
  ~Started() {
    if (pid_ <= 0 || ended()) return;
    signal_ranks(SIGKILL);
    (void)kill(pid_, SIGKILL);
    (void)waitpid(pid_, nullptr, 0);
  }
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;

  pid_t pid() const { return pid_; }
  std::string log_path() const { return folder_ / "log"; }
  void signal_ranks(int signal) const {
    for (const std::string& name : folder_.files())
      if (name.ends_with(".pid")) (void)kill(static_cast<pid_t>(std::stol(name)), signal);
  }
  // Until what() is true or the command has ended, a minute at most.
  template <class F>
  bool until(F&& what) {
    for (int i = 0; i < 6000; ++i) {
      if (what()) return true;
      if (ended()) return what();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  // Exit status; -1: a signal ended it, or it did not listen for a minute and was ended.
  int wait() {
    const bool by_itself = until([&] { return ended(); });
    if (!by_itself) {
      signal_ranks(SIGKILL);
      (void)kill(pid_, SIGKILL);
      (void)waitpid(pid_, &status_, 0);
    }
    pid_ = -1;
    return by_itself && WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;
  }

 private:
  bool ended() {
    if (!over_) over_ = waitpid(pid_, &status_, WNOHANG) == pid_;
    return over_;
  }

  TempFolder folder_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool over_ = false;
};

}  // namespace spn::test
