"""Writes tests/golden/optim.safetensors: ten updates of AdamW and SGD by PyTorch, with the gradients they were given.

<case>.start.<parameter>, .grad<t>.<parameter>, .after<t>.<parameter>, .norm<t> (before clipping), and at the end
.<exp_avg|exp_avg_sq|momentum_buffer>.<parameter>; schedule.lr: 5 steps of warm-up, then 21 of a cosine over 20.
ema.start.<name>, .model<t>.<name>, .average<t>.<name>: six updates of timm's ModelEmaV3 (decay 0.9, its defaults) of a
model whose tensors, buffers among them, are drawn anew each time.

python tests/golden/optim.py    (torch, timm, safetensors)
"""
import pathlib

import torch
from safetensors.torch import save_file
from timm.utils import ModelEmaV3

STEPS = 10
SHAPES = {"layer.weight": (5, 7), "layer.bias": (5,), "scale": ()}
out, meta = {}, {"torch": torch.__version__}


def run(case, make, clip=0.0):
    g = torch.Generator().manual_seed(7)
    params = {n: torch.nn.Parameter(torch.randn(s, generator=g)) for n, s in SHAPES.items()}
    decay = [p for n, p in params.items() if p.ndim > 1]
    plain = [p for n, p in params.items() if p.ndim <= 1]
    opt = make([{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}])
    for n, p in params.items():
        out[f"{case}.start.{n}"] = p.detach().clone()
    for t in range(STEPS):
        for n, p in params.items():
            p.grad = torch.randn(p.shape, generator=g) * 3
            out[f"{case}.grad{t}.{n}"] = p.grad.clone()
        if clip:
            norm = torch.nn.utils.clip_grad_norm_(params.values(), clip)
            out[f"{case}.norm{t}"] = norm.detach()
        for group in opt.param_groups:
            group["lr"] = 0.01 * (t + 1)
        opt.step()
        for n, p in params.items():
            out[f"{case}.after{t}.{n}"] = p.detach().clone()
    for n, p in params.items():
        for slot, v in opt.state[p].items():
            if slot != "step":
                out[f"{case}.{slot}.{n}"] = v.clone()


run("adamw", lambda groups: torch.optim.AdamW(groups, lr=0, betas=(0.9, 0.999), eps=1e-8, foreach=False))
run("adamw_clipped", lambda groups: torch.optim.AdamW(groups, lr=0, betas=(0.8, 0.95), eps=1e-3, foreach=False), 2.5)
run("sgd", lambda groups: torch.optim.SGD(groups, lr=0, momentum=0.9, foreach=False))
run("sgd_plain", lambda groups: torch.optim.SGD(groups, lr=0, momentum=0.0, foreach=False), 1e6)

# learning rates of one cosine with warm-up, as torch schedulers compute it
p = torch.nn.Parameter(torch.zeros(1))
opt = torch.optim.SGD([p], lr=3e-3)
warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda t: t / 5)
rates = []
for t in range(5):
    rates.append(warm.get_last_lr()[0])
    opt.step()
    warm.step()
opt = torch.optim.SGD([p], lr=3e-3)
cosine = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=20, eta_min=1e-6)
for t in range(21):
    rates.append(cosine.get_last_lr()[0])
    opt.step()
    cosine.step()
out["schedule.lr"] = torch.tensor(rates, dtype=torch.float64)

g = torch.Generator().manual_seed(9)
model = torch.nn.ModuleDict({"layer": torch.nn.Linear(7, 5), "bn": torch.nn.BatchNorm1d(5)})


def draw(t):
    with torch.no_grad():
        for v in model.state_dict().values():
            v.copy_(torch.randn(v.shape, generator=g) if v.is_floating_point() else torch.tensor(3 * t + 1))


draw(0)
average = ModelEmaV3(model, decay=0.9)
out |= {f"ema.start.{n}": v.clone() for n, v in model.state_dict().items()}
for t in range(6):
    draw(t + 1)
    average.update(model)
    out |= {f"ema.model{t}.{n}": v.clone() for n, v in model.state_dict().items()}
    out |= {f"ema.average{t}.{n}": v.clone() for n, v in average.module.state_dict().items()}

save_file(out, pathlib.Path(__file__).with_suffix(".safetensors"), meta | {"format": "pt"})
