#!/usr/bin/env python3
"""Names, shapes and dtypes of an export against what its config.json says they must be; no PyTorch needed.

python tests/support/check_export.py FOLDER {model,niche_image,spot_image} [--without-fc]
"""
import json
import sys
from pathlib import Path

from safetensors import safe_open


def linear(out, name, a, b, bias=True):
    out[name + ".weight"] = [b, a]
    if bias:
        out[name + ".bias"] = [b]


def norm(out, name, width):
    out[name + ".weight"] = out[name + ".bias"] = [width]


def batch_norm(out, name, width):
    norm(out, name, width)
    out[name + ".running_mean"] = out[name + ".running_var"] = [width]
    out[name + ".num_batches_tracked"] = []


def mlp(out, name, *sizes):
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        linear(out, f"{name}.{2 * i}", a, b)


def block(out, n, width, inner, hidden, vit):
    norm(out, n + ".norm1", width)
    norm(out, n + ".norm2", width)
    linear(out, n + ".attn.qkv", width, 3 * inner, vit)
    linear(out, n + ".attn.proj", inner, width)
    linear(out, n + ".mlp.fc1", width, hidden)
    linear(out, n + ".mlp.fc2", hidden, width)
    if vit:
        out[n + ".ls1.gamma"] = out[n + ".ls2.gamma"] = [width]


def vit(out, n, px, patch, width, depth, hidden):
    out[n + "cls_token"], out[n + "pos_embed"] = [1, 1, width], [1, (px // patch) ** 2 + 1, width]
    out[n + "patch_embed.proj.weight"], out[n + "patch_embed.proj.bias"] = [width, 3, patch, patch], [width]
    for i in range(depth):
        block(out, f"{n}blocks.{i}", width, width, hidden, True)
    norm(out, n + "norm", width)


def resnet(out, n, depths, width, stem, classes):
    kernel = 3 if stem == "cifar" else 7
    out[n + "conv1.weight"] = [width, 3, kernel, kernel]
    batch_norm(out, n + "bn1", width)
    before = width
    for layer, depth in enumerate(depths):
        w = width << layer
        for i in range(depth):
            b = f"{n}layer{layer + 1}.{i}."
            out[b + "conv1.weight"], out[b + "conv2.weight"] = [w, before, 1, 1], [w, w, 3, 3]
            out[b + "conv3.weight"] = [4 * w, w, 1, 1]
            for k, channels in (("bn1", w), ("bn2", w), ("bn3", 4 * w)):
                batch_norm(out, b + k, channels)
            if i == 0:
                out[b + "downsample.0.weight"] = [4 * w, before, 1, 1]
                batch_norm(out, b + "downsample.1", 4 * w)
            before = 4 * w
    if classes:
        linear(out, n + "fc", before, classes)


def whole_model(c):
    out, t, d = {}, c["tokens"], c["token-width"]
    depths = [int(v) for v in c["resnet-depths"].split(",")]
    resnet(out, "spot_image.backbone.", depths, c["resnet-width"], c["resnet-stem"], d)
    if c["niche-adapter"]:
        batch_norm(out, "niche_image.adapter.bn", 3)
        out["niche_image.adapter.conv.weight"], out["niche_image.adapter.conv.bias"] = [3, 3, 3, 3], [3]
    vit(out, "niche_image.backbone.", 224 if c["niche-adapter"] else c["niche-image-px"], c["vit-patch"],
        c["vit-width"], c["vit-depth"], c["vit-mlp"])
    for part, kernel in (("spot_image", 1), ("niche_image", c["vit-width"] // d), ("spot_gene", 1)):
        out[part + ".tokens.weight"], out[part + ".tokens.bias"] = [t, 1, kernel], [t]
    if c["spot-gene-encoder"] == "mlp":
        mlp(out, "spot_gene.mlp", c["spot-gene-width"], c["spot-gene-hidden"], d)
    w = c["genes"] // t
    hidden = [int(v) for v in c["niche-gene-hidden"].split(",")]
    mlp(out, "niche_gene.mlp", c["genes"], *hidden, c["genes"])
    for i in range(c["niche-gene-blocks"]):
        inner = c["niche-gene-heads"] * c["niche-gene-head-width"]
        block(out, f"niche_gene.blocks.{i}", w, inner, c["niche-gene-mlp"], False)
    mlp(out, "niche_gene.proj", w, c["niche-gene-proj"], d)
    for part in ("spot_fusion", "niche_fusion"):
        for side in ("image_to_gene", "gene_to_image"):
            for k in ("norm_q", "norm_kv"):
                norm(out, f"{part}.{side}.{k}", d)
            for k in "qkv":
                linear(out, f"{part}.{side}.{k}", d, d, False)
            linear(out, f"{part}.{side}.proj", d, d)
        for ffn in ("image_ffn", "gene_ffn"):
            linear(out, f"{part}.{ffn}.0", d, c["fusion-ffn-hidden"])
            linear(out, f"{part}.{ffn}.2", c["fusion-ffn-hidden"], d // 2)
        norm(out, part + ".norm", d)
    for head in ("spot_image", "spot_gene", "niche_image", "niche_gene", "spot", "niche"):
        mlp(out, f"heads.{head}", t * d, c["head-hidden"], c["joint-width"])
    if c["learnable-temperature"]:
        for name in ("spot", "niche", "cross"):
            out[f"logit_scale.{name}"] = []
    return out


def main():
    folder, part = Path(sys.argv[1]), sys.argv[2]
    config, want = json.loads((folder / "config.json").read_text()), {}
    if part == "model":
        want = whole_model(config)
    elif part == "niche_image":
        c = config
        vit(want, "", c["img_size"], c["patch_size"], c["embed_dim"], c["depth"], c["mlp_dim"])
        want = {k: v for k, v in want.items() if c["layer_scale"] or "gamma" not in k}
    else:
        resnet(want, "", config["layers"], config["width"], config["stem"], config["num_classes"])
    with safe_open(folder / "model.safetensors", "np") as f:
        assert f.metadata()["format"] == "pt", f.metadata()
        got = {k: f.get_slice(k) for k in f.keys()}
        wrong = [f"missing {k}" for k in want.keys() - got.keys()] + [f"unexpected {k}" for k in got.keys() - want.keys()]
        wrong += [f"{k}: expected {want[k]}, got {got[k].get_shape()}" for k in want.keys() & got.keys()
                  if got[k].get_shape() != want[k]]
        wrong += [f"{k}: {got[k].get_dtype()}" for k in got
                  if got[k].get_dtype() != ("I64" if k.endswith("num_batches_tracked") else "F32")]
    card = (folder / "README.md").read_text()
    wrong += [f"README.md: no '{word}'" for word in ("---\nlibrary_name: spotniche", "## Data", "## Licences",
                                                     "CC BY-NC-ND 4.0", "CC BY-NC-SA 4.0") if word not in card]
    print(f"{folder}: {len(want)} tensors expected, {len(got)} there, {len(wrong)} problems")
    sys.exit("\n".join(sorted(wrong)) if wrong else 0)


if __name__ == "__main__":
    main()
