#!/usr/bin/env bash
# Builds spotniche and runs all its tests; installs what is missing first.
# usage: launch/test.sh [--quick | --slow] [--sanitizers] [--tidy] [--no-python]
#   --quick       clang-format, release build and the unit tests only
#   --slow        clang-format, release build and the full-size model against PyTorch alone: minutes, 12 GiB, and torch, timm and
#                 torchvision in the Python environment (SPN_PYTHON, else .venv)
#   --sanitizers  the unit tests once more, built with AddressSanitizer and UndefinedBehaviorSanitizer and without
#                 precompiled headers; and every header alone
#   --tidy        clang-tidy over all sources too (many minutes on two cores)
#   --no-python   no Python environment; what compares with Python is skipped, loudly
# The last line is "N passed, N failed, N skipped"; the exit status is 1 when anything failed.
# SPN_REAL_SLIDES: a folder in STimage-1K4M layout for the tests on real slides. SPN_JOBS: cores to use.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/local/common.sh"

quick=0 slow=0 sanitizers=0 tidy=0 install=(--for test)
for option in "$@"; do
  case $option in
    --quick) quick=1 install=(--for build) ;;
    --slow) slow=1 ;;
    --sanitizers) sanitizers=1 ;;
    --tidy) tidy=1 install=(--for tidy) ;;
    --no-python) install+=(--no-python) ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) die "unknown option $option; --help lists them" ;;
  esac
done

say "What is needed"
launch/local/install.sh "${install[@]}"
mpi_environment
export GTEST_COLOR=no  # mpiexec's ranks write to a terminal of its own making; count_tests.py reads plain lines
# A Python of ours has all that the tests import: there a skip would hide a failure.
if [ -x "$SPN_PYTHON" ]; then export SPN_REQUIRE_PYTHON=1; else unset SPN_PYTHON; fi
if [ -z "${SPN_REAL_SLIDES:-}" ] && [ -d ../shared/data/stimage-1k4m ]; then
  SPN_REAL_SLIDES=$(cd ../shared/data/stimage-1k4m && pwd)
  export SPN_REAL_SLIDES
fi

REPORTS=$BUILD/reports
checks_passed=0 checks_failed=0 checks_skipped=0 skipped_names=()

check() { # LOG TITLE COMMAND...: its status is the step's
  if step "$REPORTS/$@"; then
    checks_passed=$((checks_passed + 1))
  else
    checks_failed=$((checks_failed + 1))
    return 1
  fi
}
skip() {
  checks_skipped=$((checks_skipped + 1))
  skipped_names+=("$*")
}
finish() {
  local passed=0 failed=0 skipped=0 reports=()
  for r in "$REPORTS"/*.xml; do [ -e "$r" ] && reports+=("$r"); done
  if [ ${#reports[@]} -gt 0 ]; then
    python3 launch/local/count_tests.py "${reports[@]}" >"$REPORTS/count.txt"
    sed '$d' "$REPORTS/count.txt"
    read -r passed failed skipped < <(tail -n 1 "$REPORTS/count.txt")
  fi
  for name in ${skipped_names[@]+"${skipped_names[@]}"}; do echo "SKIPPED $name"; done
  passed=$((passed + checks_passed)) failed=$((failed + checks_failed)) skipped=$((skipped + checks_skipped))
  echo "$((SECONDS / 60)) min $((SECONDS % 60)) s; logs and reports in $REPORTS"
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] && exit 0
  exit 1
}

# tests FOLDER NAME LABELS: failures are counted from the report, so the status says nothing more
tests() {
  local folder=$1 name=$2 labels=$3 start=$SECONDS
  (cd "$folder" && ctest -L "$labels" -j "$CORES" --output-on-failure --output-junit "$REPORTS/$name.xml" \
    --test-output-size-passed 8388608 --test-output-size-failed 8388608) >"$REPORTS/$name.log" 2>&1 || true
  if [ ! -s "$REPORTS/$name.xml" ]; then
    tail -n 20 "$REPORTS/$name.log"
    checks_failed=$((checks_failed + 1))
  fi
  echo "  tests ($name): $((SECONDS - start)) s, $(grep -E '^[0-9]+% tests passed' "$REPORTS/$name.log" || echo 'see the log')"
  sed -n '/The following tests FAILED/,$p' "$REPORTS/$name.log" | grep -E '^\s+[0-9]+ - ' || true
}

rm -rf "$REPORTS" && mkdir -p "$REPORTS"
[ -n "${SPN_REAL_SLIDES:-}" ] || skip "everything on real slides: set SPN_REAL_SLIDES to a folder in STimage-1K4M layout"

say "Style"
sources() { find engine kernels data launch tests -name '*.h' -o -name '*.cpp' -o -name '*.cu'; }
clang_format=$(command -v clang-format-14 || command -v clang-format || true)
if [ -n "$clang_format" ]; then
  check format.log "clang-format" bash -c '"$0" --dry-run -Werror "$@"' "$clang_format" $(sources) || true
else
  skip "clang-format: not installed"
fi

say "Build"
check build.log "release build" build release || finish

say "Tests"
if [ "$quick" = 1 ]; then
  tests "$BUILD" unit '^unit$'
  finish
fi
if [ "$slow" = 1 ]; then
  [ -n "${SPN_REQUIRE_PYTHON:-}" ] || skip "without a Python environment of ours the comparison may be skipped"
  tests "$BUILD" slow '^slow$'
  finish
fi
tests "$BUILD" release '^(unit|data|dist|cli)$'
if [ ! -d "$BUILD/CMakeFiles/spn_cuda.dir" ] && [ -n "${CI:-}" ] && command -v nvcc >/dev/null; then
  # there nobody would miss it
  check cuda.log "compilation of the CUDA backend" bash -c \
    'echo "nvcc is here, and cuDNN or NCCL was not found, or SPN_CUDA is OFF; see build.log"; exit 1' || true
elif [ ! -d "$BUILD/CMakeFiles/spn_cuda.dir" ]; then
  skip "compilation of the CUDA backend: nvcc, cuDNN or NCCL was not found (its kernels were tested on the host, not from PTX)"
elif nvidia-smi -L >/dev/null 2>&1; then
  tests "$BUILD" gpu '^gpu$'
else
  skip "tests on a GPU: none here (its kernels were compiled, and tested on the host)"
fi

if [ "$sanitizers" = 1 ]; then
  say "Sanitizers"
  check headers.log "every header compiles alone" python3 tests/rules/headers.py "$BUILD" || true
  # LeakSanitizer attaches to its own process, which some containers forbid
  if ! (echo 'int main() {}' | c++ -fsanitize=address -x c++ - -o "$REPORTS/leaks" && "$REPORTS/leaks") &>/dev/null; then
    export ASAN_OPTIONS=detect_leaks=0
    skip "leaks: LeakSanitizer cannot run here"
  fi
  if check build-asan.log "sanitizer build" build asan --target unit_tests; then
    tests "$ROOT/build-asan" asan '^unit$'
  fi
else
  skip "sanitizers, and that every header compiles alone: give --sanitizers"
fi

if [ "$tidy" = 0 ]; then
  skip "clang-tidy: give --tidy"
elif command -v clang-tidy-14 >/dev/null || command -v clang-tidy >/dev/null; then
  say "clang-tidy"
  check tidy.log "every source" python3 tests/rules/tidy.py "$BUILD" || true
else
  skip "clang-tidy: not installed"
fi
finish
