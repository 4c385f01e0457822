"""The course of gpu_check.sh, which says how to call it: runs the parts one after the other, each under its share of the
time, keeps their output in logs, and writes gpu-check.json after each. How parts run is in gpu_run.py, what is timed in
gpu_figures.py, what is concluded from output in gpu_report.py.

A part passes, fails, is cut at its limit, or is skipped with the reason said; a figure that was measured has passed, and
the table says which target it reached."""
import argparse
import hashlib
import os
import re
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gpu_report as report  # noqa: E402
from gpu_figures import TINY, Figures  # noqa: E402
from gpu_run import Cut, Failed, Skip, say  # noqa: E402

REAL_SLIDES = "CudaCommands.PretrainAndEmbedRealSlidesAsOnTheCpu"
# Whole models and what only libraries compute; every kernel of ours is in the other suites.
NOT_UNDER_SANITIZERS = [suite + "*" for suite in ("CudaBench", "CudaCommands", "CudaConv", "CudaGemm", "CudaTrain", "*Nccl")]
# What picks among its libraries' candidates with SPN_TUNE=1, as all figures are taken.
TUNED = "CudaGemm*:CudaConv*:CudaContrastive*"
FLOOR = 20  # seconds for a command of a short part: a program that starts on a slow machine is not hanging


