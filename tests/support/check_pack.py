"""Opens a pack made by tests/support/made_pack.cpp with h5py and checks every object against the documented format.

check_pack.py check PACK f32|f16     names, shapes, types, values
check_pack.py rewrite PACK OUT gzip|chunked|lzf   the same content, stored otherwise
"""
import sys

import h5py
import numpy as np


def check(path, gene):
    with h5py.File(path) as f:
        assert f.attrs["format"] == "spotniche-pack", f.attrs["format"]
        assert f.attrs["format_version"] == 1
        for name in ("spot_window_um", "niche_window_um", "niche_radius_um", "pitch_um"):
            assert isinstance(float(f.attrs[name]), float), name
        assert f.attrs["normalisation"].startswith("log1p")
        assert f.attrs["source_format"] == "made"
        s = f["spots"]
        n = s["name"].shape[0]
        names = s["name"].asstr()[:]
        assert h5py.check_string_dtype(s["name"].dtype).encoding == "utf-8"
        assert h5py.check_string_dtype(s["name"].dtype).length is None
        assert len(set(names)) == n
        slides = f["slides/name"].asstr()[:]
        row = np.arange(n)
        for i, (name, slide) in enumerate(zip(names, s["slide"][:])):
            assert name == f"{slides[slide]}_{i // 10}x{i % 10}", name
        assert "é" in slides[0]
        expected = {
            "slide": ("i4", (n,)), "xy": ("f8", (n, 2)), "array_row": ("i4", (n,)), "array_col": ("i4", (n,)),
            "cluster": ("i4", (n,)), "spot_image": ("u1", (n, 5, 5, 3)), "niche_image": ("u1", (n, 7, 7, 3)),
            "spot_gene": (gene, (n, 9)), "niche_gene": (gene, (n, 11)),
        }
        for name, (dtype, shape) in expected.items():
            assert s[name].dtype == np.dtype(dtype), (name, s[name].dtype)
            assert s[name].shape == shape, (name, s[name].shape)
            assert s[name].chunks is None, name
        assert np.array_equal(s["xy"][:], np.stack([0.25 * row, 1000.5 - row], 1))
        g = (row[:, None] * 7 + np.arange(9) * 3) % 128 / 8
        assert np.array_equal(s["spot_gene"][:].astype("f8"), g)
        assert np.array_equal(s["niche_gene"][:].astype("f8"), (row[:, None] * 7 + np.arange(11) * 3 + 40) % 128 / 8)
        pixels = (row[:, None] * 31 + np.arange(147) * 5 + 100) % 251
        assert np.array_equal(s["niche_image"][:].reshape(n, -1), pixels)
        assert np.array_equal(s["cluster"][:], row % 4 - 1)
        assert f["genes/name"].asstr()[:].tolist() == [f"GENE{i}" for i in range(11)]
        assert f["slides/um_per_px"][:].tolist() == [0.5 + i for i in range(len(slides))]
        assert f["slides/rows"][:].sum() == n


def rewrite(path, out, how):
    with h5py.File(path) as f, h5py.File(out, "w") as g:
        g.attrs.update(f.attrs)
        for group in f:
            for name, d in f[group].items():
                options = {} if d.dtype.kind == "O" else {"chunks": True}
                if options and how != "chunked":
                    options["compression"] = how
                g.create_dataset(f"{group}/{name}", data=d[()], dtype=d.dtype, **options)


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check(sys.argv[2], {"f32": "f4", "f16": "f2"}[sys.argv[3]])
    else:
        rewrite(*sys.argv[2:5])
