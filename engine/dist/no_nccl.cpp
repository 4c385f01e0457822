// In place of nccl.cpp where the build has no CUDA backend.
#include "engine/dist/comm.h"

namespace spn::dist {

std::unique_ptr<Comm> make_nccl(Comm&, void*, std::function<double()>) {
  fail_usage("nccl", "this build has no CUDA backend and no NCCL");
}
std::string nccl_library() { return "NCCL not in this build"; }

}  // namespace spn::dist
