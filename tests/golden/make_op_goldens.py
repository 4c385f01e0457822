#!/usr/bin/env python3
"""Writes tests/golden/<family>.safetensors: inputs, outputs and gradients of every op family, by PyTorch.

python tests/golden/make_op_goldens.py [family ...]      (all by default)

Names and shapes: tests/golden/README.md. The optimisers' goldens are written by optim.py.

Inputs are float32 numbers; PyTorch computes in float64 and the results are rounded to float32, so a golden is the
right answer to half a unit in the last place, whatever the machine. Same bytes on each run.
"""
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = Path(__file__).parent
GENERATOR = torch.Generator()


def rand(*shape, scale=1.0, shift=0.0):
    """Normal float32 values, held as float64."""
    return (torch.randn(shape, generator=GENERATOR) * scale + shift).float().double()


def store(out, case, tensors):
    for name, t in tensors.items():
        t = t.detach()
        assert f"{case}.{name}" not in out
        out[f"{case}.{name}"] = (t.float() if t.dtype == torch.float64 else t).contiguous().clone()


def attributes(**values):
    return {k: torch.tensor([v], dtype=torch.float64 if isinstance(v, float) else torch.int32)
            for k, v in values.items()}


def case(out, name, f, inputs, constants=None, **attrs):
    """y = f(*inputs, *constants); gradients of sum(gy * y) with respect to every input."""
    inputs = {k: v.float().double() for k, v in inputs.items()}  # a shift may have added digits
    leaves = {k: v.clone().requires_grad_() for k, v in inputs.items()}
    y = f(*leaves.values(), *(constants or {}).values())
    gy = rand(*y.shape)
    y.backward(gy)
    store(out, name, inputs | (constants or {}) | attributes(**attrs) | {"y": y, "gy": gy} |
          {f"grad_{k}": v.grad for k, v in leaves.items()})


def linear():
    out = {}
    case(out, "bias", F.linear, {"x": rand(5, 7), "weight": rand(3, 7), "bias": rand(3)})
    case(out, "no_bias", lambda x, weight: F.linear(x, weight), {"x": rand(1, 33), "weight": rand(17, 33)})
    case(out, "tokens", F.linear, {"x": rand(2, 3, 19), "weight": rand(65, 19), "bias": rand(65)})
    case(out, "gelu", lambda x, weight, bias: F.gelu(F.linear(x, weight, bias)),
         {"x": rand(4, 9), "weight": rand(13, 9), "bias": rand(13)})
    case(out, "relu", lambda x, weight, bias: F.relu(F.linear(x, weight, bias)),
         {"x": rand(4, 9), "weight": rand(13, 9), "bias": rand(13)})
    case(out, "matmul", lambda a, b: a @ b, {"a": rand(5, 11), "b": rand(11, 3)})
    case(out, "matmul_batched", lambda a, b: a @ b, {"a": rand(2, 3, 5, 7), "b": rand(2, 3, 7, 4)})
    case(out, "matmul_broadcast", lambda a, b: a @ b, {"a": rand(3, 5, 7), "b": rand(1, 7, 2)})
    return out


def conv2d():
    out = {}
    for name, c_in, c_out, k, s, p, h, w, bias, n in [
            ("k1", 5, 7, 1, 1, 0, 6, 5, False, 2), ("k1_stride2", 6, 3, 1, 2, 0, 7, 6, False, 2),
            ("k3_pad1", 3, 8, 3, 1, 1, 9, 7, True, 2), ("k3_stride2_pad1", 4, 5, 3, 2, 1, 9, 8, False, 2),
            ("k3_no_pad", 2, 3, 3, 1, 0, 5, 6, True, 1), ("k7_stride2_pad3", 3, 4, 7, 2, 3, 15, 13, False, 2),
            ("patch4_stride4", 3, 10, 4, 4, 0, 12, 8, True, 3), ("wide", 33, 17, 3, 1, 1, 4, 4, False, 1)]:
        inputs = {"x": rand(n, c_in, h, w), "weight": rand(c_out, c_in, k, k)} | ({"bias": rand(c_out)} if bias else {})
        case(out, name, lambda x, weight, bias=None, s=s, p=p: F.conv2d(x, weight, bias, s, p), inputs,
             stride=s, pad=p)
    return out


