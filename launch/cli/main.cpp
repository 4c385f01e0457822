// The one binary: finds the command, runs it, and alone decides how a run ends.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string_view>

#include "engine/core/log.h"
#include "launch/cli/command.h"
#include "launch/cli/signals.h"
#include "launch/cli/version.h"

namespace spn::cli {
namespace {

constexpr Command kCommands[] = {
    {"synth", "make slides with a known structure in a real layout", run_synth},
    {"prepare", "slides on disk -> a pack, one row a spot-niche pair", run_prepare},
    {"encode", "features of a frozen encoder, or embeddings of spots, into a pack", run_encode},
    {"pretrain", "a pack -> a run directory with metrics and checkpoints", run_pretrain},
    {"embed", "checkpoint and pack -> an .h5ad that scanpy opens", run_embed},
    {"evaluate", "checkpoint and pack -> retrieval beside chance", run_evaluate},
    {"import", "weights in timm's, torchvision's or our names -> a folder for pretrain --init", run_import},
    {"export", "checkpoint -> a Hugging Face style folder, in our names, timm's or torchvision's", run_export},
    {"inspect", "what is in a file of ours, and whether it is whole", run_inspect},
    {"bench", "timed parts: step, part, loss, loader, kernels", run_bench},
};

void print_usage(std::ostream& out) {
  out << "usage: spotniche COMMAND [--config FILE]... [--key value]...\n"
         "Pretrains ST-Align, an image-gene model for spatial transcriptomics.\n\ncommands:\n";
  for (const auto& c : kCommands) out << fmt::format("  {:<10} {}\n", c.name, c.summary);
  out << "\n`spotniche COMMAND --help` lists its options; `spotniche --version` says what this build is.\n"
         "Several ranks: mpirun -np 4 spotniche COMMAND … or srun --mpi=pmix spotniche COMMAND …\n";
}

int dispatch(dist::Comm& world, const std::vector<std::string>& args) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    if (world.rank() == 0) print_usage(args.empty() ? std::cerr : std::cout);
    return args.empty() ? exit_usage : exit_ok;
  }
  if (args[0] == "--version") {
    std::cout << version_text();
    return exit_ok;
  }
  std::string names;
  for (const auto& c : kCommands) {
    if (args[0] == c.name) return c.run(world, {args.begin() + 1, args.end()});
    names += (names.empty() ? "" : ", ") + std::string(c.name);
  }
  fail_usage("spotniche", "unknown command '{}'; the commands are {}", args[0], names);
}

// Whether a signal stops this command at a safe point, or with nothing left behind. Signals are caught before MPI
// starts, which takes a while.
bool stops_well(std::string_view command) {
  return command == "pretrain" || command == "encode" || command == "prepare";
}

// What was printed has gone out, unless its reader has: `spotniche … | head -1` is well.
void require_printed() {
  const bool whole = static_cast<bool>(std::cout.flush()) && std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  pollfd out{.fd = STDOUT_FILENO, .events = 0, .revents = 0};
  const bool reader_left = ::poll(&out, 1, 0) > 0 && (out.revents & POLLERR) != 0;
  if (!whole && !reader_left) fail("spotniche", "standard output could not be written: is its disk full?");
}

int report(const char* message, int status) {
  log::error("{}", message);
  return status;
}

}  // namespace
}  // namespace spn::cli

int main(int argc, char** argv) {
  using namespace spn;
  // Where 0, 1 or 2 is closed, the next file that is opened would take its place, and what is printed.
  for (int fd; (fd = ::open("/dev/null", O_RDWR)) >= 0;)
    if (fd > STDERR_FILENO) {
      ::close(fd);
      break;
    }
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit is then an error that says so, not a kill
  std::signal(SIGPIPE, SIG_IGN);  // a log that nobody reads any more is no reason to stop training
  if (argc > 1 && cli::stops_well(argv[1])) cli::catch_stop_signals();
  std::unique_ptr<dist::Comm> world;
  int status = exit_failed;
  try {
    world = dist::make_world();
    log::init(world->rank(), world->size());
    if (world->rank() != 0) std::cout.rdbuf(nullptr);  // help, tables and versions are said once
    status = cli::dispatch(*world, {argv + 1, argv + argc});
    if (status == exit_ok && world->rank() == 0) cli::require_printed();
  } catch (const Error& e) {
    status = cli::report(e.what(), e.status());
  } catch (const std::bad_alloc&) {
    status = cli::report("out of memory; use a smaller --micro-batch or more ranks", exit_failed);
  } catch (const std::exception& e) {
    status = cli::report(e.what(), exit_failed);
  }
  if (status != exit_ok && status != exit_requeue) {
    std::fflush(nullptr);
    // A rank that fails alone would leave the others waiting in a collective: end them all. Exit status 0 and 75 are
    // reached by every rank together.
    if (world && world->size() > 1) world->abort(status);
    // no exit handlers: HDF5's crashes when it could not flush a file to a full disk
    std::_Exit(status);
  }
  return status;
}
