#!/usr/bin/env python3
"""Compares the embeddings that `spotniche embed` wrote with PyTorch's from the same checkpoint and pack.

python tests/support/check_checkpoint.py --checkpoint RUN_DIR/checkpoints/step-00000040 --pack PACK.h5... --h5ad OUT.h5ad

Loads model.safetensors into torch_st_align in eval mode and compares the six embeddings, unit rows, over all rows of
the packs. Exit 1 on a mismatch, in values, names or tensors.
"""
import argparse
import json
import sys
from pathlib import Path

import anndata
import h5py
import numpy as np
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
import torch_st_align as st  # noqa: E402

KEYS = {"spot_image": "X_spot_image", "spot_gene": "X_spot_gene", "niche_image": "X_niche_image",
        "niche_gene": "X_niche_gene", "spot": "X_spotniche", "niche": "X_spotniche_niche"}


def find_checkpoint(path):
    """A checkpoint folder, or the newest one of a run directory."""
    latest = path / "checkpoints" / "latest"
    return path / "checkpoints" / latest.read_text().strip() if latest.exists() else path


def load_model(folder):
    """The model in eval mode, and a list of what is wrong with the checkpoint's tensors."""
    config = st.parse_config(json.loads((folder / "config.json").read_text()).items())
    model = st.STAlign(config).eval()
    state, want = load_file(folder / "model.safetensors"), model.state_dict()
    counters = {k for k in want if k.endswith("num_batches_tracked")}  # of no use in eval mode: may be absent
    wrong = [f"missing tensor {k}" for k in want.keys() - state.keys() - counters]
    wrong += [f"unexpected tensor {k}" for k in state.keys() - want.keys()]
    wrong += [f"{k}: expected shape {list(want[k].shape)}, got {list(state[k].shape)}"
              for k in want.keys() & state.keys() if k not in counters and want[k].shape != state[k].shape]
    if not wrong:
        model.load_state_dict(state, strict=False)
    return model, sorted(wrong)


@torch.no_grad()
def embed(model, pack, batch):
    out = {name: [] for name in KEYS}
    spots = pack["spots"]
    for first in range(0, len(spots["name"]), batch):
        rows = slice(first, first + batch)
        images = [st.normalise_image(torch.from_numpy(spots[k][rows])) for k in ("spot_image", "niche_image")]
        genes = [torch.from_numpy(spots[k][rows].astype(np.float32)) for k in ("spot_gene", "niche_gene")]
        for name, value in model(*images, *genes).items():
            out[name].append(torch.nn.functional.normalize(value, dim=1).numpy())
    return {name: np.concatenate(v) for name, v in out.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--pack", type=Path, nargs="+", required=True)
    parser.add_argument("--h5ad", type=Path, required=True)
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest absolute difference of an element")
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()

    folder = find_checkpoint(args.checkpoint)
    model, wrong = load_model(folder)
    if wrong:
        sys.exit(f"{folder}/model.safetensors does not fit its config.json:\n  " + "\n  ".join(wrong))
    names, parts = [], []
    for path in args.pack:
        with h5py.File(path) as pack:
            names += [n.decode() for n in pack["spots/name"][:]]
            parts.append(embed(model, pack, args.batch))
    adata = anndata.read_h5ad(args.h5ad)
    if list(adata.obs_names) != names:
        sys.exit(f"{args.h5ad}: expected the packs' {len(names)} spot names in order, got {adata.n_obs}: "
                 f"{list(adata.obs_names[:3])} …")
    failed = False
    for name, key in KEYS.items():
        want = np.concatenate([p[name] for p in parts])
        if key not in adata.obsm:
            print(f"{key}: missing")
            failed = True
            continue
        got = np.asarray(adata.obsm[key], dtype=np.float64)
        if got.shape != want.shape:
            print(f"{key}: expected shape {want.shape}, got {got.shape}")
            failed = True
            continue
        difference = float(np.abs(got - want).max())
        length = float(np.abs(np.linalg.norm(got, axis=1) - 1).max())
        # spread: rows that are all alike would agree for the wrong reason
        ok = difference <= args.tolerance and length <= 1e-4 and np.isfinite(got).all()
        failed |= not ok
        print(f"{key:18s} {'ok      ' if ok else 'MISMATCH'} max |difference| {difference:.2e}, "
              f"| |row| - 1 | {length:.1e}, row spread {float(got.std(0).mean()):.3f}")
    print(f"{len(names)} rows, {folder}: " + ("MISMATCH" if failed else "equal within {:g}".format(args.tolerance)))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
