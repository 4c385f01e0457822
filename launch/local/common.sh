# What the scripts of launch/ share: messages, logged steps, where things lie. Sourced, from any folder.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$ROOT"
BUILD=$ROOT/build
CORES=${SPN_JOBS:-$(nproc)}
export SPN_PYTHON=${SPN_PYTHON:-$ROOT/.venv/bin/python}

# Colour on a terminal only, and never in CI.
if [ -t 1 ] && [ -z "${CI:-}" ]; then BOLD=$'\e[1m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD= RED= PLAIN=; fi

say() { echo "${BOLD}$*${PLAIN}"; }
die() {
  echo "${RED}[$(basename "$0")] $*${PLAIN}" >&2
  exit 1
}

# step LOG TITLE COMMAND...: runs quietly, says how long it took; on failure shows the end of the log.
step() {
  local log=$1 title=$2 start=$SECONDS status=0
  shift 2
  mkdir -p "$(dirname "$log")"
  [ -t 1 ] && [ -z "${CI:-}" ] && printf '  %s …\r' "$title"
  "$@" >"$log" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then
    echo "  $title: ${RED}failed${PLAIN} (status $status); the end of $log:"
    tail -n 40 "$log" | sed 's/^/    /'
    return "$status"
  fi
  echo "  $title: $((SECONDS - start)) s"
}

# build PRESET: configures and builds everything of that preset; Ninja when it is there, else Make.
build() {
  local preset=$1 folder=$ROOT/build generator=()
  [ "$preset" = release ] || folder=$ROOT/build-$preset
  if ! command -v ninja >/dev/null && [ ! -f "$folder/build.ninja" ]; then generator=(-G "Unix Makefiles"); fi
  cmake --preset "$preset" "${generator[@]}" && cmake --build "$folder" -j "$CORES" "${@:2}"
}

# Open MPI as root (containers), on fewer cores than ranks, and without pinning ranks onto one core.
mpi_environment() {
  if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1
}
