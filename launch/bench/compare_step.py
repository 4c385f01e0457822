#!/usr/bin/env python3
"""Times the training step of the same model here and in PyTorch, alternating, and prints the ratio of pairs/s. With
--part, one encoder: timm's ViT encoding, or torchvision's ResNet training (`spotniche bench part`).

  OMP_NUM_THREADS=2 python launch/bench/compare_step.py [--rounds 5] [--batch 128] [--config configs/model/tiny.cfg]
      [--part niche_image|spot_image] [--precision fp32|bf16] [--set spot_image_px=224]

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
    parser.add_argument("--part", choices=["all", "niche_image", "spot_image"], default="all")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a model key")
    args = parser.parse_args()
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    same = ["--config", args.config, "--steps", str(args.steps), "--precision", args.precision]
    ours = [str(ROOT / "build" / "spotniche"), "bench"]
    ours += ["step", "--global-batch"] if args.part == "all" else ["part", "--part", args.part, "--batch"]
    ours += [str(args.batch)] + same
    peer = [sys.executable, str(ROOT / "launch" / "bench" / "torch_peer.py"), "--batch", str(args.batch), "--threads",
            threads, "--layout", args.layout, "--part", args.part] + same
    if args.part != "all":
        peer += ["--warmup", "1"]
    for pair in args.set:
        key, value = pair.split("=")
        ours += ["--" + key.replace("_", "-"), value]
        peer += ["--set", pair]
    rounds = []
    for _ in range(args.rounds):
        a, b = json_line(ours), json_line(peer)
        mine, theirs = a.get("pairs_per_s") or a["images_per_s"], b["pairs_per_s"]
        rounds.append((mine, theirs, mine / theirs))
        line = {"spotniche": round(mine, 2), "torch": round(theirs, 2), "ratio": round(mine / theirs, 2),
                "load_1min": round(os.getloadavg()[0], 1)}
        if "cpu_s" in a:  # of the process: what a shared machine takes away does not count
            line |= {"cpu_s": [round(a["cpu_s"], 2), round(b["step_cpu_s_median"], 2)],
                     "cpu_ratio": round(b["step_cpu_s_median"] / a["cpu_s"], 2)}
        print(json.dumps(line), flush=True)
    median = [round(statistics.median(r[i] for r in rounds), 2) for i in range(3)]
    print(json.dumps({"bench": "compare_step", "part": args.part, "precision": args.precision, "threads": int(threads), "batch": args.batch, "rounds": args.rounds,
                      "spotniche_per_s": median[0], "torch_per_s": median[1], "ratio": median[2]}))


if __name__ == "__main__":
    main()
