#!/usr/bin/env python3
"""ST-Align in PyTorch, to compare the C++ model with: same parts, parameter names, initial values and loss.

Parameters per part:  python tests/support/torch_st_align.py configs/model/tiny.cfg configs/model/st_align.cfg
"""
import math
import sys

import torch
import torch.nn.functional as F
from torch import nn

PARTS = ("spot_image", "niche_image", "spot_gene", "niche_gene", "spot_fusion", "niche_fusion", "heads", "logit_scale")
EMBEDDINGS = ("spot_image", "spot_gene", "niche_image", "niche_gene", "spot", "niche")
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_INTS = """tokens token-width genes joint-width head-hidden spot-image-px resnet-width niche-image-px vit-patch vit-width
vit-depth vit-heads vit-mlp spot-gene-width spot-gene-hidden niche-gene-blocks niche-gene-heads niche-gene-head-width
niche-gene-mlp niche-gene-proj fusion-heads fusion-ffn-hidden""".split()
_LISTS = ["resnet-depths", "niche-gene-hidden"]
_BOOLS = ["vit-frozen", "niche-adapter", "learnable-temperature"]
_FLOATS = ["dropout", "temperature"]
_WORDS = {"resnet-stem": ("cifar", "imagenet"), "spot-gene-encoder": ("precomputed", "mlp")}


def parse_config(pairs):
    """(key, text) pairs to a dict with underscores; every model key must be there, other keys are ignored."""
    raw, out = dict(pairs), {}
    for key in _INTS + _LISTS + _BOOLS + _FLOATS + list(_WORDS):
        if key not in raw:
            raise ValueError(f"[model config] expected key {key}, got none")
        text, name = str(raw[key]).strip(), key.replace("-", "_")
        if key in _INTS:
            out[name] = int(text)
        elif key in _LISTS:
            out[name] = [int(v) for v in text.replace(",", " ").split()]
        elif key in _BOOLS:
            out[name] = {"true": True, "false": False}[text.lower()]
        elif key in _FLOATS:
            out[name] = float(text)
        else:
            if text not in _WORDS[key]:
                raise ValueError(f"[model config] {key}: expected one of {_WORDS[key]}, got {text}")
            out[name] = text
    return out


def read_config(path, **changes):
    """Reads an INI-style file of `key = value` lines; changes (underscored names) override."""
    pairs = {}
    with open(path) as f:
        for line in f:
            line = line.split("#")[0].strip()
            if "=" in line:
                key, value = line.split("=", 1)
                pairs[key.strip()] = value.strip()
    config = parse_config(pairs)
    unknown = set(changes) - set(config)
    if unknown:
        raise ValueError(f"[model config] unknown changes {sorted(unknown)}")
    return config | changes


def normalise_image(image):
    """uint8 [B,S,S,3] to float32 [B,3,S,S]: /255, minus mean, divided by std."""
    x = image.permute(0, 3, 1, 2).float() / 255.0
    mean = torch.tensor(IMAGE_MEAN, device=x.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGE_STD, device=x.device).view(1, 3, 1, 1)
    return (x - mean) / std


# --- initial values, PyTorch's and timm's defaults ---------------------------------------------------------------
# Linear, Conv2d, Conv1d: weight kaiming_uniform(a = sqrt 5) = U(+-1/sqrt(fan_in)), bias U(+-1/sqrt(fan_in));
#   fan_in = in for Linear, in_channels * kernel for convolutions (so U(+-1) for a `tokens` of kernel 1).
# BatchNorm, LayerNorm: weight 1, bias 0; running_mean 0, running_var 1, num_batches_tracked 0.
# ViT, as timm: Linear weights truncated normal std 0.02, cut at +-2 (never reached in practice), bias 0;
#   pos_embed truncated normal std 0.02; cls_token normal std 1e-6; layer scale 1e-5;
#   patch_embed.proj keeps Conv2d's default above.
# logit_scale: ln(1 / temperature).


