#!/usr/bin/env python3
"""What the parts of gpu_check.py make of a GPU machine's programs, here made up: figures, compute-sanitizer, ranks,
nvidia-smi, and which CUDA libraries gpu_check.sh takes.

  python3 tests/launch/bench/gpu_fakes_test.py
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "launch" / "bench"))
import gpu_check  # noqa: E402
import gpu_figures  # noqa: E402
import gpu_report as report  # noqa: E402
from run_cases import run_cases  # noqa: E402

TESTS = "[==========] Running 2 tests from 1 test suite.\n[       OK ] A.b (0 ms)\n"
BOTH = TESTS + "[       OK ] A.c (0 ms)\n"


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.was = os.environ["PATH"]
        os.environ["PATH"] = f"{self.folder}:{self.was}"
        self.addCleanup(os.environ.__setitem__, "PATH", self.was)

    def check(self, **args):
        a = dict(device="cpu", small=True, minutes=9, only=None, output=self.folder / "out", bin=self.folder, slides=None)
        return gpu_check.Check(type("Args", (), {**a, **args})())

    def gpu(self):
        """As on a GPU, with what is in the folder in place of its programs."""
        return self.check(device="cuda", small=False)

    def limit_once_ready(self, c, limit):
        """A command with that limit has it from when it has touched the file `ready`, however slow the machine is."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)

        def waits(seconds):
            end = time.monotonic() + 60
            while abs(seconds - limit) < 0.5 and not ready.exists() and time.monotonic() < end:
                time.sleep(0.05)
            return seconds
        c.limit = waits

    def program(self, name, script):
        (self.folder / name).write_text("#!/bin/sh\n" + script + "\n")
        (self.folder / name).chmod(0o755)


