#include "launch/cli/signals.h"

#include <csignal>

namespace spn::cli {
namespace {

volatile std::sig_atomic_t g_signal = 0;
void remember(int signal) { g_signal = signal; }

}  // namespace

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_flags |= static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

int stop_signal() { return g_signal; }

}  // namespace spn::cli