class Bottleneck(nn.Module):
    """1x1 - 3x3 (holds the stride) - 1x1 x4, batch norm after each, ReLU; torchvision's names."""

    def __init__(self, c_in, width, stride, downsample):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        if downsample:  # in block 0 of every layer
            self.downsample = nn.Sequential(nn.Conv2d(c_in, 4 * width, 1, stride, bias=False),
                                            nn.BatchNorm2d(4 * width))

    def forward(self, x):
        short = self.downsample(x) if hasattr(self, "downsample") else x
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + short)


class ResNet(nn.Module):
    """[B,3,S,S] -> [B,D]. Strides of layer1..4: 1, 2, 2, 2."""

    def __init__(self, depths, width, stem, out):
        super().__init__()
        k, s, p = (3, 1, 1) if stem == "cifar" else (7, 2, 3)
        self.conv1 = nn.Conv2d(3, width, k, s, p, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.Identity() if stem == "cifar" else nn.MaxPool2d(3, 2, 1)
        c_in = width
        for i, depth in enumerate(depths):
            w, blocks = width * 2**i, []
            for j in range(depth):
                blocks.append(Bottleneck(c_in, w, 2 if i > 0 and j == 0 else 1, j == 0))
                c_in = 4 * w
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.layers = len(depths)
        self.fc = nn.Linear(c_in, out)

    def forward(self, x):
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        for i in range(self.layers):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


class SelfAttention(nn.Module):
    """qkv rows are q, k, v, each head-major; scale 1/sqrt(head width); dropout on the weights and after proj."""

    def __init__(self, width, heads, head_width, qkv_bias, dropout):
        super().__init__()
        self.heads, self.head_width, self.dropout = heads, head_width, dropout
        self.qkv = nn.Linear(width, 3 * heads * head_width, bias=qkv_bias)
        self.proj = nn.Linear(heads * head_width, width)

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, self.head_width).permute(2, 0, 3, 1, 4)
        x = attend(q, k, v, self.dropout, self.training)
        return F.dropout(self.proj(x), self.dropout, self.training)


def attend(q, k, v, dropout, training):
    """[B,heads,Nq,w] x [B,heads,Nk,w] -> [B,Nq,heads*w], written out."""
    weights = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
    x = F.dropout(weights, dropout, training) @ v
    return x.transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    """fc1, exact GELU, fc2; dropout after both."""

    def __init__(self, width, hidden, dropout):
        super().__init__()
        self.fc1, self.fc2, self.dropout = nn.Linear(width, hidden), nn.Linear(hidden, width), dropout

    def forward(self, x):
        x = F.dropout(F.gelu(self.fc1(x)), self.dropout, self.training)
        return F.dropout(self.fc2(x), self.dropout, self.training)


