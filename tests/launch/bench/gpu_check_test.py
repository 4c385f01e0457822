#!/usr/bin/env python3
"""gpu_check.sh without a GPU: its whole course on the CPU at tiny sizes, with PyTorch's side where a Python has PyTorch
(SPN_PYTHON, else python3). What its parts make of a GPU machine's programs: gpu_fakes_test.py. How parts run:
gpu_run_test.py. What is concluded from output: gpu_report_test.py.

  python3 tests/launch/bench/gpu_check_test.py BUILD_DIR
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "launch" / "bench"))
import gpu_report as report  # noqa: E402
from bare_python import bare_python  # noqa: E402
from run_cases import run_cases  # noqa: E402

BUILD = None


class NoProgram(unittest.TestCase):
    def test_no_program(self):
        ran = subprocess.run([str(ROOT / "launch/bench/gpu_check.sh"), "--device", "cpu", "--small", "--bin", "/nonexistent",
                              "--output", tempfile.mkdtemp()], stdout=subprocess.PIPE, text=True)
        self.assertEqual(ran.returncode, 1)
        self.assertIn("no such program", ran.stdout)


class Slides(unittest.TestCase):
    """The folder of launch/local/some_spots.py is one that `prepare` takes, and gpu_check trains on."""

    def run_it(self, *args):
        return subprocess.run(list(map(str, args)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def test_some_spots_of_made_slides(self):
        with tempfile.TemporaryDirectory() as name:
            folder, script = Path(name), ROOT / "launch/local/some_spots.py"
            made = self.run_it(BUILD / "spotniche", "synth", "--slides", 3, "--spots", 60, "--genes", 200, "--technology", "ST",
                               "--output", folder / "in")
            self.assertEqual(made.returncode, 0, made.stdout)
            ran = self.run_it(sys.executable, script, folder / "in", folder / "out", "--spots", 20)
            self.assertEqual(ran.returncode, 0, ran.stdout)
            coords = sorted((folder / "out/ST/coord").iterdir())
            self.assertEqual([p.name for p in coords], [sorted((folder / "in/ST/coord").iterdir())[i].name for i in (0, 2)])
            for p in coords:
                self.assertEqual(len(p.read_text().splitlines()), 21)
            pack = self.run_it(BUILD / "spotniche", "prepare", "--format", "stimage-1k4m", "--input", folder / "out", "--gene-count",
                               64, "--output", folder / "a.h5")
            self.assertEqual(pack.returncode, 0, pack.stdout)
            few = self.run_it(sys.executable, script, folder / "in", folder / "few", "--slides", 4)
            self.assertEqual(few.returncode, 1)
            self.assertIn("expected at least 4 slides, got 3", few.stdout)
            if not (BUILD / "test_cuda_emulated").exists():
                self.skipTest("test_cuda_emulated is not built: nothing was trained on them")
            gone = self.run_it("env", "SPN_REAL_SLIDES=", ROOT / "launch/bench/gpu_check.sh", "--device", "cpu", "--small", "--only",
                               "slides", "--slides", folder / "out", "--bin", BUILD, "--output", folder / "check")
            self.assertEqual(gone.returncode, 0, gone.stdout)
            self.assertIn("1 passed, 0 skipped: losses", gone.stdout)
            empty = self.run_it(ROOT / "launch/bench/gpu_check.sh", "--device", "cpu", "--small", "--only", "slides", "--slides",
                                folder / "check", "--bin", BUILD, "--output", folder / "empty")
            self.assertEqual(empty.returncode, 1, empty.stdout)
            self.assertEqual(empty.stdout.splitlines()[-1], "1 passed, 1 failed, 1 skipped")


class Course(unittest.TestCase):
    """Everything once, with the programs of the build."""

    def course(self, python, *more):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        ran = subprocess.run([str(ROOT / "launch/bench/gpu_check.sh"), "--device", "cpu", "--small", "--bin", str(BUILD),
                              "--output", folder.name, "--minutes", "60", *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env={**os.environ, "SPN_PYTHON": python, "SPN_REAL_SLIDES": ""})
        print(ran.stdout, flush=True)
        return ran, json.loads((Path(folder.name) / "gpu-check.json").read_text())

    def test_without_pytorch(self):
        with tempfile.TemporaryDirectory() as folder:
            ran, j = self.course(bare_python(Path(folder)))
        self.assertEqual(ran.returncode, 0)
        status = {p["part"]: p["status"] for p in j["parts"]}
        rows = ("loss", "step32", "step224", "vit")
        for part in ("device", "ranks:plain", "ranks:graph", "curve", "graph", "embed", *rows, *("profile:" + r for r in rows)):
            self.assertEqual(status[part], "passed", part)
        profile = next(p["profile"] for p in j["parts"] if p["part"] == "profile:loss")
        self.assertEqual({e["entry"] for e in profile["entries"][:2]}, {"contrastive_fwd", "contrastive_bwd"})
        for part in ("slides", "tuned", "nccl", "memcheck", "racecheck", "panels"):
            self.assertEqual(status[part], "skipped", part)
        self.assertEqual({f["row"] for f in j["figures"]} & {"loss", "step32", "step224", "vit"},
                         {"loss", "step32", "step224", "vit"})
        self.assertEqual(ran.stdout.splitlines()[-1],
                         f"{j['passed']} passed, {j['failed']} failed, {j['skipped']} skipped")
        self.assertNotIn("ladders", status)  # every kernel of the table has a figure
        self.assertEqual({f["row"] for f in j["figures"]} & set(report.KERNELS), set(report.KERNELS))
        if (BUILD / "test_cuda_emulated").exists():
            self.assertEqual(status["tests"], "passed")

    def test_beside_pytorch(self):
        python = next((p for p in (os.environ.get("SPN_PYTHON"), sys.executable) if p and subprocess.run(
            [p, "-c", "import torch, timm"], stderr=subprocess.DEVNULL).returncode == 0), None)
        if python is None:
            self.skipTest("no Python with torch and timm; set SPN_PYTHON")
        ran, j = self.course(python, "--only", "loss,step32,vit,kernels")
        self.assertEqual(ran.returncode, 0)
        for figure in j["figures"]:
            if figure["row"] in ("loss", "step32", "vit"):
                self.assertGreater(figure["ratio"], 0, figure["row"])
        self.assertEqual({p["part"]: p["status"] for p in j["parts"]}["torch:kernels"], "passed")


if __name__ == "__main__":
    BUILD = Path(sys.argv[1]).resolve()
    sys.exit(run_cases("gpu_check"))
