// SIGTERM, SIGUSR1 and SIGINT (Ctrl-C) ask a run to stop at the next safe point.
#pragma once

namespace spn::cli {

void catch_stop_signals();
// The signal that arrived; 0: none. A second SIGTERM changes nothing: the scheduler's SIGKILL is the last word. A
// second Ctrl-C ends at once.
int stop_signal();

}  // namespace spn::cli
