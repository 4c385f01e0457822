"""What gpu_check.py runs its parts with: a command under a limit with its output in a log, a part under its share of the
time, and gpu-check.json, which is written after each part and goes on from what an earlier call left there."""
import datetime
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gpu_process  # noqa: E402
import gpu_report as report  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]  # of the sources, or of the bundle's src


class Skip(Exception):
    pass


class Failed(Exception):
    pass


class Cut(Failed):
    """Ended at its limit: nothing is known to be wrong, and not all of it was seen to be right."""


def say(text=""):
    """A line for whoever looks on. Nobody may: a closed pipe or a full disk ends nothing, as all of it is in the JSON."""
    for words in (text, ascii(text)):  # this locale may lack a letter of what is quoted
        try:
            print(words, flush=True)
            return
        except UnicodeError:
            continue
        except (OSError, ValueError):
            sys.stdout = open(os.devnull, "w")
            return


def quoted(text, last=False):
    """What to quote of a log, whose first line is the command: the first line that speaks of an error, one that is not
    indented (as a traceback's code is) before others, else (or where the caller wants that) its last one."""
    lines = [s for s in text.splitlines()[1:] if s.strip() and not s.startswith("{")]  # no figures
    errors = [s for s in lines if "error" in s.lower()]
    found = lines[-1:] if last else [s for s in errors if not s[0].isspace()] + errors + lines[-1:]
    return found[0].strip()[:240] if found else "without a word"


