"""Recomputes rows of a pack from the slides on disk with numpy and Pillow, and compares. Shares no code with spotniche.

usage: check_prepare.py PACK INPUT_FOLDER [rows a slide, default 12]      (needs numpy, pillow, h5py)

Read on its own: csv of counts and coordinates, gene columns, pitch, neighbours, normalisation, the most variable genes
(when the pack's genes were chosen and not given: --variable), windows cut and resized by Pillow.
"""
import csv
import glob
import math
import os
import re
import sys

import h5py
import numpy as np
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
PITCH = {"visium": 100.0, "st": 200.0}


def read_table(path):
    with open(path, newline="", encoding="utf-8-sig") as f:
        rows = list(csv.reader(f))
    return rows[0], rows[1:]


def read_counts(path, slide):
    header, rows = read_table(path)
    ids = [r[0].removeprefix(slide + "_") for r in rows]
    x = np.array([np.array([v or "0" for v in r[1:]]).astype(float) for r in rows])
    x = np.nan_to_num(x)
    genes = [g.split(".")[0] if re.fullmatch(r"ENS[A-Z]*G\d{11}(\..*)?", g) else g for g in header[1:]]
    known, names, column, owner = set(genes), [], {}, []
    for g in genes:
        m = re.fullmatch(r"(.+)\.([1-9]\d*)", g)
        if m and {m[1], *(f"{m[1]}.{k}" for k in range(1, int(m[2])))} <= known:
            g = m[1]
        if g not in column:
            column[g] = len(names)
            names.append(g)
        owner.append(column[g])
    merged = np.zeros((len(ids), len(names)))
    np.add.at(merged.T, np.array(owner), x.T)
    return ids, names, merged


def read_slide(folder, slide, tech, width_height):
    sub = glob.glob(os.path.join(folder, "*", "coord", slide + "_coord.csv"))
    assert len(sub) == 1, sub
    base = os.path.dirname(os.path.dirname(sub[0]))
    header, rows = read_table(sub[0])
    ix, iy = header.index("xaxis"), header.index("yaxis")
    where = {r[0].removeprefix(slide + "_"): (float(r[ix]), float(r[iy])) for r in rows}
    xy = np.array(list(where.values()))
    d = np.sqrt(((xy[:, None] - xy[None]) ** 2).sum(-1))
    np.fill_diagonal(d, np.inf)
    um_per_px = PITCH[tech.lower()] / np.median(d.min(1))
    ids, genes, counts = read_counts(os.path.join(base, "gene_exp", slide + "_count.csv"), slide)
    keep = [i for i, s in enumerate(ids) if s in where and counts[i].sum() > 0
            and 0 <= where[s][0] < width_height[0] and 0 <= where[s][1] < width_height[1]]
    keep.sort(key=lambda i: where[ids[i]][::-1])  # the pack's order: by y, then x; equally near spots come in it
    names = [slide + "_" + ids[i] for i in keep]
    xy = np.array([where[ids[i]] for i in keep])
    counts = counts[keep]
    return names, xy, genes, np.log1p(1e4 * counts / counts.sum(1, keepdims=True)), um_per_px


def cut(image, x, y, side_um, um_per_px, px):
    half = side_um / um_per_px / 2
    box = (x - half, y - half, x + half, y + half)
    left, top, right, bottom = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
    inside = box[0] >= 0 and box[1] >= 0 and box[2] <= image.width and box[3] <= image.height
    part = image.crop((left, top, right, bottom))
    inner = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    return np.asarray(part.resize((px, px), Image.BILINEAR, box=inner)).astype(int), inside


def main(pack, folder, rows_a_slide=12, variable=False):
    f = h5py.File(pack)
    s, a = f["spots"], f.attrs
    all_names = s["name"].asstr()[:]
    genes = f["genes/name"].asstr()[:].tolist()
    half_precision = s["spot_gene"].dtype == np.float16
    tolerance = 4e-3 if half_precision else 2e-5
    rng = np.random.default_rng(0)
    sums, squares, spots, common = {}, {}, 0, None
    compared = padded = 0
    for i, slide in enumerate(f["slides/name"].asstr()[:]):
        rows = np.flatnonzero(s["slide"][:] == i)
        paths = glob.glob(os.path.join(folder, "*", "image", slide + ".*"))
        assert len(paths) == 1, paths
        image = Image.open(paths[0]).convert("RGB")
        names, xy, slide_genes, x, um = read_slide(folder, slide, f["slides/technology"].asstr()[i], image.size)
        assert names == all_names[rows].tolist(), slide
        assert abs(um - f["slides/um_per_px"][i]) < 1e-9 * um, (um, f["slides/um_per_px"][i])
        for g, t, q in zip(slide_genes, x.sum(0), (x**2).sum(0)):
            sums[g] = sums.get(g, 0) + t
            squares[g] = squares.get(g, 0) + q
        spots += len(names)
        common = set(slide_genes) if common is None else common & set(slide_genes)
        index = {n: k for k, n in enumerate(names)}
        column = {g: k for k, g in enumerate(slide_genes)}
        dense = np.zeros((len(names), len(genes)))
        for k, g in enumerate(genes):
            if g in column:
                dense[:, k] = x[:, column[g]]
        niche_um, radius_um = f["slides/niche_window_um"][i], f["slides/niche_radius_um"][i]
        k_nearest = int(a["niche_neighbours"])
        for row in rng.choice(rows, min(rows_a_slide, len(rows)), replace=False):
            me = index[all_names[row]]
            assert np.array_equal(s["xy"][row], xy[me])
            d = np.sqrt(((xy - xy[me]) ** 2).sum(1))
            near = np.argsort(d, kind="stable")[: k_nearest + 1] if k_nearest else np.flatnonzero(d * um <= radius_um)
            for name, want in (("spot_gene", dense[me]), ("niche_gene", dense[near].mean(0))):
                got = s[name][row].astype("f8")
                assert np.abs(got - want).max() <= tolerance, (slide, row, name, np.abs(got - want).max())
            for name, side in (("spot_image", a["spot_window_um"]), ("niche_image", niche_um)):
                got = s[name][row].astype(int)
                want, inside = cut(image, *xy[me], side, um, got.shape[0])
                padded += not inside
                if inside:
                    assert np.abs(got - want).max() <= 1, (slide, row, name, np.abs(got - want).max())
            compared += 1
    if variable:
        variance = {g: squares[g] / spots - (sums[g] / spots) ** 2 for g in common}
        ranked = sorted(variance, key=lambda g: -variance[g])[: len(genes)]
        assert ranked == genes or all(abs(variance[p] - variance[q]) < 1e-6 for p, q in zip(ranked, genes))
    print(f"{pack}: {compared} rows of {len(all_names)} equal to numpy and Pillow ({padded} padded windows not compared)")


if __name__ == "__main__":
    args = [v for v in sys.argv[1:] if v != "--variable"]
    main(args[0], args[1], int(args[2]) if len(args) > 2 else 12, "--variable" in sys.argv)
