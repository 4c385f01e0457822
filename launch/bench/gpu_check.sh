#!/usr/bin/env bash
# On a machine with a GPU, from an unpacked bundle (or a checkout with a build): all GPU tests, sanitizers, ranks, loss
# curves, embeddings, then the benchmarks beside PyTorch. Ends with "N passed, N failed, N skipped", and how many parts were
# cut at their limit, if any. docs/how/gpu.md.
# usage: ./gpu_check.sh [--device cuda|cpu] [--small] [--minutes 9] [--only PART,PART] [--output DIR] [--bin DIR]
#        [--slides DIR]
#   --only    parts: tests tuned slides nccl ranks curve graph embed memcheck racecheck loss step32 step224 vit kernels,
#             profile torch (all of theirs)
#   --output  logs, runs and gpu-check.json (gpu-check)       --bin  where spotniche and the tests lie, without a bundle
#             a second call with the same one goes on there: parts that ran keep their results until they run again
#   --slides  real slides in STimage-1K4M layout, also SPN_REAL_SLIDES: trained and embedded on both devices
#   --small   tiny sizes: with --device cpu the whole course in seconds, which tries this script and nothing else
# SPN_PYTHON: a Python with PyTorch for the right-hand column; any Python 3.8 runs the rest.
set -euo pipefail
here=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")" && pwd)
python=
for candidate in "${SPN_PYTHON:-}" python3; do
  if [ -n "$candidate" ] && command -v "$candidate" >/dev/null; then python=$candidate && break; fi
done
[ -n "$python" ] || { echo "gpu_check.sh: no python3 here; set SPN_PYTHON to any Python 3.8 or newer" >&2 && exit 1; }
# .../bundle/src/launch/bench: the bundle says where its programs and CUDA's libraries are
bundle=$(cd "$here/../../.." && pwd)
if [ -f "$bundle/env.sh" ] && [ -d "$bundle/libexec" ]; then
  # A ratio compares programs, not libraries: where PyTorch brings all of CUDA's, of our version, ours takes the same,
  # before CUDA_HOME's.
  torch=$("$python" -c '
import glob, importlib.util, os, sys
site = os.path.dirname(os.path.dirname(os.path.abspath(importlib.util.find_spec("torch").origin)))
folders = sorted(glob.glob(glob.escape(site) + "/nvidia/*/lib"))
needed = open(sys.argv[1]).read().split()
if needed and all(any(os.path.exists(os.path.join(f, n)) for f in folders) for n in needed):
    print(":".join(folders))' "$bundle/etc/cuda-libraries" 2>/dev/null || :)
  . "$bundle/env.sh"
  # somebody's own word stands, also the empty one
  if [ -n "$torch" ] && [ -n "${SPN_CUDA_FOUND+set}" ] && [ "${SPN_CUDA_LIBRARIES-}" = "$SPN_CUDA_FOUND" ]; then
    SPN_CUDA_LIBRARIES=$torch${SPN_CUDA_LIBRARIES:+:$SPN_CUDA_LIBRARIES}
    export SPN_CUDA_LIBRARIES SPN_CUDA_FOUND="$SPN_CUDA_LIBRARIES"
  fi
fi
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
exec "$python" -u "$here/gpu_check.py" "$@"
