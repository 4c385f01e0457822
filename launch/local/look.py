"""Opens an .h5ad of `spotniche embed` as any scanpy user would: neighbours and a map on X_spotniche, and a picture.

Run: python launch/local/look.py IN.h5ad OUT.png [ANNOTATION_DIR]. With known domains, it says how often a spot's nearest
neighbours in the embedding are of its domain, beside chance.
"""
import pathlib
import sys
import warnings

warnings.filterwarnings("ignore")
import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import scanpy as sc  # noqa: E402


def domains(adata, folder):
    """A label per spot from {slide}_anno.csv or {slide}_cluster.csv, or None."""
    labels = pd.Series(index=adata.obs_names, dtype=object)
    for slide in adata.obs["slide"].unique():
        for ending in ("_anno.csv", "_cluster.csv"):
            path = pathlib.Path(folder, slide + ending)
            if path.is_file():
                table = pd.read_csv(path, index_col=0).iloc[:, 0]
                if not table.index.isin(adata.obs_names).any():
                    table.index = f"{slide}_" + table.index.astype(str)
                labels.update(table.astype(str))
    return labels if labels.notna().any() else None


def main():
    adata, picture = sc.read_h5ad(sys.argv[1]), sys.argv[2]
    sc.pp.neighbors(adata, use_rep="X_spotniche", n_neighbors=10)
    sc.tl.umap(adata, random_state=0)
    print(f"  {adata.n_obs} spots; obsm: {', '.join(adata.obsm)}")
    labels = domains(adata, sys.argv[3]) if len(sys.argv) > 3 else None
    if labels is not None:
        known = labels.notna().to_numpy()
        near = adata.obsp["distances"].tocoo()
        pairs = known[near.row] & known[near.col]
        values = labels.to_numpy()
        same = np.mean(values[near.row[pairs]] == values[near.col[pairs]])
        chance = float((labels.value_counts(normalize=True) ** 2).sum())
        print(f"  nearest neighbours in X_spotniche of the same domain: {same:.2f} (chance {chance:.2f})")
    colour = labels.astype("category").cat.codes if labels is not None else adata.obsm["spatial"][:, 0]
    figure, axes = plt.subplots(1, 2, figsize=(10, 5))
    for axis, key, title in ((axes[0], "spatial", "on the slide"), (axes[1], "X_umap", "UMAP of X_spotniche")):
        axis.scatter(*adata.obsm[key].T, c=colour, s=12, cmap="tab10")
        axis.set(title=title, xticks=[], yticks=[], aspect="equal")
    axes[0].invert_yaxis()
    figure.suptitle("coloured by known domain" if labels is not None else "coloured by place (x)")
    figure.savefig(picture, dpi=120, bbox_inches="tight")
    print(f"  picture: {picture}")


if __name__ == "__main__":
    main()
