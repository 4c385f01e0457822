#!/usr/bin/env bash
# Packs a relocatable folder: spotniche, the tests of a GPU machine, and every library that they need except glibc and
# CUDA. It runs on any x86-64 Linux with glibc of this machine's version or newer; docs/how/gpu.md says how to use it.
# usage: launch/local/bundle.sh [--from BUILD_DIR] OUTPUT.tar.xz|OUTPUT.tar.zst
#   --from BUILD_DIR  take the programs of that build; without it the preset `bundle` is built first (x86-64-v3, so that
#                     it also runs on a CPU that is older than this one)
# SPN_BUNDLE_LEVEL: of compression (xz 9, zstd 19). SPN_BUNDLE_MIB: the largest packed size that is accepted (60).
set -euo pipefail
here=$PWD
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

from="" output=""
while [ $# -gt 0 ]; do
  case $1 in
    --from) from=$(cd "$here" && cd "${2:?a build folder}" && pwd) && shift ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0" && exit 0 ;;
    -*) die "unknown option $1; --help lists them" ;;
    *) output=$(cd "$here" && realpath -m "$1") ;;
  esac
  shift
done
case $output in
  # windows of 192 and 128 MiB: the programs hold the same device code, once each
  *.tar.xz) pack=(xz -T1 "--lzma2=preset=${SPN_BUNDLE_LEVEL:-9},dict=192MiB" -c) ;;
  *.tar.zst) pack=(zstd -q -T0 --long=27 "-${SPN_BUNDLE_LEVEL:-19}" -c) ;;
  *) die "expected OUTPUT.tar.xz or OUTPUT.tar.zst, got ${output:-nothing}; --help says more" ;;
esac
command -v "${pack[0]}" >/dev/null || die "${pack[0]} is not installed; name an output of the other kind, or install it"

if [ -z "$from" ]; then
  say "Build"
  step .logs/build-bundle.log "preset bundle" build bundle
  from=$ROOT/build-bundle
fi
[ -x "$from/spotniche" ] || die "$from/spotniche: expected a program, got none; build it, or leave --from out"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=$(basename "${output%.tar.*}")
B=$work/$name
mkdir -p "$B"/{bin,libexec,lib,src}

# Part of glibc, which must be the one that the running kernel's loader belongs to; and CUDA's, with the driver's.
GLIBC='^(ld-linux-x86-64|lib(c|m|mvec|dl|rt|pthread|resolv|util|anl|nsl|nss_[a-z]+|BrokenLocale|thread_db))\.so'
CUDA='^lib(cuda|cudart|cublas|cublasLt|cudnn[a-z_]*|nccl|nvrtc[a-z-]*|nvJitLink|nvidia-ml|cupti)\.so'
# Fabrics: NCCL brings its own way to them, MPI in a bundle talks through shared memory and TCP. Their plugins would
# double its size and tie it to a driver stack.
FABRIC='lib(ucp|ucs|uct|fabric|psm2|psm_infinipath|ibverbs|rdmacm|oshmem)\.so'

# --- programs -----------------------------------------------------------------------------------------------------
programs=(spotniche)
for test in "$from"/test_cuda "$from"/test_dist*; do
  if [ -f "$test" ] && [ -x "$test" ]; then programs+=("$(basename "$test")"); fi
done
for program in "${programs[@]}"; do strip -o "$B/libexec/$program" "$from/$program"; done

# --- Open MPI: launcher, daemon, plugins, help texts ----------------------------------------------------------------
ompi() { ompi_info --parsable --path "$1" | sed -n "s/^path:$1://p" | head -n 1; }
command -v ompi_info >/dev/null || die "ompi_info is not here: expected Open MPI 4 with its programs (openmpi-bin)"
version=$(ompi_info --version | sed -n 's/^Open MPI v//p')
case $version in
  4.*) ;;
  *) die "expected Open MPI 4, got ${version:-none}: the launchers of others consist of other programs" ;;
esac
cp -L "$(ompi bindir)/orterun" "$B/libexec/mpirun"
cp -L "$(ompi bindir)/orted" "$B/libexec/orted"
mkdir -p "$B"/lib/openmpi "$B"/share "$B"/etc/openmpi
# all at once: ldd of many files prints "FILE:" before what each needs
LC_ALL=C ldd "$(ompi pkglibdir)"/mca_*.so | awk -v fabric="$FABRIC" '
  /^\// { if (file != "" && !tied) print file; file = substr($1, 1, length($1) - 1); tied = 0 }
  $1 ~ fabric { tied = 1 }
  END { if (file != "" && !tied) print file }' | xargs cp -L -t "$B/lib/openmpi/"
