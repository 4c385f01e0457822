#!/usr/bin/env bash
# Fuzzes the safetensors reader with libFuzzer, and keeps a small corpus that reaches all it reached.
# usage: launch/local/fuzz.sh [SECONDS]      (default 600; needs clang-14 and libclang-rt-14-dev, and build/ beside it)
# New inputs are merged into tests/fuzz/corpus/safetensors, which the test safetensors_corpus replays; an input that
# breaks the reader is left in build-fuzz/ as crash-*, and the exit status is 1.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

seconds=${1:-600} out=$ROOT/build-fuzz corpus=$ROOT/tests/fuzz/corpus/safetensors
clang=$(command -v clang++-14 || command -v clang++ || die "clang++ is missing: apt-get install clang-14 libclang-rt-14-dev")
[ -e "$BUILD/libspn_engine.a" ] || die "build first: cmake --preset release && cmake --build build"
mkdir -p "$out/found"

# the reader is instrumented, what lies below it (tensors, kernels) comes from the build
step "$out/build.log" "fuzzer" "$clang" -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
  -I "$ROOT" tests/fuzz/safetensors_fuzz.cpp engine/ckpt/{safetensors,safetensors_header}.cpp engine/core/file.cpp \
  "$BUILD"/libspn_{engine,kernels,core}.a -lfmt -ldnnl -lspdlog -lgomp -o "$out/safetensors_fuzz"

export ASAN_OPTIONS=allocator_may_return_null=0:${ASAN_OPTIONS:-}
say "Fuzzing for $seconds s; log in build-fuzz/fuzz.log"
# a reader that took a gigabyte for a file of 64 kB would be stopped here as a failure
(cd "$out" && ./safetensors_fuzz -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024 -malloc_limit_mb=256 \
  -timeout=10 -dict="$ROOT/tests/fuzz/safetensors.dict" -print_final_stats=1 found "$corpus" >fuzz.log 2>&1) || {
  tail -n 40 "$out/fuzz.log"
  die "the reader broke; the input is in $out"
}
grep -E '^stat::(number_of_executed_units|peak_rss_mb)|^Done' "$out/fuzz.log"
# what reaches nothing new stays behind
(cd "$out" && ./safetensors_fuzz -merge=1 -use_counters=0 -max_len=2048 "$corpus" found >merge.log 2>&1)
say "$(find "$corpus" -type f | wc -l) inputs of $(du -sb "$corpus" | cut -f1) bytes in tests/fuzz/corpus/safetensors"
