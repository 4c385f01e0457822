"""The CUDA libraries that this Python's PyTorch computes with, as one JSON line: a ratio between two sides that use different
ones says something else. `python torch_versions.py cpu|cuda`; its output is read by gpu_figures.py."""
import ctypes
import json
import os
import sys

import torch


def attempt(call):
    """None where this build of PyTorch has no such thing."""
    try:
        return call()
    except Exception:
        return None


def dotted(version):
    """cuDNN's number, as `spotniche --version` writes it: 91900 is 9.19.0."""
    return f"{version // 10000}.{version // 100 % 100}.{version % 100}" if version else None


def loaded(name):
    """{file: version} of the cuBLAS libraries in this process: those that it computes with, wherever they were found."""
    with open("/proc/self/maps") as f:
        paths = {line.split()[-1] for line in f if os.path.basename(line.split()[-1]).startswith(name + ".so")}

    def ask(path):
        function = ctypes.CDLL(path).cublasLtGetVersion
        function.restype = ctypes.c_size_t
        return function()
    return {path: attempt(lambda: str(ask(path))) for path in sorted(paths)}


def main():
    if sys.argv[1:] == ["cuda"]:  # what is loaded when first needed is loaded now; who cannot, says so in its own part
        attempt(lambda: float(torch.ones(256, 256, device="cuda", dtype=torch.bfloat16).matmul(
            torch.ones(256, 256, device="cuda", dtype=torch.bfloat16)).sum()))
    files = attempt(lambda: loaded("libcublasLt")) or {}
    nccl = attempt(torch.cuda.nccl.version)
    print(json.dumps({
        "torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": dotted(attempt(torch.backends.cudnn.version)),
        "nccl": ".".join(map(str, nccl)) if nccl else None, "cublaslt": next(iter(files.values()), None), "files": files}))


if __name__ == "__main__":
    main()
