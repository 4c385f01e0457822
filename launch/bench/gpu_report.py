"""What gpu_check.py concludes from, apart from running anything: losses compared, test counts, sanitizer logs, the budget
of time, the table of figures and its targets, the JSON. Tested by tests/launch/bench/gpu_report_test.py."""
import json
import re

LOSSES = ("loss", "loss_spot", "loss_niche", "loss_cross")


def read_jsonl(text):
    """What of its lines is JSON: the last one of a program that was ended may be half a line."""
    found = []
    for line in text.splitlines():
        try:
            found += [json.loads(line)] if line.startswith("{") else []
        except ValueError:
            pass
    return found


def compare_losses(a, b, steps, bound):
    """(problem or "", worst relative difference) of the losses of two runs' metrics.jsonl lines. NaN is a problem."""
    if len(a) != steps or len(b) != steps:
        return f"expected {steps} steps of both, got {len(a)} and {len(b)}", None
    worst = (0.0, 0, "loss")
    for x, y in zip(a, b):
        for key in LOSSES:
            p, q = x.get(key), y.get(key)
            if p is None or q is None or p != p or q != q:
                return f"step {x.get('step')}: {key} is {p} and {q}", None
            worst = max(worst, (abs(p - q) / max(abs(p), abs(q), 1e-30), x.get("step"), key))
    if not worst[0] <= bound:
        return f"{worst[2]} of step {worst[1]} differs by {worst[0]:.2g} relative, bound {bound:g}", worst[0]
    return "", worst[0]


def compare_embeddings(text, bound):
    """(problem, worst difference) from what `inspect --against` printed."""
    found = re.findall(r"obsm\['(\w+)'\]\s+largest difference (\S+)", text)
    found = [(key, float(value)) for key, value in found if key != "spatial"]
    if not found:
        return "no embeddings were compared", None
    bad = [f"{key} by {value:g}" for key, value in found if not value <= bound]
    worst = max((value for _, value in found if value == value), default=None)
    return (f"embeddings differ: {', '.join(bad)}; bound {bound:g}" if bad else ""), worst


def without_colours(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text)  # mpirun's ranks write to a terminal of its making


def failed_tests(text):
    """{name: what it said first} of a GoogleTest program's failed tests, a few: logs may stay on the machine."""
    failed, said = {}, []
    for line in without_colours(text).splitlines():
        if line.startswith("[ RUN      ]"):
            said = []
        elif name := re.match(r"\[  FAILED  \] ([\w/]+\.[\w/]+)", line):
            if name[1] not in failed and len(failed) < 20:
                failed[name[1]] = "\n".join(said)[:600]
        else:
            said.append(line)
    return failed


def count_tests(text, cut):
    """(passed, failed, skipped, problem) of a GoogleTest program's output; cut: it was ended before it was done."""
    text = without_colours(text)
    passed = len(re.findall(r"^\[       OK \]", text, re.M))
    failed = len(set(re.findall(r"^\[  FAILED  \] ([\w/]+\.[\w/]+)", text, re.M)))
    skipped = len(set(re.findall(r"^\[  SKIPPED \] ([\w/]+\.[\w/]+)", text, re.M)))
    begun = re.search(r"Running (\d+) tests?", text)
    expected = int(begun[1]) if begun else 0
    problem = ""
    if cut:
        problem = f"ran out of time after {passed + failed + skipped} of {expected} tests"
    elif expected == 0:
        problem = "no test ran"
    elif passed + failed + skipped < expected:
        problem = f"ended badly after {passed + failed + skipped} of {expected} tests"
    return passed, failed, skipped, problem


# How the reports of compute-sanitizer's manual begin: memcheck's accesses, exceptions of the hardware, allocations and
# leaks; racecheck's hazards; initcheck; synccheck. Not "Program hit": a failed CUDA call is no error of a kernel, and
# libraries try calls that may fail. Not how a process ended either.
FINDING = re.compile(
    r"========= (?:error: )?("
    r"invalid \w*__\w+__|invalid (?:address|pc)\b|misaligned|out-of-range|illegal|stack overflow|"
    r"(?:warp|lane|device|hardware|kernel)\b.*(?:illegal|invalid|misaligned|out[- ]of|overflow|exception|assert|fault)|"
    r"malloc/free|leaked |use-(?:before|after)|stream-ordered|tensor memory |"
    r"race reported|potential (?:raw|waw|war|invalid) |deadlock |uninitialized |unused |barrier error|warpgroup mma)", re.I)
