#!/usr/bin/env python3
"""What PyTorch, timm and torchvision say about the full-size model, for tests/slow: weights, inputs, results.

python tests/support/full_reference.py PART OUT.safetensors
PART: spot_image, spot_image_224, niche_image (forward and gradients in double, from fp32 weights), rest (niche gene
encoder, one fusion, one head), steps (losses of 20 optimiser steps of the whole model on cached features, in double
and in fp32: after a few steps the two are 1e-3 apart in PyTorch itself).
err.NAME is how far PyTorch's own fp32 is from double, relative L2: a yardstick; err.PART.gradients, of all
gradients as one vector. err_bf16.: the same of its bf16 autocast.
"""
import copy
import os
import sys
from contextlib import nullcontext

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import torch_st_align as twin  # noqa: E402

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
STEPS, BATCH, BATCHES, RATE, DECAY = 20, 4, 4, 1e-4, 0.04


def config(name, **changes):
    return twin.read_config(os.path.join(ROOT, "configs", "model", name + ".cfg"), dropout=0.0, **changes)


def randomise(module):
    """Values that a trained model could have where the initial ones hide mistakes (zeros, ones, 1e-5)."""
    with torch.no_grad():
        for name, t in module.state_dict().items():
            if name.endswith("running_var") or name.endswith("gamma") or ("norm" in name or ".bn" in name or
                                                                         "downsample.1" in name) and name.endswith("weight"):
                t.uniform_(0.5, 1.5)
            elif name.endswith("running_mean") or name.endswith("bias"):
                t.uniform_(-0.2, 0.2)
            if name.endswith("gamma"):
                t.mul_(0.2)


def same_as_the_libraries(part, module, image):
    """The twin against timm and torchvision themselves, in double."""
    if part == "niche_image":
        import timm
        theirs = timm.create_model("vit_large_patch16_224", init_values=1e-5, num_classes=0, dynamic_img_size=True)
    elif part == "spot_image_224":
        import torchvision
        theirs = torchvision.models.resnet50()
        theirs.fc = nn.Linear(2048, 512)
    else:
        return
    theirs.load_state_dict(module.backbone.state_dict())
    for train in (False, True):
        a, b = theirs.double().train(train)(image.double()), module.backbone.double().train(train)(image.double())
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-9), f"{part}: the twin is not timm's or torchvision's model"
    return {k: v for k, v in module.state_dict().items()}


class Bf16Products(TorchDispatchMode):
    """Products of bf16 numbers as processors with bf16 instructions take them: summed in fp32, rounded once. Without such
    instructions PyTorch's own bf16 products on a CPU are a hundred times slower, too slow for a ViT-L."""
    NAMES = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward",
             "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        half = any(isinstance(a, torch.Tensor) and a.dtype == torch.bfloat16 for a in args)
        if not half or func.overloadpacket.__name__ not in self.NAMES:
            return func(*args, **kwargs)
        wide = tree_map(lambda a: a.float() if isinstance(a, torch.Tensor) and a.dtype == torch.bfloat16 else a, args)
        back = lambda a: a.bfloat16() if isinstance(a, torch.Tensor) and a.dtype == torch.float32 else a  # noqa: E731
        result = func(*wide, **kwargs)
        if func.overloadpacket.__name__ == "_scaled_dot_product_flash_attention_for_cpu":
            return back(result[0]), result[1]  # the logsumexp is fp32
        return tree_map(back, result)


def run(module, inputs, seed, train):
    module.train(train)
    for p in module.parameters():
        p.grad = None
    out = module(*inputs)
    if train:
        (out * seed).sum().backward()
    return out.detach()


