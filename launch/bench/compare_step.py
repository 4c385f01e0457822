#!/usr/bin/env python3
"""Times the training step of the same model here and in PyTorch, alternating, and prints the ratio of pairs/s.

  OMP_NUM_THREADS=2 python launch/bench/compare_step.py [--rounds 5] [--batch 128] [--config configs/model/tiny.cfg]

Needs build/spotniche and a Python with PyTorch (launch/local/install.sh --with-torch). One JSON line a round, then the
medians. The step here also augments the images (on by default in pretraining); PyTorch's does not.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def json_line(command):
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(next(line for line in out.splitlines() if line.startswith("{")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--layout", default="channels_last", help="of PyTorch's images: the faster one here")
    parser.add_argument("--config", default=str(ROOT / "configs" / "model" / "tiny.cfg"))
    args = parser.parse_args()
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    ours = [str(ROOT / "build" / "spotniche"), "bench", "step", "--config", args.config, "--global-batch",
            str(args.batch), "--steps", str(args.steps)]
    peer = [sys.executable, str(ROOT / "launch" / "bench" / "torch_peer.py"), "--config", args.config, "--batch",
            str(args.batch), "--steps", str(args.steps), "--threads", threads, "--layout", args.layout]
    rounds = []
    for _ in range(args.rounds):
        a, b = json_line(ours), json_line(peer)
        rounds.append((a["pairs_per_s"], b["pairs_per_s"], a["pairs_per_s"] / b["pairs_per_s"]))
        print(json.dumps({"spotniche": round(rounds[-1][0], 1), "torch": round(rounds[-1][1], 1),
                          "ratio": round(rounds[-1][2], 2), "load_1min": round(os.getloadavg()[0], 1)}), flush=True)
    median = [round(statistics.median(r[i] for r in rounds), 2) for i in range(3)]
    print(json.dumps({"bench": "compare_step", "threads": int(threads), "batch": args.batch, "rounds": args.rounds,
                      "spotniche_pairs_per_s": median[0], "torch_pairs_per_s": median[1], "ratio": median[2]}))


if __name__ == "__main__":
    main()
