# Of a bundle that launch/local/bundle.sh made: `. bundle/env.sh` in any POSIX shell; bin/* read it by themselves too.
# bash and zsh know where this file lies; another shell must stand in the bundle, or have SPN_BUNDLE set.
#
# Libraries are found through LD_LIBRARY_PATH, which bin/* set for the one program that they start and not for your
# shell. An RPATH would not do: glibc ignores it for what a library with a RUNPATH of its own asks for, and Open MPI's have
# one that points into the system; and CUDA's libraries lie elsewhere on each machine. Set for the whole shell, it
# would make your Python load our libstdc++ and libcrypto.
if [ -n "${spn_bundle_of_run:-}" ]; then
  SPN_BUNDLE=$spn_bundle_of_run
elif [ -n "${BASH_VERSION:-}" ]; then
  # shellcheck disable=SC3028,SC3054
  SPN_BUNDLE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
elif [ -n "${ZSH_VERSION:-}" ]; then
  eval 'SPN_BUNDLE=${${(%):-%x}:A:h}'
else
  SPN_BUNDLE=${SPN_BUNDLE:-$PWD}
fi
if [ ! -d "$SPN_BUNDLE/libexec" ]; then
  echo "env.sh: $SPN_BUNDLE is no bundle; go to its folder, or set SPN_BUNDLE" >&2
fi
export SPN_BUNDLE

case :$PATH: in
  *":$SPN_BUNDLE/bin:"*) ;;
  *) export PATH="$SPN_BUNDLE/bin:$PATH" ;;
esac

# Open MPI and PMIx know the folders they were built for; each of these replaces one. HWLOC: no plugins at all.
export OPAL_PREFIX="$SPN_BUNDLE" OPAL_BINDIR="$SPN_BUNDLE/bin" OPAL_LIBDIR="$SPN_BUNDLE/lib"
export OPAL_PKGLIBDIR="$SPN_BUNDLE/lib/openmpi" OPAL_PKGDATADIR="$SPN_BUNDLE/share/openmpi"
export OPAL_SYSCONFDIR="$SPN_BUNDLE/etc/openmpi" OPAL_DATADIR="$SPN_BUNDLE/share"
export PMIX_PREFIX="$SPN_BUNDLE" PMIX_INSTALL_PREFIX="$SPN_BUNDLE" PMIX_LIBDIR="$SPN_BUNDLE/lib"
export PMIX_PKGLIBDIR="$SPN_BUNDLE/lib/pmix" PMIX_PKGDATADIR="$SPN_BUNDLE/share/pmix"
export PMIX_SYSCONFDIR="$SPN_BUNDLE/etc/openmpi" PMIX_MCA_mca_base_component_path="$SPN_BUNDLE/lib/pmix"
export HWLOC_PLUGINS_PATH="$SPN_BUNDLE/lib/hwloc"

# Without ssh, rsh or Slurm mpirun refuses to start even on one host, unless told that there is no other.
if [ -z "${OMPI_MCA_plm:-}" ] && ! command -v ssh >/dev/null && ! command -v rsh >/dev/null &&
  ! command -v srun >/dev/null; then
  export OMPI_MCA_plm=isolated
fi

# Where the tests find their files and the program (tests/support/paths.cpp).
export SPN_SOURCE_DIR="$SPN_BUNDLE/src" SPN_BINARY_DIR="$SPN_BUNDLE/bin"

# CUDA's libraries: of CUDA_HOME, else of the Python that has them (SPN_PYTHON, else python3: nvidia/*/lib, as pip
# installs them beside PyTorch), else of /usr/local/cuda*. SPN_CUDA_LIBRARIES, once set, is taken as it is. SPN_CUDA_FOUND
# is the same when it was found here, so that gpu_check.sh can tell it from somebody's own word.
spn_find_cuda() {
  spn_folders="${CUDA_HOME:+$CUDA_HOME/lib64
$CUDA_HOME/lib}
$("${SPN_PYTHON:-python3}" -c '
import glob, sys
for folder in sys.path:
    for lib in sorted(glob.glob(folder + "/nvidia/*/lib")):
        print(lib)' 2>/dev/null || :)
$(ls -d /usr/local/cuda/lib64 /usr/local/cuda-*/lib64 2>/dev/null || :)
/usr/lib/x86_64-linux-gnu
/usr/lib64"
  SPN_CUDA_LIBRARIES=
  spn_missing=
  while read -r spn_library; do
    spn_found=
    while read -r spn_folder; do
      [ -n "$spn_folder" ] && [ -e "$spn_folder/$spn_library" ] || continue
      spn_found=$spn_folder
      break
    done <<END
$spn_folders
END
    case $spn_found in
      "") spn_missing="$spn_missing $spn_library" ;;
      /usr/lib/x86_64-linux-gnu | /usr/lib64) ;;  # the loader looks there anyway
      *)
        case :$SPN_CUDA_LIBRARIES: in
          *":$spn_found:"*) ;;
          *) SPN_CUDA_LIBRARIES=${SPN_CUDA_LIBRARIES:+$SPN_CUDA_LIBRARIES:}$spn_found ;;
        esac
        ;;
    esac
  done <"$SPN_BUNDLE/etc/cuda-libraries"
  if [ -n "$spn_missing" ]; then
    echo "env.sh: not found:$spn_missing; set CUDA_HOME to a CUDA 13 installation with cuDNN and NCCL, or SPN_PYTHON to a" \
      "Python that has PyTorch for CUDA 13" >&2
  fi
  export SPN_CUDA_LIBRARIES SPN_CUDA_FOUND="$SPN_CUDA_LIBRARIES"
  unset spn_folders spn_missing spn_found spn_folder spn_library
}
if [ -z "${SPN_CUDA_LIBRARIES+set}" ] && [ -s "$SPN_BUNDLE/etc/cuda-libraries" ]; then spn_find_cuda; fi
