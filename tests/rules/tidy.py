"""clang-tidy over every source of ours, remembering what passed.

Run: python3 tests/rules/tidy.py BUILD_DIR [--all] [--analyze] [--jobs N]

A source is looked at again when it, a header of ours that it includes, .clang-tidy or clang-tidy itself has changed
(BUILD_DIR/rules-tidy.json); --all forgets. Sources of one top-level folder are looked at together, so that the headers they
share are parsed once, as far as their own names let them share a file; where something is found, one by one. --analyze adds the
path-sensitive clang-analyzer checks (minutes; not remembered). --jobs: batches at a time, by default one a core. What
passed is written down after each batch, so that a run that was stopped goes on. SPN_CLANG_TIDY names the program.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import headers  # noqa: E402
import sources  # noqa: E402

TOGETHER = 8  # sources in one go: longer batches leave a core idle at the end


def program():
    for name in (os.environ.get("SPN_CLANG_TIDY"), "clang-tidy-14", "clang-tidy"):
        if name and shutil.which(name):
            return name
    sys.exit("[tidy] expected clang-tidy-14 on the PATH; run launch/local/install.sh")


def run(tidy, path, flags, analyze):
    # GCC's own warning names mean nothing to clang; batches include sources on purpose.
    checks = ["--checks=" + ("-*,clang-analyzer-*" if analyze else "-bugprone-suspicious-include")]
    done = subprocess.run([tidy, "--quiet", *checks, path, "--", *flags, "-Wno-unknown-warning-option"],
                          text=True, capture_output=True, cwd=sources.ROOT)
    return "" if done.returncode == 0 else done.stdout + ("" if done.stdout else done.stderr)


def look(tidy, build, batch, flags, analyze):
    """{source: what was found}, and the seconds it took"""
    start, found, rest = time.monotonic(), {}, list(batch)
    while len(rest) > 1 and not analyze:  # the analyzer looks at functions of the main file only
        folder = build / "tidy"
        folder.mkdir(exist_ok=True)
        together = folder / (batch[0].replace("/", "_") + ".all.cpp")
        together.write_text("".join(f'#include "{s}"\n' for s in rest))
        said = run(tidy, str(together), flags, analyze)
        named = [s for s in rest if re.search(rf"\b{re.escape(s)}:\d+:\d+: error", said)]
        if said and not named:
            break
        found.update((s, run(tidy, s, flags, analyze)) for s in named)
        rest = [s for s in rest if s not in named]
        if not said:
            return {**found, **{s: "" for s in rest}}, time.monotonic() - start
    found.update((s, run(tidy, s, flags, analyze)) for s in rest)
    return found, time.monotonic() - start


# What a source gives a name to at the left margin: types, aliases, tests, functions and constants.
NAMED = re.compile(r"^(?:(?:struct|class|enum|enum class|union) (\w+)|using (?:[\w:]+::)?(\w+)|TEST\w*\((\w+, \w+)\)"
                   r"|(?!namespace|TEST)[a-zA-Z][^\n(=]*?(?<!::)\b(\w+)(?=\(|\[| =|;|\{))|\b(k[A-Z]\w*)(?=\[| =|\{)", re.M)


def own_names(source):
    """{name: the line, for using-declarations, which may be repeated; else None}"""
    names = {}
    for match in NAMED.finditer((sources.ROOT / source).read_text(encoding="utf-8")):
        line = match.string[match.start():match.string.find("\n", match.end())]
        names[next(filter(None, match.groups()))] = line if line.startswith("using ") else None
    return names


def batches(todo, known):
    """Sources of one top-level folder and set of flags whose names do not clash, at most TOGETHER."""
    groups = {}
    for source in todo:
        names, group = own_names(source), groups.setdefault((source.split("/")[0], " ".join(known[source])), [])
        for batch, taken in group:
            if len(batch) < TOGETHER and not any(n in taken and (line is None or taken[n] != line)
                                                 for n, line in names.items()):
                batch.append(source)
                taken.update(names)
                break
        else:
            group.append(([source], names))
    return sorted((batch for group in groups.values() for batch, _ in group), key=len, reverse=True)


def main():
    build, tidy, analyze = pathlib.Path(sys.argv[1]).resolve(), program(), "--analyze" in sys.argv
    version = subprocess.run([tidy, "--version"], text=True, capture_output=True).stdout
    extra = version + (sources.ROOT / ".clang-tidy").read_text()
    (known, _), memory = headers.commands(build), build / "rules-tidy.json"
    forget = analyze or "--all" in sys.argv
    passed = json.loads(memory.read_text()) if memory.exists() and not forget else {}
    now = {s: sources.checksum(s, extra + " ".join(known[s])) for s in sorted(known)}
    passed = {s: sum_ for s, sum_ in now.items() if passed.get(s) == sum_}
    todo = batches([s for s in now if s not in passed], known)
    violations, slow = [], []
    at_once = int(sys.argv[sys.argv.index("--jobs") + 1]) if "--jobs" in sys.argv else os.cpu_count()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        jobs = [pool.submit(look, tidy, build, b, known[b[0]][1:], analyze) for b in todo]
        for batch, job in zip(todo, jobs):
            found, seconds = job.result()
            slow.append((seconds, f"{os.path.dirname(batch[0])} ({len(batch)})"))
            violations += [f"{s}:\n{found[s]}" for s in found if found[s]]
            if not analyze:
                passed.update((s, now[s]) for s in found if not found[s])
                memory.write_text(json.dumps(passed))
    if slow:
        print("slowest: " + ", ".join(f"{where} {seconds:.0f} s" for seconds, where in sorted(slow)[:-6:-1]))
    sources.finish("tidy", len(known), violations)


if __name__ == "__main__":
    main()