class Check(Figures):
    def device(self, seconds, entry):
        end = time.monotonic() + seconds
        text = self.must("version", [self.spotniche, "--version"], seconds)
        self.machine["spotniche"] = [s for s in text.splitlines()[1:] if s]
        # by what is in them: --version says the same of two commits
        bundle = Path(os.environ.get("SPN_BUNDLE", "/nonexistent"))
        folder = bundle / "libexec" if (bundle / "libexec").exists() else self.bin  # its bin/ holds links to a script
        self.machine["programs"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
                                    for name in ("spotniche", "test_cuda") if (folder / name).exists()}
        about = bundle / "about.txt"
        if about.exists():
            self.machine["bundle"] = about.read_text(errors="replace").splitlines()
        self.machine["libraries"] = {"ours": report.libraries_of(text), "folders": os.environ.get("SPN_CUDA_LIBRARIES")}
        if self.cuda:
            self.machine["gpu"] = report.gpu_of(text)
            self.machine["nvidia-smi"] = self.nvidia_smi()
            if not self.machine["gpu"]:
                raise Failed("spotniche sees no GPU; see logs/version.log and nvidia-smi")
        return f"{self.machine.get('gpu', {}).get('name', 'cpu')}, {self.warm_up(end - time.monotonic(), entry)}"

    def nvidia_smi(self):
        """What it says of the GPU, word for word: any of it may be `[N/A]`. Empty when it says nothing."""
        query = "name,driver_version,memory.total,clocks.max.sm,power.limit"
        if not shutil.which("nvidia-smi"):
            return {}
        _, text, _ = self.run("nvidia-smi", ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "-i",
                                             self.env["CUDA_VISIBLE_DEVICES"]], 20)
        lines = [s for s in text.splitlines()[1:] if s.count(",") == query.count(",")]
        return dict(zip(query.split(","), [s.strip() for s in lines[0].split(",")])) if lines else {}

    def warm_up(self, seconds, entry):
        """One tiny step, for what it reads: cuBLASLt's and cuDNN's GB from a disk that may be cold, which would else be
        the time of the first part with a limit. No part fails for it."""
        start = time.monotonic()
        try:
            self.must("warm-up", [self.spotniche, "bench", "step", "--config", TINY, "--global-batch", 8, "--steps", 1,
                                  "--warm-up", 1, "--device", self.a.device, "--precision", "bf16"], seconds)
            entry["warm_up"] = f"warm-up {time.monotonic() - start:.0f} s"
        except Failed as why:
            entry["warm_up"] = f"no warm-up: {why}"
        return entry["warm_up"]

    def test_program(self):
        name = "test_cuda" if self.cuda else "test_cuda_emulated"
        if not (self.bin / name).exists():
            raise Skip(f"there is no {self.bin / name}")
        return self.bin / name

    def tests(self, seconds, entry, log="tests", only=None):
        command = [self.test_program(), "--gtest_filter=" + (only or "-" + REAL_SLIDES)]
        if self.a.small and not only:
            suites = [s for s in self.must("suites", command[:1] + ["--gtest_list_tests"], 30).splitlines() if re.match(r"\w+\.", s)]
            command[1] = "--gtest_filter=" + suites[0].split()[0] + "*"
        return self.judge_tests(log, entry, *self.run(log, command, seconds, {"SPN_REAL_SLIDES": self.slides or ""}))

    def tuned(self, seconds, entry):
        if not self.cuda:
            raise Skip("candidates are those of a GPU's libraries")
        command = [self.test_program(), "--gtest_filter=" + TUNED]
        return self.judge_tests("tuned", entry, *self.run("tuned", command, seconds, {"SPN_TUNE": "1"})) + " with SPN_TUNE=1"

    def judge_tests(self, log, entry, status, text, cut):
        passed, failed, skipped, problem = report.count_tests(text, cut)
        entry["tests"] = [passed, failed, skipped]
        if cut and not failed:
            raise Cut(f"{passed} passed, {skipped} skipped; {problem}, see logs/{log}.log")
        if failed or problem or status != 0:
            entry["failed_tests"] = report.failed_tests(text)
            names = ", ".join(list(entry["failed_tests"])[:3])
            raise Failed(f"{failed} failed{f' ({names})' if names else ''}, {problem or f'status {status}'}; see logs/{log}.log")
        return f"{passed} passed, {skipped} skipped"

    def real_slides(self, seconds, entry):
        if not self.slides:
            raise Skip("NO REAL SLIDES: give --slides or SPN_REAL_SLIDES, a folder in STimage-1K4M layout")
        if not Path(self.slides).is_dir():
            raise Failed(f"{self.slides} is no folder")
        note = self.tests(seconds, entry, "slides", REAL_SLIDES)
        if entry["tests"][0] == 0:
            raise Failed(f"nothing was trained on the slides of {self.slides}; see logs/slides.log")
        return f"{note}: losses, weights and embeddings as on the CPU"

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
            program = self.test_program()
            command = [found, "--tool", tool, "--error-exitcode", "9", "--target-processes", "all", "--print-limit", "20"]
            # our kernels alone: cuBLASLt's and cuDNN's cost most of the time, and not all that racecheck says of them holds
            help_text = self.run("sanitizer-help", [found, "--help"], 20)[1]
            ours = report.kernel_filter(help_text)
            entry["kernels"] = " ".join(ours) or "all, also the libraries': this compute-sanitizer has no filter by name"
            command += report.sanitizer_options(tool, help_text) + ours
            # plain: each tensor an allocation of its own, or an access past its end is one into our own pool; racecheck
            # looks at shared memory alone
            status, text, cut = self.run(tool, [*command, program, "--gtest_filter=-" + ":".join(NOT_UNDER_SANITIZERS)], seconds,
                                         {"SPN_MEMORY": "plain"} if tool == "memcheck" else {})
            findings, warnings = report.sanitizer_findings(text), report.sanitizer_warnings(text)
            entry["warnings"] = warnings[:20]
            passed, failed, skipped, problem = report.count_tests(text, cut)
            warned = f", {len(warnings)} warnings" if warnings else ""
            if passed == 0 and report.sanitizer_is_blind(text):
                raise Skip(f"compute-sanitizer cannot look at this GPU here; see logs/{tool}.log")
            entry["tests"] = [passed, failed, skipped]
            if cut:
                entry["not_reached"] = problem
            if findings:
                raise Failed(f"{findings[0]} ({len(findings)} in all); see logs/{tool}.log")
            if cut and not failed:  # how its process ended says nothing; each test that came through was looked at
                raise Cut(f"nothing found in {passed} tests{warned}; {problem}")
            races = status == 9 and any("Race reported" in line for line in warnings)  # it may count them as errors
            if (status != 0 and not races) or failed or problem:
                how = "" if cut else f"status {status}, "
                raise Failed(f"{how}{failed} tests failed under it, {problem or 'no finding'}; see logs/{tool}.log")
            return f"nothing found in {passed} tests{warned}"
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

    def nccl(self, seconds, entry):
        program = self.bin / "test_dist_nccl"
        if not self.cuda:
            raise Skip("NCCL is for GPUs")
        if not program.exists():
            raise Skip(f"there is no {program}")
        env = {"NCCL_DEBUG": "WARN", **self.rank_timeout(seconds)}
        return self.judge_tests("nccl", entry, *self.run("nccl", ["mpirun", "-np", 2, program], seconds, env)) + " on 2 ranks"

    @staticmethod
    def rank_timeout(seconds):
        """A rank that waits gives up before its part does, and says for what."""
        return {"SPN_RANK_TIMEOUT": f"{max(5, min(20, seconds / 2)):.0f}"}

    def ranks(self, mode):
        """Launched anew first: should NCCL hang inside a captured step alone, the part that does not come back says so."""
        def body(seconds, entry):
            n = self.steps(20)
            if "one-rank" not in self.made:
                self.made["one-rank"] = self.pretrain("one-rank", n, self.a.device, seconds / 3, ["--cuda-graph", "off"])

            def on_two(command):
                # to NCCL they are two hosts, or it would refuse to use one GPU twice
                half = lambda r: ["-np", "1", "-x", f"NCCL_HOSTID=spotniche-{r}", *command]  # noqa: E731
                return ["mpirun", *half(0), ":", *half(1)]

            env = {"NCCL_SOCKET_IFNAME": "lo", "NCCL_P2P_DISABLE": "1", "NCCL_SHM_DISABLE": "1", "NCCL_IB_DISABLE": "1",
                   "NCCL_NET": "Socket", "NCCL_DEBUG": "WARN"}
            limit = self.limit(seconds * 0.6)
            env.update(self.rank_timeout(limit))
            two = self.pretrain("two-ranks-" + mode, n, self.a.device, limit, ["--cuda-graph", mode], on_two, env)
            return self.compare(self.made["one-rank"], two, n, 1e-4, entry)
        return body

    def curve(self, seconds, entry):
        n = self.steps(50)
        on_cpu = self.pretrain("curve-cpu", n, "cpu", max(FLOOR, seconds * 0.7))
        self.made["run"] = str(self.out / "curve-cpu")
        on_device = self.pretrain("curve-device", n, self.a.device, max(FLOOR, seconds * 0.3))
        self.compare(on_cpu[:20], on_device[:20], min(n, 20), 1e-4, entry)
        return self.compare(on_cpu, on_device, n, 1e-3, entry)

    def graph(self, seconds, entry):
        n = self.steps(20)
        runs = [self.pretrain("graph-" + mode, n, self.a.device, max(FLOOR, seconds / 2), ["--cuda-graph", mode])
                for mode in ("auto", "off")]
        return self.compare(*runs, n, 1e-6, entry)

    def embed(self, seconds, entry):
        if "run" not in self.made:
            self.pretrain("embed-run", 3, "cpu", max(FLOOR, seconds / 2))
            self.made["run"] = str(self.out / "embed-run")
        files = [self.out / f"embedded-{i}.h5ad" for i in ("cpu", "device")]
        for file, device in zip(files, ("cpu", self.a.device)):
            file.unlink(missing_ok=True)
            self.must(file.stem, [self.spotniche, "embed", "--checkpoint", self.made["run"], "--pack", self.pack(), "--output",
                                  file, "--device", device], max(FLOOR, seconds / 3))
        text = self.must("embedded", [self.spotniche, "inspect", files[0], "--against", files[1]], 30)
        problem, entry["worst"] = report.compare_embeddings(text, 1e-4)
        if problem:
            raise Failed(problem)
        return f"embeddings differ by at most {entry['worst']:.2g}, bound 0.0001"

    # --- the course -----------------------------------------------------------------------------------------------------
    def course(self):
        if not Path(self.spotniche).exists():
            say(f"gpu_check: expected {self.spotniche}, got no such program; run it from a bundle, or give --bin")
            return 1
        only, self.a.only = self.a.only, None
        self.part("device", 120, self.device, reserve=True)
        self.a.only = only
        if self.parts[0]["status"] == "passed":
            self.go_on()
            self.part("tests", 120, self.tests)
            self.part("tuned", 40, self.tuned)
            self.part("slides", 40, self.real_slides)
            self.part("nccl", 60, self.nccl)
            self.part("ranks:plain", 100, self.ranks("off"))
            self.part("ranks:graph", 80, self.ranks("auto"))
            self.part("curve", 45, self.curve)
            self.part("graph", 25, self.graph)
            self.part("embed", 20, self.embed)
            self.part("memcheck", 50, self.sanitizer("memcheck"))
            self.part("racecheck", 45, self.sanitizer("racecheck"))
            rows = [(row, *self.measure(row)) for row in ("loss", "step32", "vit", "step224")]
            if self.wanted("loss"):
                self.part("panels", 40, self.panels, reserve=True)
            for row, own, _, _ in rows:  # ours first: they take seconds, and what PyTorch compiles takes the rest
                self.part(row, 60, own, reserve=True)
            self.part("kernels", 90, self.own_kernels, reserve=True)
            for row, _, profiled, _ in rows:
                self.part("profile:" + row, 40, profiled, reserve=True)
            if any(self.wanted("torch:" + row) for row in report.MEASURED):
                self.part("torch:libraries", 60, self.torch_libraries, reserve=True)
            for row, _, _, beside in rows:
                self.part("torch:" + row, 150, beside, reserve=True)
            self.part("torch:kernels", 90, self.torch_kernels, reserve=True)
        return self.finish()

    def finish(self):
        if not self.goes_on and (self.out / "gpu-check.json").exists():  # nothing ran: what is there stays
            say(report.last_line(self.parts))
            return 1
        say()
        try:
            result, seconds = self.write()
            if result["figures"]:
                say(report.table(result["figures"]))
            say(f"{seconds:.0f} s; {self.out / 'gpu-check.json'} and logs/ beside it")
        except Exception:  # what was found is in the lines above and in the file of the part before
            say(traceback.format_exc())
        if not self.cuda:
            say("on the CPU: the figures say that this script works, and nothing about speed")
        say(report.last_line(self.parts))
        passed, failed, _, cut = report.counts(self.parts)
        return 1 if failed or cut or not passed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes")
    parser.add_argument("--minutes", type=float, default=9, help="in all; the default leaves room for a limit of 10 from outside")
    parser.add_argument("--only", type=lambda s: s.split(","), help="parts, by name, with commas")
    parser.add_argument("--output", default="gpu-check")
    parser.add_argument("--slides", help="real slides in STimage-1K4M layout (SPN_REAL_SLIDES)")
    parser.add_argument("--bin", help="where spotniche and the tests lie")
    args = parser.parse_args()
    if args.device == "cpu" and not args.small:
        parser.error("--device cpu needs --small: the sizes of the course are those of a GPU")
    for told in (signal.SIGTERM, signal.SIGHUP):  # commands have sessions of their own, and would stay on the GPU
        if signal.getsignal(told) != signal.SIG_IGN:  # as nohup has it
            signal.signal(told, lambda number, _: sys.exit(128 + number))
    sys.exit(Check(args).course())


if __name__ == "__main__":
    main()
