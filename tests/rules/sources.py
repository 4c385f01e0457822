"""The project's files, their include lines, and a checksum over everything that a file includes.

Shared by the rule tests beside it. Only the standard library, so that the rules run anywhere Python 3 does.
"""
import hashlib
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOP = ("engine", "kernels", "data", "launch", "tests")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
_includes = {}


def files(root=ROOT, suffixes=(".h", ".cpp", ".cu", ".cuh"), folders=TOP):
    """Paths relative to root, sorted. Hidden folders and caches are not walked."""
    found = []
    for folder in folders:
        for where, below, names in os.walk(root / folder):
            below[:] = [d for d in below if not d.startswith(".") and d != "__pycache__"]
            found += [pathlib.Path(where, n).relative_to(root).as_posix() for n in names if n.endswith(suffixes)]
    return sorted(found)


def includes(path, root=ROOT):
    """[(line, name, is_system)] of one file."""
    key = (root, path)
    if key not in _includes:
        text = (root / path).read_text(encoding="utf-8")
        _includes[key] = [(text.count("\n", 0, m.start()) + 1, m[2], m[1] == "<") for m in INCLUDE.finditer(text)]
    return _includes[key]


def closure(path, root=ROOT):
    """Every file of ours that path includes, itself too. Our includes are written from the root."""
    seen, todo = set(), [path]
    while todo:
        p = todo.pop()
        if p not in seen and (root / p).is_file():
            seen.add(p)
            todo += [name for _, name, system in includes(p, root) if not system]
    return sorted(seen)


def checksum(path, extra="", root=ROOT):
    """Changes when the file, anything of ours it includes, or `extra` changes."""
    digest = hashlib.sha256(extra.encode())
    for p in closure(path, root):
        digest.update(p.encode() + b"\0" + (root / p).read_bytes())
    return digest.hexdigest()


def finish(name, checked, violations):
    """Prints the violations and one line that test.sh counts; ends the script."""
    for v in violations:
        print(v)
    print(f"rule {name}: {checked} checked, {len(violations)} violations")
    sys.exit(1 if violations else 0)
