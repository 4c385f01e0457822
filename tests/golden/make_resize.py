"""Writes resize.safetensors: images, boxes and what Pillow's Image.resize(BILINEAR, box) makes of them.

usage: python tests/golden/make_resize.py      (needs numpy, pillow, safetensors)
"""
import os

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

CASES = {  # input width, height, box (left, top, right, bottom), output width, height
    "shrink": (61, 47, (0, 0, 61, 47), 8, 8),
    "enlarge": (5, 7, (0, 0, 5, 7), 16, 12),
    "fraction": (50, 40, (3.25, 1.5, 44.75, 39.125), 11, 9),
    "mixed": (40, 9, (0.5, 0.25, 39.5, 8.75), 7, 20),
    "same": (12, 10, (0, 0, 12, 10), 12, 10),
    "pixel": (1, 1, (0.2, 0.1, 0.7, 0.9), 3, 3),
}

tensors = {}
rng = np.random.default_rng(5)
for name, (w, h, box, out_w, out_h) in CASES.items():
    noise = rng.integers(0, 256, (h, w, 3))
    smooth = np.add.outer(np.arange(h) * 3, np.arange(w) * 2)[:, :, None] % 256
    image = np.where(rng.random((h, w, 1)) < 0.5, noise, smooth).astype(np.uint8)
    out = Image.fromarray(image).resize((out_w, out_h), Image.BILINEAR, box=box)
    tensors[f"{name}.in"] = image
    tensors[f"{name}.box"] = np.array(box, np.float64)
    tensors[f"{name}.out"] = np.asarray(out).copy()
import PIL

save_file(tensors, os.path.join(os.path.dirname(__file__), "resize.safetensors"), metadata={"pillow": PIL.__version__})
