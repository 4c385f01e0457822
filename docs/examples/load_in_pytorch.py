"""ST-Align in PyTorch, from a folder of `spotniche export`: its six embeddings of a pack, beside those of `embed`.

usage: python load_in_pytorch.py EXPORT PACK.h5 EMBEDDINGS.h5ad      (needs torch, safetensors, h5py)
"""
import json, sys
import h5py, torch
import torch.nn.functional as F
from safetensors.torch import load_file

folder, pack, embeddings = sys.argv[1:] if len(sys.argv) == 4 else sys.exit(__doc__)
c, w = json.load(open(f"{folder}/config.json")), load_file(f"{folder}/model.safetensors")

# layers: n is the name that their tensors n.weight and n.bias begin with
def linear(n, x): return F.linear(x, w[n + ".weight"], w.get(n + ".bias"))
def norm(n, x, eps=1e-5): return F.layer_norm(x, x.shape[-1:], w[n + ".weight"], w[n + ".bias"], eps)
def conv(n, x, stride=1, pad=0): return F.conv2d(x, w[n + ".weight"], w.get(n + ".bias"), stride, pad)
def bn(n, x): return F.batch_norm(x, *(w[f"{n}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")))
def tokens(n, x): return F.conv1d(x[:, None], w[n + ".weight"], w[n + ".bias"], stride=w[n + ".weight"].shape[2])
def mlp(n, x):  # Linear, ReLU, Linear, ...: names 0, 2, 4; a precomputed spot gene embedding has none
    for i in range(sum(k.startswith(n + ".") for k in w) // 2):
        x = linear(f"{n}.{2 * i}", F.relu(x) if i else x)
    return x
def attend(n, q, k, v, heads):
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return linear(n, F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
def block(n, x, heads, eps):  # pre-norm transformer; layer scale in the ViT only
    x = x + w.get(n + ".ls1.gamma", 1) * attend(
        n + ".attn.proj", *linear(n + ".attn.qkv", norm(n + ".norm1", x, eps)).chunk(3, -1), heads)
    y = F.gelu(linear(n + ".mlp.fc1", norm(n + ".norm2", x, eps)))
    return x + w.get(n + ".ls2.gamma", 1) * linear(n + ".mlp.fc2", y)

# encoders
def resnet(n, x):
    cifar = c["resnet-stem"] == "cifar"
    x = F.relu(bn(n + "bn1", conv(n + "conv1", x, 1, 1) if cifar else conv(n + "conv1", x, 2, 3)))
    x = x if cifar else F.max_pool2d(x, 3, 2, 1)
    for layer, depth in enumerate(c["resnet-depths"].split(","), 1):
        for i in range(int(depth)):
            b, stride = f"{n}layer{layer}.{i}.", 2 if layer > 1 and i == 0 else 1
            y = F.relu(bn(b + "bn1", conv(b + "conv1", x)))
            y = F.relu(bn(b + "bn2", conv(b + "conv2", y, stride, 1)))
            x = bn(b + "downsample.1", conv(b + "downsample.0", x, stride)) if i == 0 else x
            x = F.relu(bn(b + "bn3", conv(b + "conv3", y)) + x)
    return linear(n + "fc", x.mean((2, 3)))
def vit(n, x):
    x = conv(n + "patch_embed.proj", x, c["vit-patch"]).flatten(2).transpose(1, 2)
    x = torch.cat([w[n + "cls_token"].expand(len(x), 1, -1), x], 1) + w[n + "pos_embed"]
    for i in range(c["vit-depth"]):
        x = block(f"{n}blocks.{i}", x, c["vit-heads"], 1e-6)
    return norm(n + "norm", x[:, 0], 1e-6)
def niche_image(n, x):
    if c["niche-adapter"]:
        x = conv(n + "adapter.conv", F.adaptive_avg_pool2d(bn(n + "adapter.bn", x), 224), pad=1)
    return tokens(n + "tokens", vit(n + "backbone.", x))
def niche_gene(n, x):
    x = mlp(n + "mlp", x).unflatten(1, (c["tokens"], -1))
    for i in range(c["niche-gene-blocks"]):
        x = block(f"{n}blocks.{i}", x, c["niche-gene-heads"], 1e-5)
    return mlp(n + "proj", x)

# fusion: each side asks the other, no residual
def cross(n, ffn, x, y):
    y = norm(n + "norm_kv", y)
    x = attend(n + "proj", linear(n + "q", norm(n + "norm_q", x)), linear(n + "k", y), linear(n + "v", y), c["fusion-heads"])
    return linear(ffn + ".2", F.gelu(linear(ffn + ".0", x)))
def fusion(n, image, gene):
    return norm(n + "norm", torch.cat([cross(n + "image_to_gene.", n + "image_ffn", image, gene),
                                       cross(n + "gene_to_image.", n + "gene_ffn", gene, image)], -1))

@torch.no_grad()
def embed(images, genes):  # uint8 [B,S,S,3] and float32 [B,G] of spot and niche, as in a pack -> six [B,E] of length 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    spot, niche = (((x / 255 - mean) / std).permute(0, 3, 1, 2) for x in images)
    t = {"spot_image": tokens("spot_image.tokens", resnet("spot_image.backbone.", spot)),
         "spot_gene": tokens("spot_gene.tokens", mlp("spot_gene.mlp", genes[0])),
         "niche_image": niche_image("niche_image.", niche), "niche_gene": niche_gene("niche_gene.", genes[1])}
    t |= {s: fusion(f"{s}_fusion.", t[f"{s}_image"], t[f"{s}_gene"]) for s in ("spot", "niche")}
    return {k: F.normalize(mlp(f"heads.{k}", x.flatten(1)), dim=1) for k, x in t.items()}

spots, theirs = h5py.File(pack)["spots"], h5py.File(embeddings)["obsm"]
joined = c["spot-gene-encoder"] == "precomputed" and "spot_gene_feature" in spots  # by `encode --encoder spot_gene`
keys = [["spot_image", "niche_image"], ["spot_gene_feature" if joined else "spot_gene", "niche_gene"]]
mine = embed(*([torch.from_numpy(spots[k][:]).float() for k in pair] for pair in keys))
for name, x in mine.items():
    key = {"spot": "X_spotniche", "niche": "X_spotniche_niche"}.get(name, "X_" + name)
    print(f"{key:18s} {tuple(x.shape)}, largest difference {(x - torch.from_numpy(theirs[key][:])).abs().max():.2e}")