WARNING = re.compile(r"========= (?:warning|warn|internal)\b", re.I)  # of a warp's lockstep, or that it may have missed some


def sanitizer_findings(text):
    """What compute-sanitizer reported, one line each; empty when nothing. What belongs to a report is indented."""
    return [line[10:].strip() for line in text.splitlines() if FINDING.match(line)]


def sanitizer_warnings(text):
    """Its warnings: worth a look, no failure."""
    return [line[10:].strip() for line in text.splitlines() if WARNING.match(line)]


def sanitizer_options(tool, help_text):
    """Arguments for that tool of the compute-sanitizer whose --help this is. Two tensors may lie end to end: padding lets
    memcheck see a kernel that runs from one into the next."""
    if tool != "memcheck":
        return []
    return ["--report-api-errors", "no"] + (["--padding", "256"] if "--padding" in help_text else [])


def sanitizer_is_blind(text):
    """Whether compute-sanitizer says that it cannot look at this GPU: a sandbox hides the interface for debuggers."""
    return any(line.startswith("=========") and "Device not supported" in line for line in text.splitlines())


def kernel_filter(help_text):
    """Arguments by which compute-sanitizer, whose --help this is, looks at kernels of ours alone: `spn` is in their names,
    mangled or not, and in no library's. Empty where it has no such option."""
    for option in ("--kernel-name", "--filter"):  # of today's, and of older ones
        if re.search(rf"(^|\s){option}\b(?!-)", help_text):
            return [option, "kns=spn"]
    return []


def gpu_of(text):
    """The GPU that `spotniche --version` names, as kernels/devices.h writes it; empty when none."""
    found = re.search(r"^\s+cuda: (.+)$", text, re.M)
    whole = re.fullmatch(r"(.+), (\d+\.\d+), ([\d.]+) GiB", found[1].strip()) if found else None
    if whole:
        return {"name": whole[1], "compute": whole[2], "memory_gib": float(whole[3])}
    return {"name": found[1].strip()} if found else {}


def libraries_of(text):
    """Versions of NVIDIA's libraries that `spotniche --version` names."""
    words = {"cuda": r"^CUDA +CUDA ([\d.]+)", "cublaslt": r"cuBLASLt (\d+)", "cudnn": r"cuDNN ([\d.]+)",
             "nccl": r"^NCCL +NCCL ([\d.]+)"}
    found = {name: re.search(pattern, text, re.M) for name, pattern in words.items()}
    return {name: m[1] for name, m in found.items() if m}


def said_of_libraries(ours, torch):
    """In a line: whether both sides of a ratio computed with the same."""
    if not ours:
        return "this build of ours has no CUDA"
    other = [f"{name} {ours[name]} here, {torch[name]} there" for name in ("cublaslt", "cudnn", "nccl")
             if ours.get(name) and torch.get(name) and ours[name] != torch[name]]
    unknown = [name for name in ("cublaslt", "cudnn", "nccl") if ours.get(name) and not torch.get(name)]
    return "; ".join(other + [f"PyTorch's {name} unknown" for name in unknown]) or "the same libraries on both sides"


class Budget:
    """Shares of the time: a part gets its own limit, and no more than what is left; of nine minutes `reserve` seconds
    stay for what comes after the parts that do not say otherwise. More minutes stretch the limits, fewer do not shorten
    them: a part takes the time that it takes."""

    def __init__(self, seconds, now, reserve=0):
        self.now, self.reserve, self.scale = now, reserve * seconds / 540, max(1, seconds / 540)
        self.end = now() + seconds

    def left(self):
        return self.end - self.now()

    def share(self, limit, may_use_reserve):
        """Seconds for a part that should take `limit` of nine minutes; 0 when less than half of them are left."""
        left = self.left() - (0 if may_use_reserve else self.reserve)
        seconds = min(limit * self.scale, left)
        return seconds if seconds >= limit * self.scale / 2 else 0