def part_reference(name, module, inputs, out):
    """Forward in both modes, gradients and running statistics of the training one; names below `name.`."""
    weights = {k: v.clone() for k, v in module.state_dict().items()}
    for k, v in weights.items():
        out[f"param.{name}.{k}"] = v.float() if v.is_floating_point() else v
    for i, x in enumerate(inputs):
        out[f"{name}.in.{i}"] = x
    for dtype in (torch.float64, torch.float32, torch.bfloat16):  # what is compared with first; one more held at a time
        half = dtype == torch.bfloat16  # fp32 weights under autocast, as ours
        module.to(torch.float32 if half else dtype).load_state_dict(weights)
        args = [x.to(torch.float32 if half else dtype) for x in inputs]
        with torch.autocast("cpu", torch.bfloat16, enabled=half), Bf16Products() if half else nullcontext():
            r = {f"{name}.out.eval": run(module, args, None, False)}
            seed = out.setdefault(f"{name}.seed", torch.randn(r[f"{name}.out.eval"].shape))
            r[f"{name}.out.train"] = run(module, args, seed.to(args[0].dtype), True)
        r.update((f"grad.{name}.{k}", p.grad) for k, p in module.named_parameters())
        r.update((f"after.{name}.{k}", b.clone()) for k, b in module.named_buffers() if "running" in k)
        if dtype == torch.float64:
            want = r
            for p in module.parameters():
                p.grad = None  # r's own
            out.update((k, v.float()) for k, v in want.items())
            continue
        off, size = 0.0, 0.0
        for k, v in want.items():
            d, n = (r[k].double() - v).norm().item(), v.norm().item()
            out[f"err{'_bf16' * half}.{k}"] = torch.tensor([d / n])
            if k.startswith("grad."):
                off, size = off + d * d, size + n * n
        out[f"err{'_bf16' * half}.{name}.gradients"] = torch.tensor([(off / size) ** 0.5])


def part(name, out):
    if name in ("spot_image", "spot_image_224"):
        c = config("st_align" if name == "spot_image" else "st_align_224", vit_depth=1)
        module, px, batch = twin.SpotImage(c), c["spot_image_px"], 8 if name == "spot_image" else 2
    else:
        c = config("st_align", vit_frozen=False)
        module, px, batch = twin.NicheImage(c), 224, 2
    image = torch.randn(batch, 3, px, px)
    randomise(module)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    same_as_the_libraries(name, module, image)
    module.float().load_state_dict(before)
    part_reference("niche_image" if name == "niche_image" else "spot_image", module, [image], out)


def rest(out):
    c = config("st_align", vit_depth=1)
    for name, module, inputs in (
            ("niche_gene", twin.NicheGene(c), [torch.rand(16, c["genes"]) * 3]),
            ("spot_fusion", twin.Fusion(c), [torch.randn(16, 8, 512), torch.randn(16, 8, 512)]),
            ("heads.niche", twin.mlp(4096, 2048, 1024), [torch.randn(16, 4096)])):
        randomise(module)
        part_reference(name, module, inputs, out)


def steps(out):
    c = config("st_align")
    model = twin.STAlign(c)
    for k, v in model.state_dict().items():
        out["param." + k] = v.clone()
    batches = []
    for b in range(BATCHES):
        batch = {"spot_image": torch.randint(0, 256, (BATCH, 32, 32, 3), dtype=torch.uint8),
                 "spot_gene": torch.randn(BATCH, 512), "niche_gene": torch.rand(BATCH, c["genes"]) * 3}
        niche = torch.randint(0, 256, (BATCH, 224, 224, 3), dtype=torch.uint8)
        with torch.no_grad():  # frozen: once is enough, as `encode` does
            batch["niche_feature"] = model.niche_image.backbone(twin.normalise_image(niche))
        for k, v in batch.items():
            out[f"batch.{b}.{k}"] = v
        batches.append(batch)

    class Cached(nn.Module):
        def forward(self, feature):
            return feature
    model.niche_image.backbone = Cached()
    out["losses"] = optimised(copy.deepcopy(model).double(), batches)
    out["losses.fp32"] = optimised(model, batches)
    out["rate"], out["decay"] = torch.tensor([RATE], dtype=torch.float64), torch.tensor([DECAY], dtype=torch.float64)


def optimised(model, batches):
    """The losses of STEPS steps of AdamW, in the model's type."""
    decayed = [p for n, p in model.named_parameters() if p.ndim > 1 and not n.endswith("bias")]
    others = [p for n, p in model.named_parameters() if not (p.ndim > 1 and not n.endswith("bias"))]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
                                  lr=RATE)
    of_type = next(model.parameters()).dtype
    losses = []
    for step in range(STEPS):
        b = batches[step % BATCHES]
        z = model(twin.normalise_image(b["spot_image"]).to(of_type),
                  *(b[k].to(of_type) for k in ("niche_feature", "spot_gene", "niche_gene")))
        loss = twin.loss(z)[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().double())
    return torch.stack(losses)


def main():
    name, path = sys.argv[1:]
    torch.manual_seed(7)
    torch.set_num_threads(os.cpu_count() or 1)
    out = {}
    {"rest": rest, "steps": steps}.get(name, lambda o: part(name, o))(out)
    save_file({k: v.contiguous() for k, v in out.items()}, path)


if __name__ == "__main__":
    main()