class Figures(Case):
    def test_kernels_of_a_run_that_was_ended(self):
        c = self.check()
        rung = {"kernel": "adamw", "rung": "x", "shipped": True, "gb_per_s": 2.0, "of_copy": 0.9}
        self.program("spotniche", f"echo '{json.dumps(rung)}'\nprintf '{{\"kernel\": \"lay'\ntouch '{self.folder}/ready'\nexec sleep 30")
        self.limit_once_ready(c, 1)
        c.part("kernels", 100, lambda seconds, entry: c.own_kernels(1, entry))
        self.assertEqual([f["row"] for f in c.figures], ["adamw"])
        kernels = next(p for p in c.parts if p["part"] == "kernels")
        self.assertEqual((kernels["status"], kernels["note"]), ("cut", "not done in time after 1 kernels; see logs/kernels.log"))

    def test_the_fastest_panel_is_measured(self):
        c = self.gpu()
        self.program("spotniche", "case $SPN_LOSS_PANEL in 4096x4096) s=0.5 b=10;; 8192x8192) s=0.1 b=2000000000;; *) s=0.9 b=10;; "
                     "esac\necho '{\"bench\": \"loss\", \"seconds\": '$s', \"extra_bytes\": '$b', \"tuned\": \"'$SPN_TUNE'\"}'")
        c.part("panels", 100, c.panels)
        self.assertEqual(c.made["panel"], "4096x4096")  # the faster one takes too much memory
        c.part("loss", 100, c.measure("loss")[0])
        self.assertEqual([p["status"] for p in c.parts], ["passed", "passed"], c.parts)
        self.assertEqual((c.figures[0]["value"], c.figures[0]["ours"]["panel"], c.figures[0]["ours"]["tuned"]),
                         (500, "4096x4096", "1"))

    def test_no_panel_is_measured(self):
        c = self.gpu()
        self.program("spotniche", "[ -z \"$SPN_LOSS_PANEL\" ] || exec sleep 60\necho '{\"seconds\": 0.5, \"extra_bytes\": 10}'")
        c.part("panels", 100, lambda seconds, entry: c.panels(6, entry))
        c.part("panels", 100, lambda seconds, entry: c.panels(0, entry))
        c.part("loss", 100, c.measure("loss")[0])
        self.assertEqual([p["status"] for p in c.parts], ["skipped", "skipped", "passed"], c.parts)
        self.assertIn("keeps 2048x4096", c.parts[0]["note"])
        self.assertNotIn("panel", c.figures[0]["ours"])

    def test_some_panels_are_measured(self):
        c = self.gpu()
        self.program("spotniche", "[ $SPN_LOSS_PANEL = 2048x4096 ] || exec sleep 60\necho '{\"seconds\": 0.5, \"extra_bytes\": 10}'")
        c.part("panels", 100, lambda seconds, entry: c.panels(7, entry))
        self.assertEqual((c.parts[0]["status"], c.made["panel"]), ("cut", "2048x4096"))

    def test_a_bench_that_prints_nothing(self):
        c = self.check()
        for text in ("", "echo '{\"pairs_per_s\": 1'"):
            self.program("spotniche", text)
            c.part("step32", 100, c.measure("step32")[0])
            c.part("profile:step32", 100, c.measure("step32")[1])
        self.assertEqual({p["status"] for p in c.parts}, {"failed"})
        self.assertEqual({p["note"].split(";")[0] for p in c.parts}, {"no figure was printed"})

    def test_what_went_wrong_is_in_the_note(self):
        """The logs may not come back."""
        rung = {"kernel": "adamw", "rung": "x", "shipped": True, "gb_per_s": 2.0, "of_copy": 0.9, "error": 1e-3}
        self.program("spotniche", f"echo '{json.dumps(rung)}'\necho 'error: it is wrong'\nexit 1")
        self.program("python", "case $1 in *torch_versions.py) exec echo '{\"torch\": \"2.11\"}';; esac\n"
                     "case $* in *--no-graph*) exec echo '{\"seconds\": 1}';; esac\necho '  raise Error'; echo 'Error: no graph'; exit 1")
        c = self.check()
        c.part("step32", 100, c.measure("step32")[0])
        c.part("kernels", 100, c.own_kernels)
        with mock.patch.object(sys, "executable", str(self.folder / "python")):
            c.part("torch", 100, lambda *_: c.peer("torch-x", [], 60))
            lines, less = c.peer("torch-x", ["--compile"], 60)
        self.assertEqual([p["note"] for p in c.parts if p["part"] != "ladders"],
                         ["status 1, error: it is wrong; see logs/step32.log",
                          "status 1 after 1 kernels, error: it is wrong; see logs/kernels.log",
                          "PyTorch failed (status 1, Error: no graph; see logs/torch-x.log)"])
        self.assertEqual((lines, less), ([{"seconds": 1}], "no CUDA graph (status 1, Error: no graph; see logs/torch-x.log)"))

    def test_why_there_is_no_pytorch(self):
        for said, why in (("ModuleNotFoundError: No module named 'torch'", "has no PyTorch; set SPN_PYTHON to one that has"),
                          ("ImportError: libcudnn.so.9: cannot open", "PyTorch was not loaded: ImportError: libcudnn.so.9: cannot open "
                           "(status 1); see logs/torch-libraries.log")):
            c = self.check()
            self.program("python", f"echo 'Error in a warning'\necho \"{said}\"\nexit 1")
            with mock.patch.object(sys, "executable", str(self.folder / "python")):
                c.part("torch:libraries", 100, c.torch_libraries)
                c.part("torch:loss", 100, lambda *_: c.peer("torch-loss", [], 60))
            self.assertEqual([p["status"] for p in c.parts], ["skipped", "skipped"])
            for p in c.parts:
                self.assertIn(why, p["note"])

    def test_what_pytorch_had_measured_is_kept(self):
        c = self.check()
        self.program("python", "case $1 in *torch_versions.py) exec echo '{\"torch\": \"2.11\"}';; esac\n"
                     "[ -n \"$SILENT\" ] || echo '{\"gbps\": 1}'\nprintf '{\"gbps'\nexec sleep 30")
        was, sys.executable = sys.executable, str(self.folder / "python")
        try:
            lines, less = c.peer("torch-kernels", ["--work", "kernels"], 3)
            c.env["SILENT"] = "1"
            with self.assertRaises(gpu_check.Cut):
                c.peer("torch-kernels", ["--work", "kernels"], 2)
        finally:
            sys.executable = was
        self.assertEqual((lines, less, c.machine["torch"]), ([{"gbps": 1}], " (not done in its time)", "2.11"))


