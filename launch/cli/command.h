// A subcommand: a name, one line for the overview, and its main. main.cpp lists them all.
#pragma once

#include <string>
#include <vector>

#include "engine/dist/comm.h"

namespace spn::cli {

struct Command {
  const char* name;
  const char* summary;
  // args: everything after the command's name. Returns an exit status; throws spn::Error.
  int (*run)(dist::Comm& world, const std::vector<std::string>& args);
};

int run_prepare(dist::Comm&, const std::vector<std::string>&);
int run_encode(dist::Comm&, const std::vector<std::string>&);
int run_pretrain(dist::Comm&, const std::vector<std::string>&);
int run_embed(dist::Comm&, const std::vector<std::string>&);
int run_evaluate(dist::Comm&, const std::vector<std::string>&);
int run_import(dist::Comm&, const std::vector<std::string>&);
int run_export(dist::Comm&, const std::vector<std::string>&);
int run_inspect(dist::Comm&, const std::vector<std::string>&);
int run_bench(dist::Comm&, const std::vector<std::string>&);
int run_synth(dist::Comm&, const std::vector<std::string>&);

}  // namespace spn::cli
