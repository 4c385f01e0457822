"""How far runs are from the first of them: losses of every step, weights of the newest checkpoint.

usage: python launch/bench/compare_runs.py RUN_DIR RUN_DIR...      (needs numpy, safetensors)

For the same run on other numbers of ranks (docs/numerics.md). Relative: a loss to the first run's, weights as one
vector (L2), those below --frozen (niche_image.backbone.) bit for bit. Exit status 1 when one is further than --losses or
--weights, or a frozen tensor differs.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file


def losses(run):
    return np.array([json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()])


def weights(run):
    newest = max((run / "checkpoints").glob("step-*/model.safetensors"), default=None)
    if newest is None:
        sys.exit(f"{run}: expected a whole checkpoint, got none")
    tensors = {k: v for k, v in load_file(newest).items() if not k.endswith("num_batches_tracked")}
    return newest.parent.name, tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=pathlib.Path)
    parser.add_argument("--frozen", default="niche_image.backbone.")
    parser.add_argument("--losses", type=float, default=1e-4, help="bound of every loss, relative")
    parser.add_argument("--weights", type=float, default=1e-3, help="bound of the weights, relative L2")
    options = parser.parse_args()
    first, *others = options.runs
    want, (step, want_weights) = losses(first), weights(first)
    passed = True
    for run in others:
        got, (got_step, got_weights) = losses(run), weights(run)
        if len(got) != len(want) or got_step != step or got_weights.keys() != want_weights.keys():
            sys.exit(f"{run}: expected {len(want)} losses and {step} of {first}'s model, got {len(got)} and {got_step}, or "
                     "another model")
        frozen = {k for k in want_weights if k.startswith(options.frozen)}
        off = size = 0.0
        for k in want_weights.keys() - frozen:
            w = want_weights[k].astype(np.float64)
            off += float(((got_weights[k] - w) ** 2).sum())
            size += float((w ** 2).sum())
        same = all(np.array_equal(got_weights[k], want_weights[k]) for k in frozen)
        loss, weight = np.max(np.abs(got - want) / np.abs(want)), (off / max(size, 1e-300)) ** 0.5
        passed = passed and bool(loss <= options.losses and weight <= options.weights and same)
        print(f"{run}: {len(got)} losses within {loss:.1e}, weights within {weight:.1e}, {len(frozen)} frozen tensors "
              f"{'equal' if same else 'DIFFER'}")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
