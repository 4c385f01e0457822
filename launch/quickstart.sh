#!/usr/bin/env bash
# From nothing to embeddings that scanpy opens: installs what is missing, builds, makes slides, prepares packs, pretrains
# the tiny model on 2 ranks, embeds a held-out slide, measures retrieval beside chance.
# usage: launch/quickstart.sh [--slides DIR] [--steps N] [--ranks N] [--output DIR] [--fresh]
#   --slides DIR  your slides in STimage-1K4M layout (ST/ or Visium/ with image, coord, gene_exp); two or more: the
#                 last by name is held out, the others are trained on. Without it, four slides are made
#   --steps N     training steps (150)      --ranks N  processes (2)
#   --output DIR  where everything goes (quickstart-out beside README.md)
#   --fresh       throw away what --output holds. Without it, what is done stays done, and training goes on where it was
set -euo pipefail
here=$PWD  # relative folders are the caller's
. "$(dirname "${BASH_SOURCE[0]}")/local/common.sh"

slides="" steps="" ranks=2 out=quickstart-out fresh=0
while [ $# -gt 0 ]; do
  case $1 in
    --slides)
      slides=$(cd "$here" && cd "${2:?a folder}" && pwd) || die "--slides ${2:-}: expected a folder"
      shift
      ;;
    --steps) steps=${2:?a number} && shift ;;
    --ranks) ranks=${2:?a number} && shift ;;
    --output)
      out=$(cd "$here" && realpath -m "${2:?a folder}") || die "--output: expected a folder"
      shift
      ;;
    --fresh) fresh=1 ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) die "unknown option $1; --help lists them" ;;
  esac
  shift
done

say "1. What is needed"
launch/local/install.sh --for build
mpi_environment
# ranks share the cores; more threads than that fight each other
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((CORES > ranks ? CORES / ranks : 1))}

say "2. Build"
step .logs/build.log "build/spotniche" build release --target spotniche
spotniche() { "$BUILD/spotniche" "$@"; }
on_ranks() { mpirun -np "$ranks" "$BUILD/spotniche" "$@"; }

[ "$fresh" = 0 ] || rm -rf "$out"
mkdir -p "$out"
# What is here was made from this input; another one starts anew, and never over something that is not ours.
made_from=${slides:-synthetic}
if [ -e "$out/made-from" ] && [ "$(cat "$out/made-from")" != "$made_from" ]; then
  die "$out was made from $(cat "$out/made-from"), not from $made_from; give --fresh or another --output"
fi
echo "$made_from" >"$out/made-from"

say "3. Slides"
if [ -z "$slides" ]; then
  slides=$out/slides
  if [ ! -d "$slides" ]; then
    rm -rf "$slides.part"
    step "$out/logs/synth.log" "making 4 slides" on_ranks synth --slides 4 --spots 400 --genes 600 --technology ST \
      --output "$slides.part"
    mv "$slides.part" "$slides"
  fi
fi
mapfile -t names < <(find "$slides"/{ST,Visium,VisiumHD}/coord -name '*_coord.csv' 2>/dev/null | sed 's/.*\///; s/_coord\.csv$//' | sort)
[ ${#names[@]} -ge 2 ] || die "$slides: expected at least 2 slides in STimage-1K4M layout (ST/coord/NAME_coord.csv …), \
got ${#names[@]}"
held_out=${names[-1]}
train=$(IFS=, && echo "${names[*]:0:${#names[@]}-1}")
echo "  trained on ${train//,/, }; held out: $held_out"

say "4. Packs"
[ -e "$out/train.h5" ] || step "$out/logs/prepare-train.log" "training slides" on_ranks prepare \
  --format stimage-1k4m --input "$slides" --slides "$train" --gene-count 512 --output "$out/train.h5"
# the same genes in the same order, or the model could not read it
[ -e "$out/held-out.h5" ] || step "$out/logs/prepare-held-out.log" "held-out slide" on_ranks prepare \
  --format stimage-1k4m --input "$slides" --slides "$held_out" --gene-list "$out/train.h5" --output "$out/held-out.h5"
spotniche inspect "$out/train.h5" | sed 's/^/  /'

say "5. Pretraining on $ranks ranks"
on_ranks pretrain --config configs/model/tiny.cfg --config configs/run/quickstart.cfg ${steps:+--steps "$steps"} \
  --pack "$out/train.h5" --output "$out/run"

say "6. Embeddings and retrieval of the held-out slide"
newest=$(cat "$out/run/checkpoints/latest")
if [ "$(cat "$out/embedded-with" 2>/dev/null)" != "$newest" ]; then
  step "$out/logs/embed.log" "embedding" on_ranks embed --checkpoint "$out/run" --pack "$out/held-out.h5" \
    --output "$out/held-out.h5ad"
  on_ranks evaluate --checkpoint "$out/run" --pack "$out/held-out.h5" --output "$out/evaluation" |
    tee "$out/logs/evaluate.log"
  echo "$newest" >"$out/embedded-with"
else
  cat "$out/logs/evaluate.log"
fi

say "7. In scanpy"
if [ -x "$SPN_PYTHON" ]; then
  "$SPN_PYTHON" launch/local/look.py "$out/held-out.h5ad" "$out/held-out.png" "$slides/annotation"
else
  echo "  skipped: there is no $SPN_PYTHON"
fi

say "Where everything is"
cat <<END
  $out/train.h5, held-out.h5    packs: one row a spot and its niche      build/spotniche inspect $out/train.h5
  $out/run/                     metrics.jsonl, events.jsonl, checkpoints  build/spotniche inspect $out/run
  $out/held-out.h5ad            embeddings     scanpy.read_h5ad("$out/held-out.h5ad").obsm["X_spotniche"]
  $out/evaluation/metrics.json  the table above
What the numbers mean: recall@5 says how often a spot's own genes are among the 5 nearest to its image, of all spots of
a slide the model never saw; in brackets what a blind guess would reach. A tiny model after minutes of training should
be clearly above chance, no more. docs/start.md goes on from here, with real slides.
END
