"""The course of gpu_check.sh, which says how to call it: runs the parts one after the other, each under its share of the
time, keeps their output in logs, and writes gpu-check.json. What is concluded from the output is in gpu_report.py.

A part passes, fails, or is skipped with the reason said; a figure that was measured has passed, and the table says
which target it reached."""
import argparse
import datetime
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gpu_report as report  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]  # of the sources, or of the bundle's src
TINY, FULL, FULL_224 = (str(ROOT / "configs" / "model" / name) for name in ("tiny.cfg", "st_align.cfg", "st_align_224.cfg"))


class Skip(Exception):
    pass


class Failed(Exception):
    pass


class Check:
    def __init__(self, args):
        self.a, self.cuda = args, args.device == "cuda"
        self.out = Path(args.output).resolve()
        (self.out / "logs").mkdir(parents=True, exist_ok=True)
        self.bin = Path(args.bin or os.environ.get("SPN_BINARY_DIR") or ROOT / "build").resolve()
        self.spotniche = str(self.bin / "spotniche")
        # what the benchmarks need stays theirs, however slow the tests are
        self.budget = report.Budget(60 * args.minutes, time.monotonic, reserve=0 if args.small else 255)
        self.parts, self.figures, self.machine, self.made, self.torch = [], [], {}, {}, None
        self.env = dict(os.environ, SPN_REQUIRE_CUDA="1" if self.cuda else "")
        if self.cuda:  # one GPU, also where there are more: figures and the two ranks on it are of that one
            self.env["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        elif args.small:
            self.env["OMP_NUM_THREADS"] = "1"

    # --- running -------------------------------------------------------------------------------------------------
    def run(self, log, command, limit, env=None):
        """(status, text, cut): the whole process group is ended at the limit; status None then."""
        path = self.out / "logs" / (log + ".log")
        with open(path, "w") as f:
            f.write("$ " + " ".join(map(str, command)) + "\n")
            f.flush()
            p = subprocess.Popen(list(map(str, command)), stdout=f, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                 env={**self.env, **(env or {})}, start_new_session=True, cwd=self.out)
            try:
                status = p.wait(timeout=limit)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGTERM)
                try:
                    p.wait(timeout=3)
                except subprocess.TimeoutExpired:
                    os.killpg(p.pid, signal.SIGKILL)
                    p.wait()
                status = None
        return status, path.read_text(errors="replace"), status is None

    def must(self, log, command, limit, env=None):
        status, text, cut = self.run(log, command, limit, env)
        if cut:
            raise Failed(f"{log}: not done after {limit:.0f} s, see logs/{log}.log")
        if status != 0:
            said = [s for s in text.strip().splitlines()[1:] if "error" in s.lower()] or text.strip().splitlines()[-1:]
            raise Failed(f"{log}: status {status}, {said[0].strip()[:240]}; see logs/{log}.log")
        return text

    def part(self, name, limit, body, reserve=False):
        if self.a.only and name.split(":")[-1] not in self.a.only and name != "ladders":
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
        except Failed as why:
            entry.update(status="failed", note=str(why))
        entry["seconds"] = round(time.monotonic() - start, 1)
        self.parts.append(entry)
        print(f"{entry['status'].upper():8} {name:14} {entry['seconds']:6.1f} s  {entry['note']}", flush=True)

    @staticmethod
    def skip(why):
        raise Skip(why)

    # --- correctness -----------------------------------------------------------------------------------------------
    def device(self, seconds, entry):
        text = self.must("version", [self.spotniche, "--version"], seconds)
        self.machine["spotniche"] = [s for s in text.splitlines()[1:] if s]
        about = Path(os.environ.get("SPN_BUNDLE", "/nonexistent")) / "about.txt"
        if about.exists():
            self.machine["bundle"] = about.read_text().splitlines()
        if not self.cuda:
            return "cpu"
        if shutil.which("nvidia-smi"):
            query = "name,driver_version,memory.total"
            smi = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "-i",
                                  self.env["CUDA_VISIBLE_DEVICES"]], stdout=subprocess.PIPE, text=True).stdout
            if smi.count(",") >= 2:
                self.machine["gpu"] = dict(zip(query.split(","), [s.strip() for s in smi.splitlines()[0].split(",")]))
        if not re.search(r"^\s+cuda: ", text, re.M):
            raise Failed("spotniche sees no GPU; see logs/version.log and nvidia-smi")
        return self.machine.get("gpu", {}).get("name", "")

    def test_program(self):
        name = "test_cuda" if self.cuda else "test_cuda_emulated"
        if not (self.bin / name).exists():
            raise Skip(f"there is no {self.bin / name}")
        program = [self.bin / name]
        if self.a.small:
            suites = [s for s in self.must("suites", program + ["--gtest_list_tests"], 30).splitlines() if re.match(r"\w+\.", s)]
            program.append("--gtest_filter=" + suites[0].split()[0] + "*")
        return program

    def tests(self, seconds, entry):
        status, text, cut = self.run("tests", self.test_program(), seconds)
        passed, failed, skipped, problem = report.count_tests(text, cut)
        entry["tests"] = [passed, failed, skipped]
        if failed or problem or status != 0:
            if not failed:
                entry["tests"][1] = 1
            raise Failed(f"{failed} failed, {problem or 'see'} logs/tests.log")
        return f"{passed} passed, {skipped} skipped"

    def sanitizer(self, tool):
        def body(seconds, entry):
            if not self.cuda:
                raise Skip("compute-sanitizer looks at kernels on a GPU")
            found = shutil.which("compute-sanitizer") or next(
                (str(p) for home in (os.environ.get("CUDA_HOME"), "/usr/local/cuda") if home
                 for p in (Path(home) / "bin/compute-sanitizer", Path(home) / "compute-sanitizer/compute-sanitizer")
                 if p.exists()), None)
            if not found:
                raise Skip("compute-sanitizer is not here (PATH, CUDA_HOME)")
            status, text, cut = self.run(tool, [found, "--tool", tool, "--error-exitcode", "9", "--target-processes", "all",
                                                "--print-limit", "20"] + self.test_program(), seconds)
            findings = report.sanitizer_findings(text)
            passed, failed, skipped, problem = report.count_tests(text, cut)
            if findings:
                raise Failed(f"{findings[0]} ({len(findings)} in all); see logs/{tool}.log")
            if cut:
                if not passed:
                    raise Skip(f"{problem}; give --minutes")
                # each test that came through was looked at; the rest is said, not counted
                entry["not_reached"] = problem
                return f"nothing found, but {problem}"
            if status != 0 or failed or problem:
                raise Failed(f"status {status}, {failed} tests failed under it, {problem}; see logs/{tool}.log")
            return f"nothing found in {passed} tests"
        return body

    def pack(self):
        if "pack" not in self.made:
            slides, pack = self.out / "slides", self.out / "train.h5"
            shutil.rmtree(slides, ignore_errors=True)
            spots = "48" if self.a.small else "400"
            self.must("synth", [self.spotniche, "synth", "--slides", "2", "--spots", spots, "--genes", "600", "--technology",
                                "ST", "--output", slides], 60)
            pack.unlink(missing_ok=True)  # of a run before this one
            self.must("prepare", [self.spotniche, "prepare", "--format", "stimage-1k4m", "--input", slides, "--gene-count",
                                  "512", "--output", pack], 60)
            self.made["pack"] = str(pack)
        return self.made["pack"]

    def steps(self, n):
        return 3 if self.a.small else n

    def pretrain(self, name, steps, device, seconds, more=(), before=None, env=None):
        """metrics.jsonl of a run of the tiny model; `before`: makes the command of several ranks."""
        output = self.out / name
        shutil.rmtree(output, ignore_errors=True)
        command = [self.spotniche, "pretrain", "--config", TINY, "--pack", self.pack(), "--output", output, "--steps", steps,
                   "--global-batch", 16 if self.a.small else 64, "--device", device, *more]
        self.must(name, before(command) if before else command, seconds, env)
        return report.read_jsonl((output / "metrics.jsonl").read_text())

    def compare(self, a, b, steps, bound, entry):
        problem, worst = report.compare_losses(a, b, steps, bound)
        entry["worst"] = worst
        if problem:
            raise Failed(problem)
        return f"losses of {steps} steps differ by at most {worst:.2g} relative, bound {bound:g}"

    def ranks(self, seconds, entry):
        n = self.steps(20)
        one = self.pretrain("one-rank", n, self.a.device, seconds / 3)

        def on_two(command):
            # to NCCL they are two hosts, or it would refuse to use one GPU twice
            half = lambda r: ["-np", "1", "-x", f"NCCL_HOSTID=spotniche-{r}", *command]  # noqa: E731
            return ["mpirun", *half(0), ":", *half(1)]

        sockets = {"NCCL_SOCKET_IFNAME": "lo", "NCCL_P2P_DISABLE": "1", "NCCL_SHM_DISABLE": "1", "NCCL_IB_DISABLE": "1",
                   "NCCL_NET": "Socket"}
        two = self.pretrain("two-ranks", n, self.a.device, 2 * seconds / 3, before=on_two, env=sockets)
        return self.compare(one, two, n, 1e-4, entry)

    def curve(self, seconds, entry):
        n = self.steps(50)
        on_cpu = self.pretrain("curve-cpu", n, "cpu", seconds * 0.7)
        self.made["run"] = str(self.out / "curve-cpu")
        on_device = self.pretrain("curve-device", n, self.a.device, seconds * 0.3)
        self.compare(on_cpu[:20], on_device[:20], min(n, 20), 1e-4, entry)
        return self.compare(on_cpu, on_device, n, 1e-3, entry)

    def graph(self, seconds, entry):
        n = self.steps(20)
        runs = [self.pretrain("graph-" + mode, n, self.a.device, seconds / 2, ["--cuda-graph", mode]) for mode in ("auto", "off")]
        return self.compare(*runs, n, 1e-6, entry)

    def embed(self, seconds, entry):
        if "run" not in self.made:
            self.pretrain("embed-run", 3, "cpu", seconds / 2)
            self.made["run"] = str(self.out / "embed-run")
        files = [self.out / f"embedded-{i}.h5ad" for i in ("cpu", "device")]
        for file, device in zip(files, ("cpu", self.a.device)):
            file.unlink(missing_ok=True)
            self.must(file.stem, [self.spotniche, "embed", "--checkpoint", self.made["run"], "--pack", self.pack(), "--output",
                                  file, "--device", device], seconds / 3)
        text = self.must("embedded", [self.spotniche, "inspect", files[0], "--against", files[1]], 30)
        problem, entry["worst"] = report.compare_embeddings(text, 1e-4)
        if problem:
            raise Failed(problem)
        return f"embeddings differ by at most {entry['worst']:.2g}, bound 0.0001"

    # --- figures -----------------------------------------------------------------------------------------------------
    def sizes(self):
        """Per row: arguments of `spotniche bench`, arguments of torch_peer.py, and how a figure is read from each."""
        common = ["--device", self.a.device, "--precision", "bf16"]
        memory = float(self.machine.get("gpu", {}).get("memory.total", 0))
        batch = 4096 if memory > 100e3 else 2048  # of the 32-px step, whose activations are 14 MB a pair
        rate = (lambda j: j["pairs_per_s"]), (lambda j: j["pairs_per_s"])
        seconds = (lambda j: j["seconds"] * 1e3), (lambda j: j["seconds"] * 1e3)
        if self.a.small:
            tiny = ["--config", TINY]
            step = ["step", *tiny, "--steps", 1, "--warm-up", 1, "--global-batch", 8, "--features", "--vit-frozen", "true"]
            peer = [*tiny, "--batch", 8, "--steps", 1, "--warmup", 1, "--features", "--set", "vit_frozen=true"]
            return {"loss": (["loss", "--global-batch", 64, "--width", 32, "--repeats", 1, *common],
                             ["--work", "loss", "--batch", 64, "--width", 32, "--steps", 2, *common], seconds),
                    "step32": ([*step, *common], [*peer, *common], rate),
                    "step224": ([*step, "--resnet-stem", "imagenet", *common], [*peer, "--set", "resnet_stem=imagenet", *common], rate),
                    "vit": (["part", *tiny, "--batch", 2, "--steps", 1, *common],
                            ["--part", "niche_image", *tiny, "--batch", 2, "--steps", 1, *common],
                            ((lambda j: j["images_per_s"]), rate[1]))}
        step = ["step", "--features", "--steps", 10, "--warm-up", 3, *common]
        peer = ["--features", "--steps", 10, "--compile", *common]
        return {"loss": (["loss", "--global-batch", 32768, "--width", 1024, "--repeats", 5, *common],
                         ["--work", "loss", "--batch", 32768, "--width", 1024, "--steps", 10, "--compile", *common], seconds),
                "step32": ([*step, "--config", FULL, "--global-batch", batch], [*peer, "--config", FULL, "--batch", batch], rate),
                "step224": ([*step, "--config", FULL_224, "--global-batch", 256], [*peer, "--config", FULL_224, "--batch", 256], rate),
                "vit": (["part", "--config", FULL, "--batch", 256, "--steps", 10, "--warm-up", 3, *common],
                        ["--part", "niche_image", "--config", FULL, "--batch", 256, "--steps", 10, "--compile", *common],
                        ((lambda j: j["images_per_s"]), rate[1]))}

    def bench(self, name, arguments, seconds):
        """JSON lines of `spotniche bench`; a benchmark that this build does not know is skipped, not failed."""
        status, text, cut = self.run(name, [self.spotniche, "bench", *arguments], seconds)
        if status == 2 and "expected what to time first" in text:
            raise Skip(f"this build has no `bench {arguments[0]}`")
        if status != 0:
            raise Failed(f"{'not done in time' if cut else f'status {status}'}; see logs/{name}.log")
        return report.read_jsonl(text)

    def peer(self, name, arguments, seconds):
        """torch_peer.py, with less help where PyTorch itself fails: without the graph, then without compilation."""
        if self.torch is None:
            tried = subprocess.run([sys.executable, "-c", "import torch; print(torch.__version__)"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
            self.torch = tried.stdout.strip() if tried.returncode == 0 else ""
            self.machine["torch"] = self.torch
        if not self.torch:
            raise Skip(f"{sys.executable} has no PyTorch; set SPN_PYTHON to one that has")
        end = time.monotonic() + seconds
        threads = 1 if self.a.small else os.cpu_count()
        base = [sys.executable, ROOT / "launch/bench/torch_peer.py", "--threads", threads, "--layout", "channels_last"]
        tries = [(arguments, "")]
        if "--compile" in arguments:
            tries += [([*arguments, "--no-graph"], "no CUDA graph"),
                      ([a for a in arguments if a != "--compile"] + ["--no-graph"], "neither compiled nor a CUDA graph")]
        for i, (args, less) in enumerate(tries):
            status, text, cut = self.run(f"{name}{i or ''}", [*base, *args], max(1, end - time.monotonic()))
            if status == 0:
                return report.read_jsonl(text), less
            if cut:
                raise Skip("PyTorch was not done in its time; give --minutes")
        raise Failed(f"PyTorch failed; see logs/{name}.log")

    def measure(self, row):
        ours, peer, (read, read_peer) = self.sizes()[row]

        def own(seconds, entry):
            j = self.bench(row, ours, seconds)[0]
            self.figures.append(report.make_figure(row, read(j), None, extra_bytes=j.get("extra_bytes"), ours=j))
            return f"{report.number(read(j))} {report.target_of(row)[1]}"

        def beside(seconds, entry):
            figure = next((f for f in self.figures if f["row"] == row), None)
            if figure is None:
                raise Skip("there is no figure of ours to compare with")
            lines, less = self.peer("torch-" + row, peer, seconds)
            value = read_peer(lines[0])
            figure.update(report.make_figure(row, figure["value"], value, extra_bytes=figure["extra_bytes"]), torch_run=lines[0],
                          torch_without=less)
            return f"{report.number(value)} {figure['unit']}, ratio {figure['ratio']:.2f}{', ' + less if less else ''}"
        return own, beside

    def own_kernels(self, seconds, entry):
        small = ["--elements", 16384, "--repeats", 2] if self.a.small else []
        lines = [j for j in self.bench("kernels", ["kernels", "--device", self.a.device, *small], seconds) if "kernel" in j]
        if not lines:
            raise Failed("`bench kernels` printed no figures; see logs/kernels.log")
        shipped = {j["kernel"]: j for j in lines}  # the last rung of a kernel is what ships
        for name, j in shipped.items():
            if name.startswith("contrastive"):
                continue  # bound by arithmetic: the row `loss` is its figure
            self.figures.append(report.make_figure(name, j["gb_per_s"], None, of_copy=j["of_copy"], ours=j))
        entry["rungs"] = lines
        missing = [k for k in report.KERNELS if k not in shipped]
        if missing:
            entry["missing"] = missing
            self.part("ladders", 10, lambda *_: self.skip(f"`bench kernels` has no {', '.join(missing)}"), reserve=True)
        return f"{len(shipped)} kernels"

    def torch_kernels(self, seconds, entry):
        common = ["--elements", 16384] if self.a.small else ["--compile"]
        common += ["--device", self.a.device, "--steps", 2 if self.a.small else 30]
        lines, less = self.peer("torch-kernels", ["--work", "kernels", "--precision", "bf16", *common], seconds / 2)
        adamw, _ = self.peer("torch-adamw", ["--work", "adamw", "--features", "--config", TINY if self.a.small else FULL,
                                             *common], seconds / 2)
        compared = 0
        for j in lines + [dict(adamw[0], kernel="adamw")]:
            for figure in self.figures:
                if figure["row"] == j["kernel"]:
                    figure.update(report.make_figure(j["kernel"], figure["value"], j["gbps"], of_copy=figure.get("of_copy")),
                                  torch_run=j, torch_without=less)
                    compared += 1
        entry["figures"] = lines + adamw
        return f"{len(lines) + 1} figures, {compared} beside ours"

    # --- the course -----------------------------------------------------------------------------------------------------
    def course(self):
        if not Path(self.spotniche).exists():
            print(f"gpu_check: expected {self.spotniche}, got no such program; run it from a bundle, or give --bin")
            return 1
        only, self.a.only = self.a.only, None
        self.part("device", 20, self.device, reserve=True)
        self.a.only = only
        if self.parts[0]["status"] == "passed":
            self.part("tests", 120, self.tests)
            self.part("ranks", 40, self.ranks)
            self.part("curve", 45, self.curve)
            self.part("graph", 25, self.graph)
            self.part("embed", 20, self.embed)
            self.part("memcheck", 50, self.sanitizer("memcheck"))
            self.part("racecheck", 45, self.sanitizer("racecheck"))
            rows = [(row, *self.measure(row)) for row in ("loss", "step32", "vit", "step224")]
            for row, own, _ in rows:  # ours first: they take seconds, and what PyTorch compiles takes the rest
                self.part(row, 30, own, reserve=True)
            self.part("kernels", 30, self.own_kernels, reserve=True)
            for row, _, beside in rows:
                self.part("torch:" + row, 90, beside, reserve=True)
            self.part("torch:kernels", 60, self.torch_kernels, reserve=True)
        return self.finish()

    def finish(self):
        print()
        if self.figures:
            print(report.table(self.figures))
        if not self.cuda:
            print("on the CPU: the figures say that this script works, and nothing about speed")
        options = {"date": datetime.date.today().isoformat(), "device": self.a.device, "small": self.a.small}
        seconds = 60 * self.a.minutes - self.budget.left()
        result = report.report(self.machine, options, self.parts, self.figures, seconds)
        path = self.out / "gpu-check.json"
        report.write_json(path, result)
        print(f"{seconds:.0f} s; {path} and logs/ beside it")
        print(report.last_line(self.parts))
        return 1 if result["failed"] or not result["passed"] else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--only", type=lambda s: s.split(","), help="parts, by name, with commas")
    parser.add_argument("--output", default="gpu-check")
    parser.add_argument("--bin", help="where spotniche and the tests lie")
    args = parser.parse_args()
    if args.device == "cpu" and not args.small:
        parser.error("--device cpu needs --small: the sizes of the course are those of a GPU")
    sys.exit(Check(args).course())


if __name__ == "__main__":
    main()
