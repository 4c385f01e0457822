"""What torch_peer.py times apart from whole models: the contrastive loss, AdamW over a model, and single kernels beside the
device's copy bandwidth. Imported by torch_peer.py, which has the command line.

On a GPU: bf16, torch.compile, fused AdamW, CUDA graphs where nothing speaks against it. On the CPU the same course in
small sizes, which says that the script works and nothing about speed.
"""
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import torch_st_align as st  # noqa: E402


class Timer:
    """Seconds of a call, with the device's own clock where it has one; the L2 cache is overwritten before each."""

    def __init__(self, device, repeats, warmup, cold=True):
        self.cuda, self.repeats, self.warmup = device.startswith("cuda"), repeats, warmup
        size = 2 * torch.cuda.get_device_properties(0).L2_cache_size if self.cuda else 0
        self.flush = torch.empty(size, dtype=torch.int8, device=device) if cold and size else None

    def __call__(self, call):
        for _ in range(self.warmup):
            call()
        if not self.cuda:
            return [self.on_host(call) for _ in range(self.repeats)]
        events = []
        for _ in range(self.repeats):
            if self.flush is not None:
                self.flush.zero_()
            # keeps the device busy while the host queues the call: otherwise its launch would be timed
            torch.cuda._sleep(1_000_000)
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            call()
            end.record()
            events.append((start, end))
        torch.cuda.synchronize()
        return [start.elapsed_time(end) / 1e3 for start, end in events]

    @staticmethod
    def on_host(call):
        start = time.perf_counter()
        call()
        return time.perf_counter() - start


def capture(call, device):
    """One CUDA graph of the call, or the call and why not. The memory that it writes stays where it is."""
    if not device.startswith("cuda"):
        return call, "no CUDA device"
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            call()
    except RuntimeError as error:
        torch.cuda.synchronize()
        return call, str(error).splitlines()[0]
    return graph.replay, ""


def copy_gbps(device, size):
    """Bytes read and written a second by a copy of memory: what a kernel that is bound by memory can reach."""
    a = torch.empty(size, dtype=torch.int8, device=device)
    b = torch.empty_like(a)
    seconds = statistics.median(Timer(device, 10, 3, cold=False)(lambda: b.copy_(a)))
    return 2 * a.numel() / seconds / 1e9


def clip_loss(x, y, scale):
    """As users write it: both directions from one matrix of logits, which is kept for the backward."""
    logits = scale * x @ y.t()
    target = torch.arange(len(x), device=x.device)
    return 0.5 * (F.cross_entropy(logits.float(), target) + F.cross_entropy(logits.t().float(), target))


def loss(args):
    torch.manual_seed(1)
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    rows = [F.normalize(torch.randn(args.batch, args.width, device=args.device), dim=1) for _ in range(2)]
    rows[1] = F.normalize(rows[0] + rows[1], dim=1)
    x, y = (r.to(dtype).requires_grad_() for r in rows)
    scale = torch.tensor(10.0, device=args.device, requires_grad=True)
    run = torch.compile(clip_loss) if args.compile else clip_loss
    out = {}

    def both():
        x.grad = y.grad = scale.grad = None
        out["loss"] = run(x, y, scale.to(dtype))
        out["loss"].backward()

    cuda = args.device.startswith("cuda")
    both()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        both()
        torch.cuda.synchronize()
        extra = torch.cuda.max_memory_allocated() - before
    # a graph would hold the logits twice; one step of this size has nothing to gain from it
    seconds = Timer(args.device, args.steps, args.warmup, cold=False)(both)
    return {"width": args.width, "seconds": min(seconds), "seconds_median": statistics.median(seconds),
            "extra_bytes": extra if cuda else None, "loss": float(out["loss"].detach())}


def adamw(args, config):
    """The trained parameters of a model with random gradients; one update."""
    with torch.device("meta"):
        model = st.STAlign(config)
    shapes = [p.shape for p in model.parameters() if p.requires_grad or not args.features]
    params = [torch.nn.Parameter(torch.randn(s, device=args.device) * 0.02) for s in shapes]
    for p in params:
        p.grad = torch.randn_like(p) * 1e-3
    cuda = args.device.startswith("cuda")
    optimiser = torch.optim.AdamW(
        [{"params": [p for p in params if p.ndim > 1], "weight_decay": 0.04},
         {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0}], lr=2.5e-4, fused=True, capturable=cuda)
    run, why = capture(optimiser.step, args.device)
    seconds = statistics.median(Timer(args.device, args.steps, args.warmup)(run))
    n = sum(p.numel() for p in params)
    moved = 28 * n  # reads weight, gradient and both moments, writes all but the gradient
    return {"parameters": n, "seconds": seconds, "bytes": moved, "gbps": moved / seconds / 1e9, "no_graph": why}


