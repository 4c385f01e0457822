#!/usr/bin/env python3
"""Times one training step of the same model in PyTorch: what `spotniche bench step` is compared with. With --part, one
encoder as in `spotniche bench part`: timm's ViT (forward) or torchvision's ResNet (training step).

  python launch/bench/torch_peer.py [--config configs/model/tiny.cfg] [--batch 128] [--steps 20] [--threads 2]
                                    [--layout auto|channels_last|contiguous] [--compile] [--device cpu]
                                    [--part niche_image|spot_image] [--precision fp32|bf16]

fp32, or autocast to bf16; training mode with dropout, AdamW (parameter groups as in design), images uint8 and normalised within the step.
Prints one JSON line: pairs_per_s is batch / median step time after warm-up. `auto` times both memory layouts of the
image encoders for a few steps, alternating, and keeps the faster.
"""
import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import torch_st_align as st  # noqa: E402


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


class PartStep:
    """One encoder on one fixed batch: the ViT's forward pass, or the ResNet's training step."""

    def __init__(self, args, channels_last):
        torch.manual_seed(42)
        c = st.read_config(args.config, **dict(pair.split("=") for pair in args.set))
        c = {k: int(v) if isinstance(v, str) and v.isdigit() else v for k, v in c.items()}
        self.precision, self.trains = args.precision, args.part == "spot_image"
        px = c["spot_image_px"] if self.trains else c["niche_image_px"]
        self.model = spot_image(c) if self.trains else niche_image(c)
        self.images = torch.randint(0, 256, (args.batch, px, px, 3), dtype=torch.uint8)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = self.model.to(memory_format=self.layout)
        if self.trains:
            self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-4, weight_decay=0.04)

    def forward(self):
        x = st.normalise_image(self.images).contiguous(memory_format=self.layout)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bf16"):
            return self.model(x)

    def __call__(self):
        start, cpu = time.perf_counter(), time.process_time()
        if self.trains:
            self.optimiser.zero_grad(set_to_none=True)
            y = self.forward()
            y.backward(torch.full_like(y, 1e-3))
            self.optimiser.step()
        else:
            with torch.inference_mode():
                y = self.forward()
        return time.perf_counter() - start, float(y[0, 0]), time.process_time() - cpu


class Step:
    """Model, optimiser and one fixed batch; calling it does one update."""

    def __init__(self, args, channels_last):
        torch.manual_seed(42)
        self.channels_last, self.bf16 = channels_last, args.precision == "bf16"
        config = st.read_config(args.config)
        self.model = st.STAlign(config).to(args.device).train()
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            [{"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.04},
             {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}], lr=2.5e-4)
        b, s, n = args.batch, config["spot_image_px"], config["niche_image_px"]
        self.batch = [torch.randint(0, 256, (b, s, s, 3), dtype=torch.uint8),
                      torch.randint(0, 256, (b, n, n, 3), dtype=torch.uint8),
                      torch.rand(b, config["spot_gene_width"]), torch.rand(b, config["genes"])]
        self.batch = [x.to(args.device) for x in self.batch]
        self.forward = torch.compile(self.loss) if args.compile else self.loss

    def loss(self, spot_image, niche_image, spot_gene, niche_gene):
        images = [st.normalise_image(x) for x in (spot_image, niche_image)]
        # a uint8 [B,S,S,3] batch is channels-last already; `contiguous` pays for one transposition
        if not self.channels_last:
            images = [x.contiguous() for x in images]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            embeddings = self.model(*images, spot_gene, niche_gene)
        embeddings = {name: e.float() for name, e in embeddings.items()}
        return st.loss(embeddings, self.model.inverse_temperatures())[0]

    def __call__(self):
        start, cpu = time.perf_counter(), time.process_time()
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.forward(*self.batch)
        loss.backward()
        self.optimiser.step()
        value = loss.item()  # waits for the device
        return time.perf_counter() - start, value, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(ROOT / "configs" / "model" / "tiny.cfg"))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layout", choices=["auto", "channels_last", "contiguous"], default="auto")
    parser.add_argument("--compile", action="store_true", help="torch.compile forward and loss")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--part", choices=["all", "niche_image", "spot_image"], default="all")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="with --part: change a model key (underscores), like spot_image_px=224")
    args = parser.parse_args()
    make = Step if args.part == "all" else PartStep
    torch.set_num_threads(args.threads)

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
    print(json.dumps({
        "bench": "torch_peer", "part": args.part, "precision": args.precision, "torch": torch.__version__, "device": args.device, "compile": args.compile,
        "config": Path(args.config).name, "parameters": sum(p.numel() for p in step.model.parameters()),
        "threads": args.threads, "batch": args.batch, "layout": layout,
        "layout_probe_s": {k: round(v, 4) for k, v in probe.items()}, "steps": args.steps,
        "step_cpu_s_median": round(statistics.median(c for _, _, c in timed), 4),
        "step_s_median": round(median, 5), "step_s_min": round(times[0], 5), "step_s_max": round(times[-1], 5),
        "pairs_per_s": round(args.batch / median, 1), "loss_last": timed[-1][1],
        "load_1min": round(os.getloadavg()[0], 2)}))  # more than --threads: others were using the machine


if __name__ == "__main__":
    main()