# (row, work, unit, floor, higher is better, at least, aim). Targets: ("ratio", x) over PyTorch, ("value", x),
# ("of_copy", x), ("extra_bytes", x) at most. As in the issue that set them, on one H200.
TARGETS = {
    "loss": ("loss, B 32,768, d 1,024", "ms", "11.1 (4 products)", False, [("ratio", 1.0), ("extra_bytes", 1e9)], [("ratio", 2.0)]),
    "step32": ("step, S 32, cached features", "pairs/s", "41,800 (15 passes)", True, [("ratio", 1.2)],
               [("ratio", 2.0), ("value", 30000)]),
    "step224": ("step, S 224, cached features", "images/s", "12,900 (15 passes)", True, [("ratio", 1.0)], [("ratio", 1.3)]),
    "vit": ("ViT-L/16 encode", "images/s", "6,417", True, [("ratio", 0.9)], [("value", 4800)]),
    "attention_long": ("attention, 197 tokens", "GB/s", "copy", True, [("ratio", 0.9)], [("ratio", 1.0)]),  # of our own
    "adamw": ("AdamW, full model", "GB/s", "copy", True, [("of_copy", 0.85)], [("of_copy", 0.92)]),
    "adamw_copy": ("AdamW and its bf16 copy", "GB/s", "copy", True, [("of_copy", 0.85)], [("of_copy", 0.92)]),
}
TARGET_BATCH = {"loss": 32768, "step32": 4096, "step224": 256, "vit": 256}  # at another one a figure has no target
KERNELS = ("layer_norm_fwd", "layer_norm_branch", "layer_norm_bwd", "attention_fwd", "attention_bwd",
           "attention_dropout_fwd", "attention_dropout_bwd", "attention_long", "image_embed", "image_augment",
           "batch_norm_apply", "adamw", "adamw_copy")
MEASURED = ("loss", "step32", "vit", "step224", "kernels")  # parts that give figures
KERNEL = ("GB/s", "copy", True, [("of_copy", 0.75)], [("of_copy", 0.90)])


def reserve(only):
    """Seconds of nine minutes that the figures among these parts (all, when nobody picks) need; profiles need fewer."""
    kinds = {part.split(":")[0] for part in only or ["torch"]}
    return 280 if kinds & {*MEASURED, "torch"} else 80 if "profile" in kinds else 0


def target_of(row):
    return TARGETS[row] if row in TARGETS else (row.replace("_", " "),) + KERNEL


def reached(targets, figure):
    """True, False, or None when something that is asked for was not measured."""
    answers = []
    for kind, bound in targets:
        value = figure.get(kind)
        answers.append(None if value is None or value != value else value <= bound if kind == "extra_bytes" else value >= bound)
    if False in answers:
        return False
    return None if None in answers else True


def make_figure(row, value, peer, **more):
    """value and peer in the row's unit; ratio: how many times as fast as PyTorch."""
    name, unit, floor, higher, at_least, aim = target_of(row)
    figure = {"row": row, "work": name, "unit": unit, "floor": floor, "value": value, "torch": peer, "ratio": None, **more}
    if value and peer:
        figure["ratio"] = value / peer if higher else peer / value
    judge = (lambda targets: None) if other_batch(figure) else (lambda targets: reached(targets, figure))
    figure["reached_least"], figure["reached_aim"] = judge(at_least), judge(aim)
    return figure


def other_batch(figure):
    """The batch of a figure, where its targets are for another one."""
    batch = figure.get("batch")
    return batch if batch is not None and batch != TARGET_BATCH.get(figure["row"], batch) else None


def said(targets):
    words = {"ratio": "{:g} x", "value": "{:,.0f}", "of_copy": "{:.0%} of copy", "extra_bytes": "<= {:.0e} B"}
    return ", ".join(words[kind].format(bound) for kind, bound in targets)


def number(x):
    return "-" if x is None else f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}"


def verdict(figure):
    if other_batch(figure):
        return f"- (batch {other_batch(figure):,})"
    if figure["reached_least"] is None:
        return "?"
    if not figure["reached_least"]:
        return "below"
    return "aim" if figure["reached_aim"] else "at least"


