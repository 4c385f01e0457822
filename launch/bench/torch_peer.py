#!/usr/bin/env python3
"""Times the same work in PyTorch: what `spotniche bench` is compared with. One JSON line a figure.

  python launch/bench/torch_peer.py [--config configs/model/tiny.cfg] [--batch 128] [--steps 20] [--threads 2]
                                    [--layout auto|channels_last|contiguous] [--compile] [--device cpu|cuda]
                                    [--precision fp32|bf16] [--part niche_image|spot_image] [--features]
  python launch/bench/torch_peer.py --work loss|adamw|kernels [--device cuda] ...

--work step (the default): one training step in training mode with dropout, AdamW (parameter groups as in design), images
uint8 and normalised within the step; --features: with cached features in place of niche images, without the ViT. With
--part, one encoder as in `spotniche bench part`: timm's ViT (forward) or torchvision's ResNet (training step). --work
loss: ClipLoss forward and backward, `bench loss`. --work adamw: one fused update of the model's parameters. --work
kernels: single kernels beside the copy bandwidth, `bench kernels`.

What a GPU gets: --compile, bf16 by autocast (the frozen ViT's weights themselves), channels-last, fused AdamW, scaled dot
product attention in place of the written-out one, and the whole step captured in one CUDA graph; where PyTorch refuses
the capture, `no_graph` says why and the step runs without. pairs_per_s is batch / median step time after warm-up. `auto`
times both memory layouts of the image encoders for a few steps, alternating, and keeps the faster.
"""
import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
import torch_kernels  # noqa: E402
from torch_kernels import ROOT, capture, st  # noqa: E402


def niche_image(c):
    from timm.models.vision_transformer import VisionTransformer
    return VisionTransformer(img_size=c["niche_image_px"], patch_size=c["vit_patch"], embed_dim=c["vit_width"],
                             depth=c["vit_depth"], num_heads=c["vit_heads"], mlp_ratio=c["vit_mlp"] / c["vit_width"],
                             init_values=1e-5, num_classes=0, global_pool="token").eval()


def spot_image(c):
    import torchvision
    model = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, c["resnet_depths"],
                                      num_classes=c["token_width"])
    if c["resnet_stem"] == "cifar":
        model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        model.maxpool = torch.nn.Identity()
    return model.train()


def fused_attention(q, k, v, dropout, training):
    """st.attend in the words that PyTorch has its fast kernels for."""
    x = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout if training else 0.0)
    return x.transpose(1, 2).flatten(2)


def read_config(args):
    c = st.read_config(args.config, **dict(pair.split("=") for pair in args.set))
    return {k: int(v) if isinstance(v, str) and v.isdigit() else v for k, v in c.items()}


def on(args):
    """Which autocast: weights are rounded anew in each step, for a captured step must not read a cache of before."""
    kind = args.device.split(":")[0]
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=args.precision == "bf16", cache_enabled=False)


def adamw(groups, args, **more):
    cuda = args.device.startswith("cuda")
    return torch.optim.AdamW(groups, **more, **({"fused": True, "capturable": True} if cuda else {}))


class Timed:
    """What the kinds of steps share: `update` is captured on first use where the device can, calling it is one step."""

    no_graph = None

    def settle(self, args):
        self.run, self.no_graph = capture(self.update, args.device) if args.graph else (self.update, "not asked for")
        self.cuda = args.device.startswith("cuda")

    def __call__(self):
        start, cpu = time.perf_counter(), time.process_time()
        self.run()
        value = float(self.out.flatten()[0])  # waits for the device
        return time.perf_counter() - start, value, time.process_time() - cpu


class PartStep(Timed):
    """One encoder on one fixed batch: the ViT's forward pass, or the ResNet's training step."""

    def __init__(self, args, channels_last):
        torch.manual_seed(42)
        c, self.args, self.trains = read_config(args), args, args.part == "spot_image"
        px = c["spot_image_px"] if self.trains else c["niche_image_px"]
        self.model = (spot_image(c) if self.trains else niche_image(c)).to(args.device)
        self.images = torch.randint(0, 256, (args.batch, px, px, 3), dtype=torch.uint8, device=args.device)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = self.model.to(memory_format=self.layout)
        self.frozen_type = None
        if self.trains:
            self.optimiser = adamw(self.model.parameters(), args, lr=1e-4, weight_decay=0.04)
        elif args.device.startswith("cuda") and args.precision == "bf16":
            self.frozen_type = torch.bfloat16  # nothing is trained: no need to round the weights in each step
            self.model = self.model.to(self.frozen_type)
        self.forward = torch.compile(self.encode) if args.compile else self.encode
        self.settle(args)

    def encode(self, images):
        x = st.normalise_image(images).contiguous(memory_format=self.layout)
        if self.frozen_type is not None:
            return self.model(x.to(self.frozen_type))
        with on(self.args):
            return self.model(x)

    def update(self):
        if not self.trains:
            with torch.no_grad():
                self.out = self.forward(self.images)
            return
        self.optimiser.zero_grad(set_to_none=True)
        y = self.forward(self.images)
        y.backward(torch.full_like(y, 1e-3))
        self.optimiser.step()
        self.out = y.detach()