mkdir -p "$B/share/openmpi" && cp -L "$(ompi pkgdatadir)"/*.txt "$B/share/openmpi/"
rm -f "$B"/share/openmpi/*-wrapper-data.txt
echo "# Nothing is set here: the plugins that other settings exclude are not in this folder." \
  >"$B/etc/openmpi/openmpi-mca-params.conf"

# PMIx keeps its plugins and texts beside its library, which Open MPI's own plugin names.
pmix=$(ldd "$B"/lib/openmpi/mca_pmix_ext*.so 2>/dev/null | awk '$1 ~ /^libpmix/ { print $3; exit }')
if [ -n "$pmix" ]; then
  pmix=$(dirname "$(realpath "$pmix")")
  for folder in "$pmix/pmix" "$pmix/../pmix2/lib/pmix"; do
    [ ! -d "$folder" ] || { mkdir -p "$B/lib/pmix" && cp -L "$folder"/*.so "$B/lib/pmix/"; }
  done
  for folder in "$pmix/../share/pmix" "$pmix/../pmix2/share/pmix"; do
    [ ! -d "$folder" ] || { mkdir -p "$B/share/pmix" && cp -L "$folder"/help-*.txt "$B/share/pmix/"; }
  done
fi
mkdir -p "$B/lib/pmix" "$B/share/pmix"

# --- libraries ------------------------------------------------------------------------------------------------------
elves() { find "$B/libexec" "$B/lib" -type f; }
: >"$work/origins"
elves | LC_ALL=C xargs ldd | awk '$2 == "=>" { print $1, $3 }' | sort -u >"$work/needed"
while read -r soname path; do
  if [[ $soname =~ $GLIBC ]]; then continue; fi
  if [[ $soname =~ $CUDA ]]; then continue; fi
  [ "$path" != not ] || die "$soname is not found here, and something of the bundle needs it"
  cp -L "$path" "$B/lib/$soname"
  echo "$path" >>"$work/origins"
done <"$work/needed"
chmod -R u+w "$B"
find "$B/lib" -type f -exec strip --strip-unneeded {} + 2>/dev/null || true
# What must come from a CUDA installation, by soname: env.sh looks for these. cuDNN's and NCCL's parts lie beside them.
needs() { LC_ALL=C readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
for program in "${programs[@]}"; do needs "$B/libexec/$program"; done | sort -u | grep -E "$CUDA" >"$B/etc/cuda-libraries" || true

# --- what tests and benchmarks read -----------------------------------------------------------------------------------
for path in configs tests/golden tests/support/torch_st_align.py launch/bench LICENSE; do
  mkdir -p "$B/src/$(dirname "$path")" && cp -r "$path" "$B/src/$path"
done
find "$B/src" -name __pycache__ -prune -exec rm -rf {} + -o -name '*.cpp' -exec rm -f {} + -o -name '*.h' -exec rm -f {} +
cp launch/local/bundle/env.sh launch/local/bundle/run "$B/"
for program in "${programs[@]}" mpirun orted; do ln -s ../run "$B/bin/$program"; done
[ ! -f launch/bench/gpu_check.sh ] || ln -s src/launch/bench/gpu_check.sh "$B/gpu_check.sh"

# --- whose they are ---------------------------------------------------------------------------------------------------
if command -v dpkg-query >/dev/null; then
  mkdir -p "$B/licenses"
  # where /lib is a link to /usr/lib, a package may list either
  xargs realpath <"$work/origins" | sed 'p; s|^/usr/|/|' | sort -u |
    xargs dpkg-query -S 2>/dev/null | cut -d: -f1 | sort -u >"$work/packages" || true
  printf '%s\n' openmpi-bin openmpi-common libopenmpi3 >>"$work/packages"
  while read -r package; do
    [ ! -f "/usr/share/doc/$package/copyright" ] || cp -L "/usr/share/doc/$package/copyright" "$B/licenses/$package"
  done <"$work/packages"
fi

# --- is it whole? -------------------------------------------------------------------------------------------------------
elves | LC_ALL=C LD_LIBRARY_PATH=$B/lib xargs ldd | awk '/^\// { file = $1 } $2 == "=>" { print $1, $3, file }' |
  while read -r soname path file; do
    if [[ $soname =~ $GLIBC || $soname =~ $CUDA || $path == "$B"/lib/* ]]; then continue; fi
    echo "${file#"$B/"} $soname comes from $path"
  done >"$work/outside"
[ ! -s "$work/outside" ] || { head -n 20 "$work/outside" && die "libraries come from outside of the bundle, see above"; }
glibc=$(elves | xargs readelf -V 2>/dev/null | grep -oE 'GLIBC_2\.[0-9]+' | sort -uV | tail -n 1)
arch=$(sed -n 's/^SPN_CPU_ARCH:[A-Z]*=//p' "$from/CMakeCache.txt" 2>/dev/null || true)
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
{
  "$B/bin/spotniche" --version 2>/dev/null | grep -v '^devices' || true
  echo "commit $commit, made $(date -u +%F), CPU ${arch:-unknown}, needs ${glibc/_/ } or newer"
  echo "from CUDA: $(tr '\n' ' ' <"$B/etc/cuda-libraries")"
} >"$B/about.txt"
[ "$arch" != native ] || echo "  ${BOLD}built with -march=native: runs on CPUs like this one only, and where it was built beside a GPU, on GPUs like it${PLAIN}"

# --- packed ---------------------------------------------------------------------------------------------------------------
mkdir -p "$(dirname "$output")"
# by kind, so that what is alike lies close together
tar -C "$work" --owner=0 --group=0 --sort=name -cf - "$name" | "${pack[@]}" >"$output.part"
mv "$output.part" "$output"
bytes=$(stat -c %s "$output") limit=${SPN_BUNDLE_MIB:-60}
echo "  $output: $(((bytes + 1048575) / 1048576)) MiB packed, $(du -sm "$B" | cut -f1) MiB unpacked, ${#programs[@]} \
programs, $(find "$B/lib" -maxdepth 1 -type f | wc -l) libraries, ${glibc/_/ } or newer"
[ "$bytes" -le $((limit * 1048576)) ] || die "$output is larger than $limit MiB; see what grew with: tar -tvf $output"
