"""Opens an .h5ad of write_h5ad_test.cpp as users do, and checks what they see. check_h5ad.py FILE SPOTS

anndata reads it, scanpy computes neighbours on X_spotniche, h5py sees the documented encodings, and anndata writes and
reads it again unchanged.
"""
import sys
import warnings

import numpy as np

warnings.filterwarnings("ignore")
import anndata
import h5py
import scanpy as sc


def check_values(a, n):
    assert a.shape == (n, 0), a.shape
    assert a.X is None
    row = np.arange(n)
    assert a.obs_names.tolist() == [f"slide-{i % 3}_é{i}" for i in range(n)]
    assert a.obs_names.is_unique
    assert sorted(a.obs.columns) == ["array_col", "array_row", "library_id", "slide"]
    assert str(a.obs["slide"].dtype) == "category"
    assert a.obs["slide"].tolist() == [f"slide-{i % 3}" for i in range(n)]
    library = a.obs["library_id"]
    assert not library.cat.ordered
    assert library.isna().tolist() == [i % 5 == 0 for i in range(n)]
    assert library.dropna().tolist() == [f"lib{i}" for i in range(n) if i % 5]
    assert np.array_equal(a.obs["array_row"], row) and a.obs["array_col"].dtype == np.int32
    assert np.array_equal(a.obs["array_col"], -row)
    e = a.obsm["X_spotniche"]
    assert e.dtype == np.float32 and e.shape == (n, 6)
    assert np.array_equal(e, np.sin(row[:, None] * 6 + np.arange(6), dtype=np.float64).astype(np.float32))
    s = a.obsm["spatial"]
    assert s.dtype == np.float64 and np.array_equal(s, np.stack([row + 0.125, 3.0 * row], 1))
    u = a.uns["spotniche"]
    assert u["version"] == "0.1.0" and u["seed"] == 42 and u["niche_window_um"] == 200.5, u
    assert u["checkpoint_sha256"] == "ab" * 32
    for empty in (a.layers, a.varm, a.obsp, a.varp):
        assert len(empty) == 0


def check_encoding(path):
    with h5py.File(path) as f:
        assert sorted(f) == ["layers", "obs", "obsm", "obsp", "uns", "var", "varm", "varp"], sorted(f)

        def visit(name, o):
            for key in ("encoding-type", "encoding-version"):
                assert isinstance(o.attrs[key], str), (name, key)  # variable-length UTF-8 reads as str
                t = o.attrs.get_id(key).get_type()
                assert t.is_variable_str() and t.get_cset() == h5py.h5t.CSET_UTF8, (name, key)
            if isinstance(o, h5py.Dataset) and o.dtype.kind == "O":
                info = h5py.check_string_dtype(o.dtype)
                assert info.encoding == "utf-8" and info.length is None, name

        visit("/", f)
        f.visititems(visit)
        order = f["var"].attrs["column-order"]
        assert order.shape == (0,), order
        assert f["var/_index"].shape == (0,)
        assert f["obs/slide"].attrs["ordered"].dtype == np.bool_


def main(path, n):
    check_encoding(path)
    a = anndata.read_h5ad(path)
    check_values(a, n)
    again = path + ".again.h5ad"
    a.write_h5ad(again)
    check_values(anndata.read_h5ad(again), n)
    backed = anndata.read_h5ad(path, backed="r")  # its .X raises without X in the file: anndata's own limit
    assert backed.obsm["X_spotniche"].shape == (n, 6) and backed.obs_names[0] == a.obs_names[0]
    backed.file.close()
    # (the default graph compiles UMAP for 20 s; tests/cli/embed_test.cpp makes one)
    sc.pp.neighbors(a, use_rep="X_spotniche", n_neighbors=5, method="gauss")
    assert a.obsp["distances"].shape == (n, n) and a.obsp["distances"].nnz > 0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