def conv1d():
    out = {}
    for name, n, c_in, c_out, k, s, p, length in [
            ("tokens_k1", 3, 1, 8, 1, 1, 0, 13), ("tokens_k2_stride2", 3, 1, 8, 2, 2, 0, 14),
            ("k3_pad1", 2, 3, 5, 3, 1, 1, 9), ("k5_stride2_pad2", 1, 4, 3, 5, 2, 2, 11)]:
        case(out, name, lambda x, weight, bias, s=s, p=p: F.conv1d(x, weight, bias, s, p),
             {"x": rand(n, c_in, length), "weight": rand(c_out, c_in, k), "bias": rand(c_out)}, stride=s, pad=p)
    return out


def pooling():
    out = {}
    for name, f, k, s, p, h, w in [
            ("max_k3_stride2_pad1", F.max_pool2d, 3, 2, 1, 9, 8), ("max_k2", F.max_pool2d, 2, 2, 0, 7, 6),
            ("avg_k2", F.avg_pool2d, 2, 2, 0, 7, 6), ("avg_k3_stride2_pad1", F.avg_pool2d, 3, 2, 1, 9, 8)]:
        case(out, name, lambda x, f=f, k=k, s=s, p=p: f(x, k, s, p), {"x": rand(2, 3, h, w)}, kernel=k, stride=s, pad=p)
    for name, (h, w), (oh, ow) in [("adaptive_down", (7, 11), (3, 4)), ("adaptive_up", (5, 4), (7, 9)),
                                   ("adaptive_same", (4, 6), (4, 6))]:
        case(out, name, lambda x, size=(oh, ow): F.adaptive_avg_pool2d(x, size), {"x": rand(2, 3, h, w)}, height=oh,
             width=ow)
    case(out, "global", lambda x: x.mean((2, 3)), {"x": rand(3, 5, 4, 7)})
    return out


def batch_norm():
    out = {}
    for name, shape, training, relu, residual in [
            ("train", (3, 5, 4, 3), True, False, False), ("eval", (3, 5, 4, 3), False, False, False),
            ("train_rows", (7, 6), True, False, False), ("train_relu", (2, 3, 5, 5), True, True, False),
            ("train_residual_relu", (2, 4, 3, 5), True, True, True),
            ("eval_residual_relu", (2, 4, 3, 5), False, True, True)]:
        c = shape[1]
        mean, var = rand(c), rand(c).abs() + 0.5
        new_mean, new_var = mean.clone(), var.clone()

        def f(x, weight, bias, residual=None):
            y = F.batch_norm(x, new_mean, new_var, weight, bias, training, 0.1, 1e-5)
            y = y if residual is None else y + residual
            return F.relu(y) if relu else y

        inputs = {"x": rand(*shape, scale=2.0, shift=1.0), "weight": rand(c), "bias": rand(c)}
        case(out, name, f, inputs | ({"residual": rand(*shape)} if residual else {}), eps=1e-5, momentum=0.1,
             training=int(training), relu=int(relu))
        store(out, name, {"running_mean": mean, "running_var": var, "new_running_mean": new_mean,
                          "new_running_var": new_var})
    return out


def layer_norm():
    out = {}
    for name, shape, eps in [("rows", (5, 7), 1e-5), ("tokens", (2, 3, 130), 1e-6), ("one_row", (1, 33), 1e-5),
                             ("offset", (4, 64), 1e-5)]:
        shift = 30.0 if name == "offset" else 0.0
        case(out, name, lambda x, weight, bias, eps=eps: F.layer_norm(x, x.shape[-1:], weight, bias, eps),
             {"x": rand(*shape, shift=shift), "weight": rand(shape[-1]), "bias": rand(shape[-1])}, eps=eps)
    return out


def softmax():
    out = {}
    for name, shape, scale in [("rows", (5, 7), 1.0), ("wide", (2, 3, 131), 1.0), ("one", (4, 1), 1.0),
                               ("large", (3, 9), 60.0)]:
        case(out, f"softmax_{name}", lambda x: x.softmax(-1), {"x": rand(*shape, scale=scale)})
        case(out, f"log_softmax_{name}", lambda x: x.log_softmax(-1), {"x": rand(*shape, scale=scale)})
    return out