class Step(Timed):
    """Model, optimiser and one fixed batch; calling it does one update."""

    def __init__(self, args, channels_last):
        torch.manual_seed(42)
        self.channels_last, self.args = channels_last, args
        if args.device.startswith("cuda"):
            st.attend = fused_attention
        config = read_config(args)
        self.model = st.STAlign(config)
        if args.features:  # what the frozen ViT would say comes with the batch
            self.model.niche_image.backbone = torch.nn.Identity()
        self.model = self.model.to(args.device).train()
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = adamw(
            [{"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.04},
             {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}], args, lr=2.5e-4)
        b, s, n = args.batch, config["spot_image_px"], config["niche_image_px"]
        self.batch = [torch.randint(0, 256, (b, s, s, 3), dtype=torch.uint8),
                      torch.randn(b, config["vit_width"]) if args.features else
                      torch.randint(0, 256, (b, n, n, 3), dtype=torch.uint8),
                      torch.rand(b, config["spot_gene_width"]), torch.rand(b, config["genes"])]
        self.batch = [x.to(args.device) for x in self.batch]
        self.forward = torch.compile(self.loss) if args.compile else self.loss
        self.settle(args)

    def loss(self, spot_image, niche_image, spot_gene, niche_gene):
        images = [spot_image, niche_image]
        for i, x in enumerate(images):
            if x.dtype != torch.uint8:
                continue
            images[i] = st.normalise_image(x)
            # a uint8 [B,S,S,3] batch is channels-last already; `contiguous` pays for one transposition
            if not self.channels_last:
                images[i] = images[i].contiguous()
        with on(self.args):  # its products too: ours multiplies the loss in the step's precision
            embeddings = self.model(*images, spot_gene, niche_gene)
            embeddings = {name: e.float() for name, e in embeddings.items()}
            return st.loss(embeddings, self.model.inverse_temperatures())[0]

    def update(self):
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.forward(*self.batch)
        loss.backward()
        self.optimiser.step()
        self.out = loss.detach()


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=["step", "loss", "adamw", "kernels"], default="step")
    parser.add_argument("--config", default=str(ROOT / "configs" / "model" / "tiny.cfg"))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=1024, help="with --work loss: of the embeddings")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layout", choices=["auto", "channels_last", "contiguous"], default="auto")
    parser.add_argument("--compile", action="store_true", help="torch.compile forward and loss")
    parser.add_argument("--no-graph", dest="graph", action="store_false", help="no CUDA graph of the step")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--part", choices=["all", "niche_image", "spot_image"], default="all")
    parser.add_argument("--features", action="store_true", help="cached features in place of niche images")
    parser.add_argument("--elements", type=int, default=1 << 26, help="with --work kernels: of the largest array")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="change a model key (underscores), like spot_image_px=224")
    return parser.parse_args()


def common(args):
    name = torch.cuda.get_device_name() if args.device.startswith("cuda") else args.device
    return {"bench": "torch_peer", "work": args.work, "part": args.part, "precision": args.precision,
            "torch": torch.__version__, "device": name, "compile": args.compile, "features": args.features,
            "config": Path(args.config).name, "threads": args.threads, "batch": args.batch, "steps": args.steps}


def time_steps(args):
    make = Step if args.part == "all" else PartStep
    probe = {}
    layout = args.layout
    if layout == "auto":
        steps = {name: make(args, name == "channels_last") for name in ("channels_last", "contiguous")}
        times = {name: [] for name in steps}
        for i in range(args.warmup + 4):
            for name, step in steps.items():
                times[name].append(step()[0])
        probe = {name: statistics.median(t[args.warmup:]) for name, t in times.items()}
        layout = min(probe, key=probe.get)
        step = steps[layout]
    else:
        step = make(args, layout == "channels_last")
        for _ in range(args.warmup):
            step()
    timed = [step() for _ in range(args.steps)]
    times = sorted(t for t, _, _ in timed)
    median = statistics.median(times)
    peak = torch.cuda.max_memory_allocated() if args.device.startswith("cuda") else None
    return common(args) | {
        "parameters": sum(p.numel() for p in step.model.parameters()), "layout": layout, "no_graph": step.no_graph,
        "layout_probe_s": {k: round(v, 4) for k, v in probe.items()}, "peak_bytes": peak,
        "step_cpu_s_median": round(statistics.median(c for _, _, c in timed), 4),
        "step_s_median": round(median, 5), "step_s_min": round(times[0], 5), "step_s_max": round(times[-1], 5),
        "pairs_per_s": round(args.batch / median, 1), "loss_last": timed[-1][1],
        "load_1min": round(os.getloadavg()[0], 2)}  # more than --threads: others were using the machine


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    if args.device.startswith("cuda"):
        torch.backends.cudnn.benchmark = True  # its fastest convolution for these shapes, as ours chooses
    if args.work == "loss":
        print(json.dumps(common(args) | torch_kernels.loss(args)))
    elif args.work == "adamw":
        copy = torch_kernels.copy_gbps(args.device, args.elements * 4)
        figure = torch_kernels.adamw(args, read_config(args))
        print(json.dumps(common(args) | figure | {"copy_gbps": copy, "of_copy": figure["gbps"] / copy}))
    elif args.work == "kernels":
        for figure in torch_kernels.kernels(args):
            print(json.dumps(common(args) | figure), flush=True)
    else:
        print(json.dumps(time_steps(args)))


if __name__ == "__main__":
    main()
