#!/usr/bin/env python3
"""Converts weights saved by torch.save to safetensors, once: UNI's pytorch_model.bin, scGPT's best_model.pt, any .pth.

usage: python launch/local/to_safetensors.py IN.bin OUT.safetensors      (needs torch >= 2.5 and safetensors)

The file is read with weights_only=True: nothing in it is run. A checkpoint that keeps its weights under "state_dict" or
"model" is opened there; "module." before names (DistributedDataParallel) is taken off; what is no tensor is left out.
All of this is said. Values and dtypes stay as they are.
"""
import argparse
import os
import sys

import torch
from safetensors.torch import save_file


def convert(source, target):
    if not hasattr(torch.serialization, "safe_globals"):
        sys.exit(f"PyTorch {torch.__version__} cannot name what is safe to read; install 2.5 or newer")
    # training scripts store their parsed options beside the weights: plain values, harmless to read
    with torch.serialization.safe_globals([argparse.Namespace]):
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            print(f"weights under \"{key}\"; left out: {', '.join(k for k in loaded if k != key) or 'nothing'}")
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        sys.exit(f"{source}: expected a dictionary of tensors, got {type(loaded).__name__}; save model.state_dict()")
    tensors, stripped = {}, 0
    for name, value in loaded.items():
        if not isinstance(value, torch.Tensor):
            print(f"left out: {name} ({type(value).__name__})")
            continue
        short = name.removeprefix("module.")
        stripped += short != name
        if short in tensors:
            sys.exit(f"{source}: two tensors are named {short}")
        tensors[short] = value.detach().contiguous().clone()  # shared memory becomes two tensors, as two names say
    if not tensors:
        sys.exit(f"{source}: holds no tensors")
    if stripped:
        print(f"\"module.\" taken off {stripped} names")
    save_file(tensors, target + ".tmp", metadata={"format": "pt"})
    os.replace(target + ".tmp", target)
    print(f"{target}: {len(tensors)} tensors, {sum(t.numel() for t in tensors.values()):,} values")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    convert(sys.argv[1], sys.argv[2])