def heads_first(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(q, k, v, heads):
    q, k, v = (heads_first(t, heads) for t in (q, k, v))
    y = F.scaled_dot_product_attention(q, k, v)
    return y.transpose(1, 2).flatten(2)


def attention():
    out = {}
    for name, b, t, h, w in [("self_h1", 2, 3, 1, 5), ("self_h3", 2, 7, 3, 4), ("self_t17_h4", 1, 17, 4, 8),
                             ("self_t1", 3, 1, 2, 6), ("self_h2_w64", 1, 8, 2, 64)]:
        case(out, name, lambda qkv, h=h: attend(*qkv.chunk(3, -1), h), {"qkv": rand(b, t, 3 * h * w)}, heads=h)
    for name, b, tq, tk, h, w in [("cross", 2, 5, 3, 2, 7), ("cross_tq1", 3, 1, 9, 4, 4),
                                  ("cross_8x8", 2, 8, 8, 4, 16)]:
        case(out, name, lambda q, k, v, h=h: attend(q, k, v, h),
             {"q": rand(b, tq, h * w), "k": rand(b, tk, h * w), "v": rand(b, tk, h * w)}, heads=h)
    return out


def elementwise():
    out = {}
    x = torch.cat([torch.linspace(-12, 12, 41), torch.tensor([0.0, -0.0, 1e-6, -1e-6])]).double()
    case(out, "gelu", F.gelu, {"x": x.float().double()})
    case(out, "gelu_rows", F.gelu, {"x": rand(3, 5, 7)})
    case(out, "relu", F.relu, {"x": rand(4, 9)})
    case(out, "exp", torch.exp, {"x": rand(4, 9)})
    case(out, "log", torch.log, {"x": rand(4, 9).abs() + 0.01})
    case(out, "sqrt", torch.sqrt, {"x": rand(4, 9).abs() + 0.01})
    case(out, "tanh", torch.tanh, {"x": rand(4, 9)})
    for name, f in {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}.items():
        case(out, name, f, {"a": rand(3, 5), "b": rand(3, 5) + 3})
        case(out, f"{name}_broadcast", f, {"a": rand(2, 3, 1, 5), "b": rand(3, 4, 1) + 3})
    case(out, "sigmoid", torch.sigmoid, {"x": rand(4, 9, scale=4.0)})
    case(out, "square", torch.square, {"x": rand(4, 9)})
    case(out, "neg", torch.neg, {"x": rand(4, 9)})
    case(out, "affine", lambda x: 2.5 * x - 0.75, {"x": rand(4, 9)})
    case(out, "clamp", lambda x: x.clamp(max=0.5), {"x": rand(4, 9)})
    return out


def reduce():
    out = {}
    for name, f in {"sum": torch.sum, "mean": torch.mean}.items():
        case(out, f"{name}_all", f, {"x": rand(3, 5, 7)})
        case(out, f"{name}_first", lambda x: f(x, 0), {"x": rand(33, 5)})
        case(out, f"{name}_outer", lambda x: f(x, (0, 2)), {"x": rand(4, 3, 9)})
        case(out, f"{name}_last_kept", lambda x: f(x, -1, keepdim=True), {"x": rand(2, 3, 129)})
    return out


def index():
    out = {}
    for name, shape, rows in [("rows", (5, 7), 9), ("tokens", (6, 2, 3), 4), ("one", (1, 5), 3)]:
        taken = torch.randint(shape[0], (rows,), generator=GENERATOR)
        case(out, name, lambda x, index: x.index_select(0, index), {"x": rand(*shape)}, {"index": taken})
    return out


def l2_normalise():
    out = {}
    normalise = lambda x: F.normalize(x, dim=-1, eps=1e-12)
    case(out, "rows", normalise, {"x": rand(5, 7)})
    case(out, "wide", normalise, {"x": rand(3, 129, scale=40.0)})
    case(out, "tokens", normalise, {"x": rand(2, 3, 8, scale=1e-3)})
    return out


def cross_entropy():
    out = {}
    for name, n, classes, scale in [("rows", 5, 7, 1.0), ("wide", 3, 130, 4.0), ("one_class", 4, 1, 1.0),
                                    ("large", 6, 9, 80.0)]:
        target = torch.randint(classes, (n,), generator=GENERATOR)
        case(out, name, lambda logits, target: F.cross_entropy(logits, target, reduction="none"),
             {"logits": rand(n, classes, scale=scale)}, {"target": target})
    return out


def contrastive():
    out = {}
    sys.path.insert(0, str(HERE.parent / "support"))
    from torch_st_align import info_nce
    for name, b, d, scale, masked in [("all", 9, 7, 10.0, False), ("one_pair", 1, 5, 10.0, False),
                                      ("sharp", 13, 33, 100.0, False), ("masked", 11, 8, 10.0, True)]:
        x, y, log_scale = rand(b, d), rand(b, d), torch.tensor([scale]).double().log()
        leaves = {"x": x.clone().requires_grad_(), "y": y.clone().requires_grad_(),
                  "logit_scale": log_scale.clone().requires_grad_()}
        keep = (torch.rand(b, b, generator=GENERATOR) < 0.6) if masked else torch.ones(b, b, dtype=torch.bool)
        keep = keep | keep.t() | torch.eye(b, dtype=torch.bool)  # symmetric, as the rules are
        loss = info_nce(leaves["x"], leaves["y"], leaves["logit_scale"].exp(), keep if masked else None)
        loss.backward()
        store(out, name, {"x": x, "y": y, "logit_scale": log_scale, "loss": loss.reshape(1),
                          "keep": keep.to(torch.uint8)} | {f"grad_{k}": v.grad for k, v in leaves.items()})
    return out


def image():
    out = {}
    sys.path.insert(0, str(HERE.parent / "support"))
    from torch_st_align import normalise_image
    x = torch.randint(0, 256, (3, 5, 7, 3), generator=GENERATOR, dtype=torch.uint8)
    store(out, "normalise", {"x": x, "y": normalise_image(x)})
    return out


def st_align():
    """Whole models of reduced size, forward in training mode without dropout, loss, gradients; then in eval mode."""
    out = {}
    sys.path.insert(0, str(HERE.parent / "support"))
    import torch_st_align as m
    for name in ("small", "adapter"):
        config = m.read_config(HERE / f"st_align_{name}.cfg")
        torch.manual_seed(7)
        model = m.STAlign(config)
        with torch.no_grad():  # away from the initial ones, zeros and 1e-5, so that every parameter matters
            for key, p in model.named_parameters():
                if p.ndim <= 1 and "logit_scale" not in key or key.endswith(("cls_token", "gamma")):
                    p.add_(torch.randn(p.shape, generator=GENERATOR) * 0.2)
            for key, b in model.named_buffers():
                if key.endswith("running_mean"):
                    b.copy_(torch.randn(b.shape, generator=GENERATOR) * 0.1)
                if key.endswith("running_var"):
                    b.copy_(1 + 0.3 * torch.rand(b.shape, generator=GENERATOR))
        store(out, name, {f"param.{k}": v for k, v in model.state_dict().items() if "num_batches" not in k})
        model = model.double()
        b, s, n = 6, config["spot_image_px"], config["niche_image_px"]
        inputs = {"spot_image": torch.randint(0, 256, (b, s, s, 3), generator=GENERATOR, dtype=torch.uint8),
                  "niche_image": torch.randint(0, 256, (b, n, n, 3), generator=GENERATOR, dtype=torch.uint8),
                  "spot_gene": rand(b, config["spot_gene_width"]).abs(), "niche_gene": rand(b, config["genes"]).abs()}
        store(out, name, inputs)

        def forward():
            images = {k: m.normalise_image(inputs[k]).double() for k in ("spot_image", "niche_image")}
            return model(**(inputs | images))

        with torch.no_grad():
            model.eval()
            store(out, name, {f"eval.{k}": v for k, v in forward().items()})
        model.train()
        embeddings = forward()
        losses = m.loss(embeddings, model.inverse_temperatures())
        losses[0].backward()
        store(out, name, {f"train.{k}": v for k, v in embeddings.items()})
        store(out, name, {f"loss.{k}": v.reshape(1) for k, v in zip(("total", "spot", "niche", "cross"), losses)})
        for key, p in model.named_parameters():
            if p.grad is None:
                assert not p.requires_grad, key
                continue
            if p.numel() <= 256:
                store(out, name, {f"grad.{key}": p.grad})
            else:
                store(out, name, {f"grad_norm.{key}": p.grad.norm().reshape(1)})
        store(out, name, {f"after.{k}": v for k, v in model.state_dict().items() if "running" in k})
    return out


FAMILIES = (linear, conv2d, conv1d, pooling, batch_norm, layer_norm, softmax, attention, elementwise, l2_normalise,
            cross_entropy, contrastive, image, st_align, reduce, index)  # in this order: it seeds them


def main():
    torch.set_num_threads(1)
    wanted = set(sys.argv[1:]) or {f.__name__ for f in FAMILIES}
    unknown = wanted - {f.__name__ for f in FAMILIES}
    if unknown:
        sys.exit(f"unknown families {sorted(unknown)}; there are {[f.__name__ for f in FAMILIES]}")
    for number, family in enumerate(FAMILIES):
        if family.__name__ not in wanted:
            continue
        GENERATOR.manual_seed(1000 + number)
        path = HERE / f"{family.__name__}.safetensors"
        tensors = family()
        assert all(torch.isfinite(t.float()).all() for t in tensors.values())
        save_file(tensors, path)
        print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