class Runner:
    def __init__(self, args):
        self.a, self.cuda = args, args.device == "cuda"
        self.out = Path(args.output).resolve()
        (self.out / "logs").mkdir(parents=True, exist_ok=True)
        self.bin = Path(args.bin or os.environ.get("SPN_BINARY_DIR") or ROOT / "build").resolve()
        slides = args.slides or os.environ.get("SPN_REAL_SLIDES")
        self.slides = str(Path(slides).resolve()) if slides else None
        self.spotniche = str(self.bin / "spotniche")
        # what the benchmarks need stays theirs, however slow the tests are
        reserve = 0 if args.small else report.reserve(args.only)
        self.budget = report.Budget(60 * args.minutes, time.monotonic, reserve)
        self.parts, self.figures, self.machine, self.made = [], [], {}, {}
        self.torch, self.no_torch = None, ""  # its version, "" where it cannot be loaded; and why
        self.earlier, self.goes_on = None, False  # gpu-check.json of a call before this one
        self.env = dict(os.environ, SPN_REQUIRE_CUDA="1" if self.cuda else "")
        if self.cuda:  # one GPU, also where there are more: figures and the two ranks on it are of that one
            self.env["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        elif args.small:
            self.env["OMP_NUM_THREADS"] = "1"

    # --- running -------------------------------------------------------------------------------------------------
    def run(self, log, command, limit, env=None):
        """(status, text, cut): at the limit it is ended, with all that it started; status None then."""
        path, words, mark = self.out / "logs" / (log + ".log"), list(map(str, command)), str(time.monotonic_ns())
        grace, said = 2, ""  # also when this script is told to end: who tells it waits no longer
        with open(path, "w") as f:
            f.write("$ " + " ".join(words) + "\n")
            f.flush()
            try:
                p = subprocess.Popen(words, stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=self.out,
                                     start_new_session=True, env={**self.env, **(env or {}), gpu_process.MARK: mark})
            except OSError as why:
                f.write(f"{why}\n")
                raise Failed(f"{log}: {words[0]} cannot be started: {why.strerror}") from why
            try:
                status = p.wait(timeout=self.limit(limit))
            except subprocess.TimeoutExpired:
                status, grace = None, gpu_process.GRACE
            finally:
                said = gpu_process.end_all(p, mark, grace)
        text = path.read_text(errors="replace")
        if said:
            with open(path, "a") as f:
                f.write(f"\ngpu_check: {said}\n")
        return status, text, status is None

    def limit(self, seconds):
        """Of a command: never beyond the end of the whole course."""
        return max(1, min(seconds, self.budget.left()))

    def must(self, log, command, limit, env=None):
        limit = self.limit(limit)
        status, text, cut = self.run(log, command, limit, env)
        if cut:
            raise Cut(f"{log}: not done after {limit:.0f} s, see logs/{log}.log")
        if status != 0:
            raise Failed(f"{log}: status {status}, {quoted(text)}; see logs/{log}.log")
        return text

    def wanted(self, name):
        only, kind = self.a.only, name.split(":")[0]
        if not only or name in ("ladders", "panels", "torch:libraries") or name in only:
            return True
        if kind == "profile":  # by its own name alone: the time of a call that asks for a row is for both sides' figures
            return kind in only
        # PyTorch's figures stand beside ours of the same call
        return bool(set(name.split(":")) & set(only)) or (
            name in report.MEASURED and ("torch" in only or "torch:" + name in only))

    def part(self, name, limit, body, reserve=False):
        """Whatever goes wrong in a part, the others run: the machine is lent once."""
        if not self.wanted(name):
            return
        start, entry = time.monotonic(), {"part": name}
        seconds = self.budget.share(limit, reserve)
        try:
            if not seconds:
                raise Skip("no time is left for it; give --minutes, or --only")
            entry["note"] = body(seconds, entry) or ""
            entry["status"] = "passed"
        except Skip as why:
            entry.update(status="skipped", note=str(why))
        except Cut as why:
            entry.update(status="cut", note=str(why))
        except Failed as why:
            entry.update(status="failed", note=str(why))
        except Exception as why:  # of a kind that nobody thought of
            entry.update(status="failed", note=self.unexpected(name, why))
        except BaseException:
            entry.update(status="cut", note="this script was told to end")
            raise
        finally:
            if entry["status"] == "failed" and entry.get("tests"):  # it failed, whatever its tests say
                entry["tests"][1] = max(1, entry["tests"][1])
            entry["seconds"] = round(time.monotonic() - start, 1)
            self.parts.append(entry)
            if self.goes_on:
                self.keep()
            say(f"{entry['status'].upper():8} {name:14} {entry['seconds']:6.1f} s  {entry['note']}")

    def unexpected(self, name, why):
        log = f"{name.replace(':', '-')}.log"
        try:
            with open(self.out / "logs" / log, "a") as f:
                f.write("\n" + traceback.format_exc())
        except OSError:
            say(traceback.format_exc())
        return f"{type(why).__name__}: {(str(why).strip().splitlines() or ['no message'])[-1][:240]}; see logs/{log}"

    @staticmethod
    def skip(why):
        raise Skip(why)

    # --- the result ----------------------------------------------------------------------------------------------
    def options(self):
        return {"date": datetime.date.today().isoformat(), "device": self.a.device, "small": self.a.small}

    def go_on(self):
        """Called once the machine is known: what an earlier call found with this build on this GPU is kept; another's
        file is put aside."""
        path, self.goes_on = self.out / "gpu-check.json", True
        what = "of another build, GPU or size"
        if path.exists():
            try:
                before = report.read_json(path)
            except (OSError, ValueError, LookupError, TypeError):  # half of one, or something else
                before, what = {}, "unreadable"
            same = all(before.get(k) == v for k, v in self.options().items() if k != "date")
            if same and all(before["machine"].get(k) == self.machine.get(k) for k in ("programs", "gpu")):
                self.earlier = before
                say(f"goes on from {path}: a part that runs again replaces its result there")
            else:
                aside = path.with_suffix(f".{int(path.stat().st_mtime)}.json")
                path.rename(aside)
                say(f"{path.name} here is {what}: now {aside.name}")
        self.keep()

    def write(self):
        seconds = 60 * self.a.minutes - self.budget.left()
        result = report.report(self.machine, self.options(), self.parts, self.figures, seconds)
        result = report.joined(self.earlier, result)
        report.write_json(self.out / "gpu-check.json", result)
        return result, seconds

    def keep(self):
        try:
            self.write()
        except Exception as why:  # a full disk, say; what runs next may still be read on the screen
            say(f"gpu_check: gpu-check.json was not written: {type(why).__name__}: {why}")
