"""Every header compiles alone, and twice in one file. Run: python3 tests/rules/headers.py BUILD_DIR

A header that says `#pragma once` and that a source of the build includes before anything else was compiled alone by the
build (run this after it); the others are compiled here. Compile flags are those of the nearest source in BUILD_DIR/compile_commands.json. Headers whose text and includes have
not changed since they last passed are not compiled again (BUILD_DIR/rules-headers.json).
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sources  # noqa: E402

TAKES_VALUE = ("-o", "-MF", "-MT", "-MQ", "-include")  # -include: what tests precompile, which hides what is missing
DROPPED = ("-c", "-MD", "-MMD", "-Winvalid-pch", "-fpch-preprocess")
TOOLKIT = ("cuda_runtime.h", "cublasLt.h", "cudnn.h", "nccl.h")


def commands(build):
    """{source relative to the root: its compiler and flags, without the file and the outputs}, and the names of those
    sources that have headers precompiled"""
    out, precompiled = {}, set()
    for entry in json.loads((build / "compile_commands.json").read_text()):
        try:
            name = pathlib.Path(entry["file"]).resolve().relative_to(sources.ROOT).as_posix()
        except ValueError:
            continue
        if name.startswith(build.name + "/"):
            continue  # generated
        words, kept, skip = shlex.split(entry["command"]), [], False
        if any(word.endswith("nvcc") for word in words[:2]):
            continue  # the same file is compiled for the host too (tests/support/emulator)
        for word in words[1 + max((i for i, word in enumerate(words) if word.endswith("ccache")), default=-1):]:
            if skip or word in TAKES_VALUE:
                skip = not skip
            elif word not in DROPPED and word != entry["file"]:
                kept.append(word)
        out[name] = kept
        if "-include" in words:
            precompiled.add(name)
    return out, precompiled


def needs_toolkit(header):
    """Includes CUDA's own headers. device/base.h and launch.h do so for nvcc alone, and nobody through them."""
    for_nvcc = ("kernels/cuda/device/base.h", "kernels/cuda/launch.h")
    seen, todo = set(), [header]
    while todo:
        file = todo.pop()
        if file in seen or file in for_nvcc or not (sources.ROOT / file).is_file():
            continue
        seen.add(file)
        for _, name, system in sources.includes(file):
            if system and name in TOOLKIT:
                return True
            if not system:
                todo.append(name)
    return False


def nearest(header, known):
    """The source that shares the longest path with the header, of those that have what it includes on their path; None
    where the build has no such source."""
    fit = known
    if needs_toolkit(header):
        fit = [s for s in known if s.startswith("kernels/cuda/") and s.endswith(".cpp") and needs_toolkit(s)]
    elif header.startswith(("kernels/cuda/", "kernels/ladder/")):
        fit = [s for s in known if s.endswith(".cu")] or known
    return max(sorted(fit), key=lambda s: len(os.path.commonprefix([header, s])), default=None)


def shown_by_build(known, precompiled):
    """Headers that a source includes first: had one not compiled alone, that source would not have compiled."""
    first = {sources.includes(s)[0][1] for s in known if s not in precompiled and sources.includes(s)}
    return {h for h in first if (sources.ROOT / h).is_file() and re.search(r"^#pragma once$", (sources.ROOT / h).read_text(), re.M)}


def check(header, command):
    text = f'#include "{header}"\n#include "{header}"\n'
    done = subprocess.run(command + ["-x", "c++", "-fsyntax-only", "-"], input=text, text=True, capture_output=True,
                          cwd=sources.ROOT)
    return done.returncode, done.stderr


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    (known, precompiled), memory = commands(build), build / "rules-headers.json"
    passed = json.loads(memory.read_text()) if memory.exists() else {}
    headers, todo, now = sources.files(suffixes=(".h",)), {}, {}
    shown = shown_by_build(known, precompiled)
    for header in headers:
        if header in shown:
            continue
        source = nearest(header, known)
        if source is None:
            print(f"headers: {header} wants the CUDA toolkit, and this build has none")
            continue
        command = known[source]
        now[header] = sources.checksum(header, " ".join(command))
        if passed.get(header) != now[header]:
            todo[header] = command
    violations = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for header, (status, errors) in zip(todo, pool.map(lambda h: check(h, todo[h]), todo)):
            if status != 0:
                del now[header]
                violations.append(f"{header}: does not compile alone\n{errors[:2000]}")
    memory.write_text(json.dumps(now))
    print(f"headers: {len(shown)} were compiled alone by the build")
    sources.finish("headers", len(headers), violations)


if __name__ == "__main__":
    main()
