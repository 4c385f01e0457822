"""Who may include whom (docs/map.md). Run: python3 tests/rules/arrows.py [--print]

--print lists the arrows between rooms as the code has them now.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sources  # noqa: E402

# Rooms of a folder: arrows run down its list only.
ORDER = {
    "engine": ("train", "eval", "models", "optim", "ckpt", "nn", "ops", "autograd", "tensor", "dist", "core"),
    "data": ("prepare", "synth", "pipe", "sample", "write_h5ad", "readers", "pack", "image", "niche", "genes", "schema", "h5"),
}
# What stands beside the folders of kernels: the table, and what is told and measured around it.
KERNELS = tuple(f"kernels/{name}.h" for name in ("devices", "gpu_fit", "meta", "profile", "table", "timing", "work"))
BACKEND = ("engine/core/", "kernels/args/", "kernels/checks/", "kernels/math/") + KERNELS
# What a file below the left may include of ours, beside its own folder. The longest left side that fits is used.
ALLOWED = {
    "kernels": ("engine/core/", "kernels/args/", "kernels/ladder/ladder.h") + KERNELS,
    "kernels/args": ("engine/core/",),
    "kernels/math": ("engine/core/", "kernels/args/"),
    "kernels/checks": ("engine/core/", "kernels/args/"),
    "kernels/cpu": BACKEND,  # neither knows of the other
    "kernels/cuda": BACKEND,
    "kernels/meta": BACKEND,
    "kernels/ladder": BACKEND + ("kernels/cuda/",),
    "engine": ("engine/", "kernels/table.h", "kernels/args/"),
    "engine/core": (),
    "engine/dist": ("engine/core/",),
    "data": ("engine/core/", "engine/dist/"),
    "launch": ("engine/", "kernels/", "data/", "spotniche_version.h"),
    "tests": ("engine/", "kernels/", "data/", "launch/", "spotniche_version.h"),
}
# System headers that only these folders may see.
ONLY = {
    "mpi.h": ("engine/dist/", "data/h5/"),
    "nccl.h": ("engine/dist/",),
    "hdf5.h": ("data/h5/", "tests/"),
    "cuda_runtime.h": ("kernels/cuda/", "engine/dist/"),
    "boost/": ("launch/cli/", "tests/support/emulator/"),
}


def room(path):
    parts = path.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def violations(root):
    out = []
    paths = sources.files(root)
    for path in paths:
        key = max((k for k in ALLOWED if path.startswith(k + "/")), key=len)
        for line, name, system in sources.includes(path, root):
            where = f"{path}:{line}: includes {name}"
            if system:
                for header, folders in ONLY.items():
                    if (name == header or header.endswith("/") and name.startswith(header)) and not path.startswith(
                            folders):
                        out.append(f"{where}; only {', '.join(folders)} may")
                continue
            top, here = path.split("/")[:2]
            own = (key + "/",) if key != "kernels" else ()  # whose folders have entries of their own
            if not name.startswith(ALLOWED[key] + own):
                out.append(f"{where}; {key}/ may include {', '.join(ALLOWED[key]) or 'nothing of ours'}")
            elif top in ORDER and name.startswith(top + "/"):
                rooms, there = ORDER[top], name.split("/")[1]
                if here not in rooms or there not in rooms:
                    out.append(f"{where}; {top}'s rooms are {', '.join(rooms)}")
                elif rooms.index(there) < rooms.index(here):
                    out.append(f"{where}; arrows run from {there} to {here}, not back")
            if "/" in name and not (root / name).is_file():
                out.append(f"{where}; no such file (paths are written from the root)")
    return out + cycles(paths, root)


def cycles(paths, root):
    """Headers that include each other, by depth-first search."""
    state, out = {}, []

    def visit(path, trail):
        state[path] = 1
        for line, name, system in sources.includes(path, root):
            if system or not (root / name).is_file():
                continue
            if state.get(name) == 1:
                out.append(f"{path}:{line}: includes {name}, which includes it: {' > '.join(trail + [path, name])}")
            elif name not in state:
                visit(name, trail + [path])
        state[path] = 2

    for path in paths:
        if path not in state:
            visit(path, [])
    return out


def print_arrows(root):
    arrows = {}
    for path in sources.files(root):
        for _, name, system in sources.includes(path, root):
            if not system and "/" in name and room(name) != room(path) and not path.startswith("tests/"):
                arrows.setdefault(room(path), set()).add(room(name))
    for here in sorted(arrows):
        print(f"{here} -> {', '.join(sorted(arrows[here]))}")


if __name__ == "__main__":
    if "--print" in sys.argv:
        print_arrows(sources.ROOT)
    else:
        sources.finish("arrows", len(sources.files()), violations(sources.ROOT))
