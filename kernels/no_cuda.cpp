// The only stub: a build without the CUDA backend has no CUDA table.
#include "kernels/table.h"

namespace spn::kernels {
const Table* cuda_table() { return nullptr; }
int cuda_device_count() { return 0; }
}  // namespace spn::kernels
