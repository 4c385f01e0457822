"""What a file may hold: its length, its first comment, and words that do not belong. Run: python3 tests/rules/words.py"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sources  # noqa: E402

MAX_LINES = 400
CODE = (".h", ".cpp", ".cu", ".cuh")
SCRIPTS = (".py", ".sh")
TEXT = CODE + SCRIPTS + (".md", ".cfg", ".cmake", ".txt", ".svg")
LIBRARIES = ("engine/", "kernels/", "data/")

# The two places outside kernels/ that may ask what they are compiled for: philox.h is shared with device code, and core
# includes nothing of ours; half.cpp uses the processor's own conversion where there is one.
MAY_ASK = ("kernels/", "engine/core/philox.h", "data/pack/half.cpp")
# json.cpp is where they are compiled; the others refuse a file while it is parsed.
MAY_COMPILE_JSON = ("engine/core/json.cpp", "engine/ckpt/safetensors_set.cpp", "engine/ckpt/safetensors_header.cpp")
# (what, where it is looked for, pattern, what to do). Split words keep this file from finding itself.
RULES = [
    ("unfinished", lambda p: True, r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b", "finish it or open an issue"),
    ("machine path", lambda p: True, r"(?<![\w.$}])/(wo" r"rk|ro" r"ot|ho" r"me)/\w", "no paths of one machine"),
    ("page elsewhere", lambda p: True, r"\(des" r"ign: |formats\.md §|\brefer" r"ence/anchors", "name a page of docs/"),
    ("fast math", lambda p: not p.endswith(".md"), r"-ffast" r"-math|-O" r"fast\b|funsafe" r"-math", "tests rely on IEEE arithmetic"),
    ("randomness", lambda p: p.endswith(CODE), r"\b(std::)?(mt19937|random_device|s?rand\s*\(|default_random_engine)",
     "use engine/core/philox.h"),
    ("preprocessor", lambda p: p.endswith(CODE) and not p.startswith(MAY_ASK), r"^\s*#\s*(if|ifdef|ifndef|elif|else)\b",
     "no conditional compilation outside kernels/ and CMake"),
    ("ends the process", lambda p: p.endswith(CODE) and p.startswith(LIBRARIES) and not p.startswith("engine/dist/"),
     r"\b(std::)?(exit|_Exit|abort|terminate)\s*\(\s*(\d|\)|EXIT)", "libraries throw; only main ends a run"),
    ("prints", lambda p: p.endswith(CODE) and p.startswith(LIBRARIES) and not p.startswith("engine/core/log"),
     r"std::c(out|err)\b|\b(std::)?printf\s*\(", "use engine/core/log.h"),
    ("compiles JSON anew", lambda p: p.endswith(CODE) and p not in MAY_COMPILE_JSON,
     r"\b(\w*json|Json)::(sax_)?parse\(|(\.|->)dump\(", "use engine/core/json.h"),
    ("compiles fmt anew", lambda p: p.endswith(CODE), r"<fmt/ostream\.h>", "write out << fmt::format(…)"),
    ("namespace in a header", lambda p: p.endswith(".h"), r"^\s*using namespace\b", "headers do not open namespaces"),
    ("NaN passes", lambda p: p.startswith("tests/") and p.endswith(CODE), r"EXPECT_FALSE\s*\([^;]*>[^;]*tol",
     "compare with !(diff <= tol)"),
]
COMPILED = [(what, where, re.compile(pattern, re.M), advice) for what, where, pattern, advice in RULES]


def all_files(root):
    top = [p.name for p in root.iterdir() if p.is_file() and (p.name.endswith(TEXT) or p.suffix == ".json")]
    return sources.files(root, TEXT, sources.TOP + ("cmake", "configs", "docs", ".ci")) + sorted(top)


def first_comment(path, text, root):
    if path.endswith(".cpp") and (root / path).with_suffix(".h").is_file():
        return True  # the header of the same name says it
    lines = [s for s in text.splitlines() if s.strip() and not s.startswith("#!")]
    if not lines:
        return True
    if path.endswith(CODE):
        return lines[0].startswith(("//", "/*"))
    return lines[0].startswith(("#", '"""', "r\"\"\"")) if path.endswith(SCRIPTS) else True


def violations(root):
    out = []
    for path in all_files(root):
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            out.append(f"{path}: not UTF-8")
            continue
        lines = text.count("\n")
        if path.endswith(CODE + SCRIPTS) and lines > MAX_LINES:
            out.append(f"{path}: {lines} lines, at most {MAX_LINES}; split it by purpose")
        if path.endswith(CODE) and path.endswith(".h") and "#pragma once" not in text:
            out.append(f"{path}: no #pragma once")
        if not first_comment(path, text, root):
            out.append(f"{path}:1: the first line says what the file holds, as a comment")
        for what, where, pattern, advice in COMPILED:
            if where(path):
                out += [f"{path}:{text.count(chr(10), 0, m.start()) + 1}: {what}: '{m[0].strip()}'; {advice}"
                        for m in pattern.finditer(text)]
    return out


if __name__ == "__main__":
    sources.finish("words", len(all_files(sources.ROOT)), violations(sources.ROOT))
