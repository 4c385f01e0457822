"""Every header compiles alone, and twice in one file. Run: python3 tests/rules/headers.py BUILD_DIR

Compile flags are those of the nearest source in BUILD_DIR/compile_commands.json. Headers whose text and includes have
not changed since they last passed are not compiled again (BUILD_DIR/rules-headers.json).
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sources  # noqa: E402

TAKES_VALUE = ("-o", "-MF", "-MT", "-MQ")
DROPPED = ("-c", "-MD", "-MMD")


def commands(build):
    """{source relative to the root: its compiler and flags, without the file and the outputs}"""
    out = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        try:
            name = pathlib.Path(entry["file"]).resolve().relative_to(sources.ROOT).as_posix()
        except ValueError:
            continue
        words, kept, skip = shlex.split(entry["command"]), [], False
        for word in words:
            if skip or word in TAKES_VALUE:
                skip = not skip
            elif word not in DROPPED and word != entry["file"] and not word.endswith("ccache"):
                kept.append(word)
        out[name] = kept
    return out


def nearest(header, known):
    """The source that shares the longest path with the header."""
    return max(sorted(known), key=lambda s: len(os.path.commonprefix([header, s])))


def check(header, command):
    text = f'#include "{header}"\n#include "{header}"\n'
    done = subprocess.run(command + ["-x", "c++", "-fsyntax-only", "-"], input=text, text=True, capture_output=True,
                          cwd=sources.ROOT)
    return done.returncode, done.stderr


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    known, memory = commands(build), build / "rules-headers.json"
    passed = json.loads(memory.read_text()) if memory.exists() else {}
    headers, todo, now = sources.files(suffixes=(".h",)), {}, {}
    for header in headers:
        command = known[nearest(header, known)]
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
    sources.finish("headers", len(headers), violations)


if __name__ == "__main__":
    main()