def table(figures):
    rows = [["work", "ours", "PyTorch", "unit", "ratio", "of copy", "at least", "aim", "reached", "floor"]]
    for f in figures:
        _, _, _, _, at_least, aim = target_of(f["row"])
        of_copy = f.get("of_copy")
        rows.append([f["work"], number(f["value"]), number(f["torch"]), f["unit"],
                     "-" if f["ratio"] is None else f"{f['ratio']:.2f}", "-" if of_copy is None else f"{of_copy:.0%}",
                     said(at_least), said(aim), verdict(f), f["floor"]])
    wide = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(r, wide)).rstrip() for r in rows)


def said_of_profile(j):
    """What takes the time of a step, in a line: the first five entries of the kernel table, and how near each is to the
    copy or product rate that bounds it."""
    first = ", ".join(f"{e['entry']} {e['share']:.0%} ({e['bound']} {e['of_bound']:.0%})" for e in j["entries"][:5])
    return f"{first}; outside entries {j['outside_entries']:.0%} of {j['ms_a_step']:.1f} ms; floor {j['floor']:.0%}"


STATUS = ("passed", "failed", "skipped", "cut")


def counts(parts):
    """By status. Parts of several tests count each of them; one that was cut counts as that besides."""
    total = [0, 0, 0, 0]
    for p in parts:
        of = [p["status"] == s for s in STATUS]
        if p.get("tests"):
            of = [*p["tests"], p["status"] == "cut"]
        total = [a + int(b) for a, b in zip(total, of)]
    return total


def last_line(parts):
    *three, cut = counts(parts)
    return "{} passed, {} failed, {} skipped".format(*three) + (f", {cut} cut" if cut else "")


def report(machine, options, parts, figures, seconds):
    for figure in figures:
        figure.setdefault("date", options.get("date"))
    return {"format": "spotniche-gpu-check", "version": 2, **options, "machine": machine, "parts": parts,
            "figures": figures, **dict(zip(STATUS, counts(parts))), "seconds": round(seconds, 1)}


def read_json(path):
    """gpu-check.json of an earlier call; an error where it is none that `joined` can go on from."""
    result = json.loads(path.read_text())
    if result["format"] != "spotniche-gpu-check" or result["version"] != 2:
        raise ValueError("of another version")
    counts(result["parts"])
    _ = [(p["part"], p["status"]) for p in result["parts"]], [(f["row"], f["torch"]) for f in result["figures"]]
    _ = {**result["machine"]}, result["seconds"] + 1
    return result


def joined(before, result):
    """What an earlier call found and this one did not: a part that was skipped or cut now replaces none that came to an
    end, and a figure without PyTorch's none that has it (both sides of a row are of one call)."""
    if not before:
        return result
    weight = {"skipped": 0, "cut": 1, "passed": 2, "failed": 2}
    parts = {p["part"]: p for p in before["parts"]}
    for p in result["parts"]:
        if weight[p["status"]] >= weight[parts.get(p["part"], p)["status"]]:
            parts[p["part"]] = p
    figures = {f["row"]: f for f in before["figures"]}
    figures.update({f["row"]: f for f in result["figures"] if f["torch"] or not figures.get(f["row"], f)["torch"]})
    machine = {**before["machine"], **{k: v for k, v in result["machine"].items() if v}}
    return {**result, "machine": machine, "parts": list(parts.values()), "figures": list(figures.values()),
            **dict(zip(STATUS, counts(parts.values()))), "seconds": round(before["seconds"] + result["seconds"], 1)}


def write_json(path, result):
    """Strict JSON: what is not a number is null, so that any reader takes it."""
    def clean(x):
        if isinstance(x, dict):
            return {k: clean(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)):
            return [clean(v) for v in x]
        return None if isinstance(x, float) and (x != x or x in (float("inf"), float("-inf"))) else x

    aside = path.with_suffix(".new")  # whoever ends this script between two parts finds a whole file
    aside.write_text(json.dumps(clean(result), indent=1, allow_nan=False) + "\n")
    aside.replace(path)