class Kernels:
    """Each method returns (call, bytes that have to move, shape); named and sized as in `spotniche bench kernels`."""

    def __init__(self, args):
        self.device, self.elements, self.compile = args.device, args.elements, args.compile
        self.dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
        self.size = self.dtype.itemsize
        if self.compile:
            # a backward that is timed again and again must keep what it reads
            import torch._functorch.config as functorch
            functorch.donated_buffer = False

    def rand(self, *shape, grad=False, dtype=None):
        return torch.randn(*shape, device=self.device, dtype=dtype or self.dtype).requires_grad_(grad)

    def norm(self, grad):
        width = 1024
        rows = max(1, self.elements // width)
        x, w, b = self.rand(rows, width, grad=grad), self.rand(width, grad=grad), self.rand(width, grad=grad)
        return x, w, b, rows * width * self.size

    def layer_norm_fwd(self):
        x, w, b, n = self.norm(False)
        return lambda f=self.compiled(lambda x: F.layer_norm(x, x.shape[1:], w, b)): f(x), 2 * n, list(x.shape)

    def layer_norm_branch(self):
        """The norm of a residual's sum, which is kept."""
        x, w, b, n = self.norm(False)
        branch = torch.randn_like(x)

        def add_and_norm(x, branch):
            total = x + branch
            return total, F.layer_norm(total, total.shape[1:], w, b)

        return lambda f=self.compiled(add_and_norm): f(x, branch), 4 * n, list(x.shape)

    def layer_norm_bwd(self):
        x, w, b, n = self.norm(True)
        y = self.compiled(lambda x: F.layer_norm(x, x.shape[1:], w, b))(x)
        dy = torch.randn_like(y)
        return lambda: torch.autograd.grad(y, (x, w, b), dy, retain_graph=True), 3 * n, list(x.shape)

    def heads(self, grad, h=8, n=8):
        w = 64
        b = max(1, self.elements // (h * n * w))
        qkv = [self.rand(b, h, n, w, grad=grad) for _ in range(3)]
        return qkv, b * h * n * w * self.size

    def attention_fwd(self, **options):
        qkv, n = self.heads(False)
        return lambda f=self.compiled(F.scaled_dot_product_attention): f(*qkv, **options), 4 * n, list(qkv[0].shape)

    def attention_dropout_fwd(self):
        return self.attention_fwd(dropout_p=0.1)

    def attention_long(self):
        qkv, n = self.heads(False, 16, 197)
        return lambda f=self.compiled(F.scaled_dot_product_attention): f(*qkv), 4 * n, list(qkv[0].shape)

    def attention_bwd(self, **options):
        qkv, n = self.heads(True)
        y = self.compiled(F.scaled_dot_product_attention)(*qkv, **options)
        dy = torch.randn_like(y)
        # reads q, k, v, dy and writes three gradients; the result is not needed to recompute the weights
        return lambda: torch.autograd.grad(y, qkv, dy, retain_graph=True), 7 * n, list(qkv[0].shape)

    def attention_dropout_bwd(self):
        return self.attention_bwd(dropout_p=0.1)

    def image_embed(self):
        px = 32
        b = max(1, self.elements // (3 * px * px))
        image = torch.randint(0, 256, (b, px, px, 3), dtype=torch.uint8, device=self.device)

        def embed(image):
            return st.normalise_image(image).to(self.dtype).contiguous(memory_format=torch.channels_last)

        return lambda f=self.compiled(embed): f(image), image.numel() * (1 + self.size), list(image.shape)

    def batch_norm_apply(self):
        """y = relu(x * scale + shift + residual), as a training step does it after the statistics are known."""
        px, c = 32, 256
        b = max(1, self.elements // (c * px * px))
        x, short = (self.rand(b, px, px, c) for _ in range(2))
        scale, shift = self.rand(c, dtype=torch.float32), self.rand(c, dtype=torch.float32)

        def apply(x, short):
            return F.relu(x.float() * scale + shift + short.float()).to(x.dtype)

        return lambda f=self.compiled(apply): f(x, short), 3 * x.numel() * self.size, list(x.shape)

    def compiled(self, f):
        return torch.compile(f) if self.compile else f

    NAMES = ("layer_norm_fwd", "layer_norm_branch", "layer_norm_bwd", "attention_fwd", "attention_bwd",
             "attention_dropout_fwd", "attention_dropout_bwd", "attention_long", "image_embed", "batch_norm_apply")


def kernels(args):
    """A line a kernel: seconds, bytes a second, and that as a part of a copy's."""
    copy = copy_gbps(args.device, args.elements * 4)
    every = Kernels(args)
    timer = Timer(args.device, args.steps, args.warmup)
    for name in Kernels.NAMES:
        call, moved, shape = getattr(every, name)()
        seconds = statistics.median(timer(call))
        yield {"kernel": name, "shape": shape, "seconds": seconds, "bytes": moved, "gbps": moved / seconds / 1e9,
               "copy_gbps": copy, "of_copy": moved / seconds / 1e9 / copy}