class Batch(Case):
    """The 32-px step gets what its targets are for wherever it fits, and the row says which it got."""

    def batch(self, version="", smi=None):
        c = self.gpu()
        c.machine.update(gpu=report.gpu_of(version), **({"nvidia-smi": {"memory.total": smi}} if smi is not None else {}))
        return gpu_figures.batch_of(c.sizes()["step32"][0])

    def test_by_the_memory(self):
        line = "devices   cpu: x, 2 threads\n          cuda: NVIDIA {}, 9.0, {} GiB\n"
        self.assertEqual(self.batch(line.format("H200", "139.8")), 4096)
        self.assertEqual(self.batch(line.format("H200", "139.8"), "[N/A]"), 4096)
        self.assertEqual(self.batch(line.format("H100 80GB HBM3", "79.1")), 2048)
        self.assertEqual(self.batch("          cuda: something new\n", "143771"), 4096)
        self.assertEqual(self.batch("", "81559"), 2048)
        for unknown in ("[N/A]", "", "1.2.3"):
            self.assertEqual(self.batch("", unknown), 2048)

    def test_a_row_says_its_batch_and_has_no_verdict_at_another(self):
        self.program("spotniche", "echo '{\"pairs_per_s\": 40000}'")
        for gib, batch, verdict in ((139.8, "4,096", "?"), (79.1, "2,048", "- (batch 2,048)")):
            c = self.gpu()
            c.machine["gpu"] = {"memory_gib": gib}
            c.part("step32", 100, c.measure("step32")[0])
            self.assertEqual(c.parts[0]["note"], f"40,000 pairs/s, batch {batch}")
            self.assertEqual(report.verdict(c.figures[0]), verdict)


class Device(Case):
    VERSION = ("spotniche 0.1.0\nCUDA      CUDA 13.0, GPU code for 80-real 90a-real 100, driver for 13.0, cuBLASLt 130100, "
               "cuDNN 9.19.0\nNCCL      NCCL 2.28.9\n"
               "devices   cpu: x, 2 threads\n          cuda: NVIDIA H200, 9.0, 139.8 GiB\n")

    def test_a_warm_up_that_fails_fails_nothing(self):
        (self.folder / "version").write_text(self.VERSION)
        self.program("spotniche", f"[ $1 = bench ] || exec cat '{self.folder}/version'\necho \"$@\" >'{self.folder}/bench'\nexit 3")
        for smi in ("exit 9", "echo 'NVIDIA H200, 580.1, [N/A], [N/A], 700.00'", "echo 'No devices were found'"):
            self.program("nvidia-smi", smi)
            c = self.gpu()
            c.part("device", 60, c.device)
            self.assertEqual(c.parts[0]["status"], "passed", c.parts)
            self.assertIn("NVIDIA H200, no warm-up: warm-up: status 3", c.parts[0]["note"])
            self.assertEqual(c.machine["gpu"], {"name": "NVIDIA H200", "compute": "9.0", "memory_gib": 139.8})
            self.assertEqual(c.machine["libraries"]["ours"],
                             {"cuda": "13.0", "cublaslt": "130100", "cudnn": "9.19.0", "nccl": "2.28.9"})
        # a convolution and a product, on the device: cuDNN and cuBLASLt
        self.assertRegex((self.folder / "bench").read_text(), r"^bench step .*--device cuda")

    def test_no_gpu(self):
        self.program("spotniche", "echo 'devices   cpu: x, 2 threads'")
        self.program("nvidia-smi", "exit 9")
        c = self.gpu()
        c.part("device", 60, c.device)
        self.assertEqual(c.parts[0]["status"], "failed")
        self.assertIn("sees no GPU", c.parts[0]["note"])


