"""Writes pos_embed.safetensors: position embeddings and what timm's resample_abs_pos_embed makes of them for other grids.

usage: python tests/golden/make_pos_embed.py      (needs torch, timm, safetensors)
"""
import os

import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

CASES = [(2, 3), (4, 7), (7, 4), (5, 3), (3, 8), (14, 16), (16, 14), (14, 2), (1, 4), (6, 1)]  # side before, after

torch.manual_seed(11)
torch.set_num_threads(1)
tensors = {}
for before, after in CASES:
    x = torch.randn(1, 1 + before * before, 3) * 0.02
    name = f"{before}to{after}"
    tensors[f"{name}.in"] = x
    tensors[f"{name}.out"] = resample_abs_pos_embed(x, [after, after]).contiguous()
path = os.path.join(os.path.dirname(__file__), "pos_embed.safetensors")
save_file(tensors, path, metadata={"timm": timm.__version__, "torch": torch.__version__})
print(f"{len(CASES)} cases, {os.path.getsize(path)} bytes")