class LayerScale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, x):
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block; layer scale in the ViT only."""

    def __init__(self, width, heads, head_width, hidden, eps, qkv_bias, layer_scale, dropout):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = SelfAttention(width, heads, head_width, qkv_bias, dropout)
        self.ls1 = LayerScale(width) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, hidden, dropout)
        self.ls2 = LayerScale(width) if layer_scale else nn.Identity()

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    def __init__(self, patch, width):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class ViT(nn.Module):
    """[B,3,N,N] -> [B,width]: class token after the final norm. No dropout. timm's names."""

    def __init__(self, px, patch, width, depth, heads, hidden):
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, (px // patch) ** 2 + 1, width))
        self.patch_embed = PatchEmbed(patch, width)
        self.blocks = nn.Sequential(
            *[Block(width, heads, width // heads, hidden, 1e-6, True, True, 0.0) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        return self.norm(self.blocks(x))[:, 0]


def mlp(*sizes):
    """Linear, ReLU, Linear, ...: names 0, 2, 4."""
    layers = []
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layers += ([nn.ReLU()] if i else []) + [nn.Linear(a, b)]
    return nn.Sequential(*layers)


class SpotImage(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.backbone = ResNet(c["resnet_depths"], c["resnet_width"], c["resnet_stem"], c["token_width"])
        self.tokens = nn.Conv1d(1, c["tokens"], 1)

    def forward(self, image):
        return self.tokens(self.backbone(image)[:, None])


class Adapter(nn.Module):
    def __init__(self, px):
        super().__init__()
        self.bn, self.conv, self.px = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, 1, 1), px

    def forward(self, x):
        return self.conv(F.adaptive_avg_pool2d(self.bn(x), self.px))


class NicheImage(nn.Module):
    """A frozen backbone runs without gradient; it has no dropout and no batch norm, so eval mode is the same."""

    def __init__(self, c):
        super().__init__()
        width, d = c["vit_width"], c["token_width"]
        px = 224 if c["niche_adapter"] else c["niche_image_px"]
        if c["niche_adapter"]:
            self.adapter = Adapter(px)
        self.backbone = ViT(px, c["vit_patch"], width, c["vit_depth"], c["vit_heads"], c["vit_mlp"])
        self.backbone.requires_grad_(not c["vit_frozen"])
        self.tokens = nn.Conv1d(1, c["tokens"], width // d, width // d)

    def forward(self, image):
        x = self.adapter(image) if hasattr(self, "adapter") else image
        return self.tokens(self.backbone(x)[:, None])


class SpotGene(nn.Module):
    def __init__(self, c):
        super().__init__()
        if c["spot_gene_encoder"] == "mlp":
            self.mlp = mlp(c["spot_gene_width"], c["spot_gene_hidden"], c["token_width"])
        self.tokens = nn.Conv1d(1, c["tokens"], 1)

    def forward(self, x):
        return self.tokens((self.mlp(x) if hasattr(self, "mlp") else x)[:, None])


class NicheGene(nn.Module):
    def __init__(self, c):
        super().__init__()
        genes, self.t = c["genes"], c["tokens"]
        self.w = genes // self.t
        self.mlp = mlp(genes, *c["niche_gene_hidden"], genes)
        self.blocks = nn.Sequential(*[
            Block(self.w, c["niche_gene_heads"], c["niche_gene_head_width"], c["niche_gene_mlp"], 1e-5, False, False,
                  c["dropout"]) for _ in range(c["niche_gene_blocks"])])
        self.proj = mlp(self.w, c["niche_gene_proj"], c["token_width"])

    def forward(self, x):
        return self.proj(self.blocks(self.mlp(x).view(-1, self.t, self.w)))


class CrossAttention(nn.Module):
    """Queries from the first, keys and values from the second; no residual."""

    def __init__(self, d, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_q, self.norm_kv = nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v = (nn.Linear(d, d, bias=False) for _ in range(3))
        self.proj = nn.Linear(d, d)

    def forward(self, x, y):
        x, y = self.norm_q(x), self.norm_kv(y)
        q, k, v = (z.unflatten(2, (self.heads, -1)).transpose(1, 2) for z in (self.q(x), self.k(y), self.v(y)))
        return F.dropout(self.proj(attend(q, k, v, self.dropout, self.training)), self.dropout, self.training)


class Fusion(nn.Module):
    """ABFN: image and gene tokens [B,T,D] -> [B,T,D]."""

    def __init__(self, c):
        super().__init__()
        d, h = c["token_width"], c["fusion_ffn_hidden"]
        self.image_to_gene = CrossAttention(d, c["fusion_heads"], c["dropout"])
        self.gene_to_image = CrossAttention(d, c["fusion_heads"], c["dropout"])
        self.image_ffn = nn.Sequential(nn.Linear(d, h), nn.GELU(), nn.Linear(h, d // 2))
        self.gene_ffn = nn.Sequential(nn.Linear(d, h), nn.GELU(), nn.Linear(h, d // 2))
        self.norm = nn.LayerNorm(d)

    def forward(self, image, gene):
        a, b = self.image_ffn(self.image_to_gene(image, gene)), self.gene_ffn(self.gene_to_image(gene, image))
        return self.norm(torch.cat([a, b], -1))


class STAlign(nn.Module):
    def __init__(self, config):
        super().__init__()
        c = self.config = config
        self.spot_image, self.niche_image = SpotImage(c), NicheImage(c)
        self.spot_gene, self.niche_gene = SpotGene(c), NicheGene(c)
        self.spot_fusion, self.niche_fusion = Fusion(c), Fusion(c)
        self.heads = nn.ModuleDict({name: mlp(c["tokens"] * c["token_width"], c["head_hidden"], c["joint_width"])
                                    for name in EMBEDDINGS})
        if c["learnable_temperature"]:
            scale = math.log(1 / c["temperature"])
            self.logit_scale = nn.ParameterDict({n: nn.Parameter(torch.tensor(scale))
                                                 for n in ("spot", "niche", "cross")})

    def forward(self, spot_image, niche_image, spot_gene, niche_gene):
        """Normalised images [B,3,S,S], [B,3,N,N]; genes [B,Gs], [B,G] -> dict of six raw [B,E]."""
        si, ni = self.spot_image(spot_image), self.niche_image(niche_image)
        sg, ng = self.spot_gene(spot_gene), self.niche_gene(niche_gene)
        tokens = {"spot_image": si, "spot_gene": sg, "niche_image": ni, "niche_gene": ng,
                  "spot": self.spot_fusion(si, sg), "niche": self.niche_fusion(ni, ng)}
        return {name: self.heads[name](x.flatten(1)) for name, x in tokens.items()}

    def inverse_temperatures(self):
        """1 / tau of the targets spot, niche, cross; a learnable one is clamped to at most 100."""
        if self.config["learnable_temperature"]:
            return [self.logit_scale[n].exp().clamp(max=100.0) for n in ("spot", "niche", "cross")]
        return [1.0 / self.config["temperature"]] * 3


def info_nce(x, y, inverse_temperature, keep=None):
    """Symmetric InfoNCE of rows [B,E]; keep [B,B] bool (diagonal true): which pairs count as columns."""
    s = F.normalize(x, dim=1) @ F.normalize(y, dim=1).t() * inverse_temperature
    if keep is not None:
        s = s.masked_fill(~keep, float("-inf"))
    target = torch.arange(len(s), device=s.device)
    return 0.5 * (F.cross_entropy(s, target) + F.cross_entropy(s.t(), target))


def loss(embeddings, inverse_temperatures=(10.0, 10.0, 10.0), alpha=0.3, beta=0.3, keep=None):
    """(total, spot, niche, cross) of the six embeddings."""
    e, t = embeddings, inverse_temperatures
    spot = info_nce(e["spot_image"], e["spot_gene"], t[0], keep)
    niche = info_nce(e["niche_image"], e["niche_gene"], t[1], keep)
    cross = info_nce(e["spot"], e["niche"], t[2], keep)
    return alpha * spot + beta * niche + (1 - alpha - beta) * cross, spot, niche, cross


def count_parts(model):
    """Parameters per part, and of the ViT."""
    parts = {part: sum(p.numel() for n, p in model.named_parameters() if n.split(".")[0] == part) for part in PARTS}
    return parts, sum(p.numel() for p in model.niche_image.backbone.parameters())


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for path in sys.argv[1:]:
        with torch.device("meta"):
            model = STAlign(read_config(path))
        parts, vit = count_parts(model)
        print(path)
        for part, n in parts.items():
            print(f"  {part:14s} {n:>13,}")
        print(f"  {'total':14s} {sum(parts.values()):>13,}   of which ViT {vit:,}")


if __name__ == "__main__":
    main()