class Sanitizers(Case):
    def run_part(self, text, after="", tool="memcheck", limit=20):
        """compute-sanitizer prints `text` and does what `after` says."""
        (self.folder / "text").write_text(text)
        self.program("compute-sanitizer", "if [ \"$1\" = --help ]; then exec echo '--kernel-name arg  --padding arg'; fi\n"
                     f"echo \"$SPN_MEMORY $@\" >'{self.folder}/asked'\ncat '{self.folder}/text'\n{after}")
        self.program("test_cuda", "exit 1")
        c = self.gpu()
        if "ready" in after:
            self.limit_once_ready(c, limit)
        c.part(tool, 100, lambda seconds, entry: c.sanitizer(tool)(limit, entry))
        return c.parts[0]

    def test_what_is_asked(self):
        part = self.run_part(BOTH)
        self.assertEqual((part["status"], part["note"]), ("passed", "nothing found in 2 tests"))
        asked = (self.folder / "asked").read_text()
        self.assertTrue(asked.startswith("plain --tool memcheck "), asked)
        for words in ("--report-api-errors no", "--padding 256", "--kernel-name kns=spn"):
            self.assertIn(words, asked)
        self.run_part(BOTH, tool="racecheck")
        asked = (self.folder / "asked").read_text()
        self.assertTrue(asked.startswith(" --tool racecheck "), asked)  # of shared memory: it needs no such allocations
        self.assertNotIn("--report-api-errors", asked)

    def test_calls_that_libraries_try_are_no_findings(self):
        part = self.run_part(BOTH + "========= Program hit CUDA_ERROR_NOT_FOUND (error 500) on CUDA API call to cuGetProcAddress.\n"
                             "========= Internal Sanitizer Error: Errors might go undetected\n========= ERROR SUMMARY: 0 errors\n")
        self.assertEqual((part["status"], part["note"]), ("passed", "nothing found in 2 tests, 1 warnings"))

    def test_cut_is_not_wrong(self):
        end = "trap 'echo \"========= Error: process did not terminate successfully\"; exit 1' TERM\ntouch ../ready\nsleep 60 & wait"
        part = self.run_part(TESTS, end, limit=1)
        self.assertEqual(part["status"], "cut", part)
        self.assertIn("nothing found in 1 tests; ran out of time after 1 of 2", part["note"])
        self.assertIn("terminate successfully", (self.folder / "out/logs/memcheck.log").read_text())
        # a finding is one, however the run ended
        part = self.run_part(TESTS + "========= Invalid __global__ read of size 4 bytes\n", end, limit=1)
        self.assertEqual(part["status"], "failed")
        self.assertIn("Invalid __global__ read of size 4 bytes (1 in all)", part["note"])
        # so is a test that failed
        part = self.run_part(TESTS.replace("2 tests", "3 tests") + "[  FAILED  ] A.c (0 ms)\n", end, limit=1)
        self.assertEqual((part["status"], part["tests"]), ("failed", [1, 1, 0]))
        self.assertIn("1 tests failed under it, ran out of time after 2 of 3 tests", part["note"])

    def test_warnings_are_counted_before_they_are_cut(self):
        part = self.run_part(BOTH + "========= WARNING: may have missed some\n" * 30 +
                             "========= WARNING: Race reported between Write access at x\n", "exit 9", "racecheck")
        self.assertEqual((part["status"], part["note"]), ("passed", "nothing found in 2 tests, 31 warnings"))
        self.assertEqual((len(part["warnings"]), part["tests"]), (20, [2, 0, 0]))

    def test_one_that_cannot_look_is_one_skipped_part(self):
        part = self.run_part("========= Error: Device not supported. Please refer to the manual\n", "exit 1")
        self.assertEqual((part["status"], report.counts([part])), ("skipped", [0, 0, 1, 0]))

    def test_a_status_without_a_finding_fails(self):
        part = self.run_part(BOTH, "exit 9")
        self.assertEqual(part["status"], "failed")
        self.assertIn("status 9", part["note"])
        part = self.run_part(BOTH + "========= WARNING: Race reported between Write access at x\n", "exit 9", "racecheck")
        self.assertEqual((part["status"], part["note"]), ("passed", "nothing found in 2 tests, 1 warnings"))


class Tuned(Case):
    def test_numbers_of_what_is_picked_by_time(self):
        for device, fails, status in (("cpu", 0, "skipped"), ("cuda", None, "skipped"), ("cuda", 0, "passed"), ("cuda", 1, "failed")):
            c = self.check(device=device)
            if fails is not None:
                lines = BOTH if not fails else BOTH.replace("[       OK ] A.c", "[  FAILED  ] A.c")
                (self.folder / "text").write_text(lines)
                self.program("test_cuda", f"echo \"$SPN_TUNE $*\" >'{self.folder}/asked'\ncat '{self.folder}/text'\nexit {fails}")
            else:
                (self.folder / "test_cuda").unlink()
            c.part("tuned", 40, c.tuned)
            self.assertEqual(c.parts[0]["status"], status, c.parts)
        self.assertEqual((self.folder / "asked").read_text().strip(), "1 --gtest_filter=CudaGemm*:CudaConv*:CudaContrastive*")
        self.assertEqual(c.parts[0]["tests"], [1, 1, 0])
        self.assertEqual(c.parts[0]["note"], "1 failed (A.c), status 1; see logs/tuned.log")
        self.assertEqual(list(c.parts[0]["failed_tests"]), ["A.c"])


class Ranks(Case):
    def test_ranks_give_up_before_their_part_does(self):
        self.program("mpirun", f"echo $SPN_RANK_TIMEOUT >>'{self.folder}/timeouts'; echo 'error: rank 1 never came'; exit 1")
        self.program("test_dist_nccl", "")
        self.program("spotniche", "while [ \"$1\" != --output ] && [ $# -gt 0 ]; do shift; done\nmkdir -p \"$2\"\n"
                     "echo '{}' >\"$2/metrics.jsonl\"")
        c = self.gpu()
        c.made["pack"] = "x"
        c.part("nccl", 60, c.nccl)
        c.part("ranks:graph", 80, c.ranks("auto"))
        c.part("ranks:graph", 20, c.ranks("auto"))
        self.assertEqual((self.folder / "timeouts").read_text().split(), ["20", "20", "6"])
        self.assertIn("error: rank 1 never came", c.parts[1]["note"])

    def test_commands_of_short_parts_have_a_floor(self):
        c, limits = self.check(), []
        c.made["pack"] = "x"

        def must(log, command, limit, env=None):
            limits.append(limit)
            raise gpu_check.Failed("as far as this goes")

        c.must = must
        for body in (c.embed, c.graph, c.curve):
            c.part("x", 20, body)
        self.assertEqual(limits, [20, 20, 20])


class Libraries(Case):
    """Both sides of a ratio use the same: those of PyTorch, if it brings all that a bundle asks for."""

    def taken(self, names, **env):
        bundle, site, home = (self.folder / n for n in ("bundle", "site", "home"))
        shutil.rmtree(site, ignore_errors=True)
        for folder in (bundle / "src/launch/bench", bundle / "libexec", bundle / "etc", site / "torch", site / "nvidia/cu/lib",
                       site / "nvidia/cudnn/lib", home / "lib"):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "launch/bench/gpu_check.sh", bundle / "src/launch/bench")
        shutil.copy(ROOT / "launch/local/bundle/env.sh", bundle)
        (bundle / "etc/cuda-libraries").write_text("libmadeup.so.13\nlibmadeupdnn.so.9\n")
        (site / "torch/__init__.py").write_text("raise ImportError('it is not to be imported: that takes seconds')\n")
        for folder, name in names:
            (site / "nvidia" / folder / "lib" / name).touch()
        for name in ("libmadeup.so.13", "libmadeupdnn.so.9"):
            (home / "lib" / name).touch()
        self.program("python", f"[ \"$1\" != -c ] || exec '{sys.executable}' \"$@\"\necho \"$SPN_CUDA_LIBRARIES\"")
        ran = subprocess.run([bundle / "src/launch/bench/gpu_check.sh"], stdout=subprocess.PIPE, text=True, env={
            "PATH": self.was, "SPN_PYTHON": str(self.folder / "python"), "PYTHONPATH": str(site), "CUDA_HOME": str(home), **env})
        return ran.stdout.strip().replace(str(self.folder) + "/", "").split(":")

    def test_pytorchs_come_first(self):
        all_of_them = (("cu", "libmadeup.so.13"), ("cudnn", "libmadeupdnn.so.9"))
        self.assertEqual(self.taken(all_of_them), ["site/nvidia/cu/lib", "site/nvidia/cudnn/lib", "home/lib"])
        # of another CUDA: cuDNN's and NCCL's names are the same, and would be mixed
        self.assertEqual(self.taken((("cu", "libmadeup.so.12"), ("cudnn", "libmadeupdnn.so.9"))), ["home/lib"])
        # somebody's own word stands; what `. ./env.sh` found before is none
        self.assertEqual(self.taken(all_of_them, SPN_CUDA_LIBRARIES="mine"), ["mine"])
        self.assertEqual(self.taken(all_of_them, SPN_CUDA_LIBRARIES=""), [""])
        self.assertEqual(self.taken(all_of_them, SPN_CUDA_LIBRARIES="x", SPN_CUDA_FOUND="x"),
                         ["site/nvidia/cu/lib", "site/nvidia/cudnn/lib", "x"])


if __name__ == "__main__":
    sys.exit(run_cases("gpu_fakes"))
