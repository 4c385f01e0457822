#!/usr/bin/env python3
"""gpu_check.sh without a GPU: how its parts run, and its whole course on the CPU at tiny sizes; with PyTorch's side where
a Python has PyTorch (SPN_PYTHON, else python3). What it concludes from output: gpu_report_test.py.

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
import gpu_check  # noqa: E402
import gpu_report as report  # noqa: E402
from run_cases import run_cases  # noqa: E402

BUILD = None


class Parts(unittest.TestCase):
    def check(self, folder, **args):
        a = dict(device="cpu", small=True, minutes=9, only=None, output=folder, bin=str(BUILD), slides=None)
        return gpu_check.Check(type("Args", (), {**a, **args})())

    def test_a_hang_is_ended_and_its_children_with_it(self):
        with tempfile.TemporaryDirectory() as folder:
            c = self.check(folder)
            mark = Path(folder) / "alive"
            status, _, cut = c.run("hang", ["sh", "-c", f"(sleep 3; echo x >'{mark}') & wait"], 0.5)
            self.assertTrue(cut and status is None)
            subprocess.run(["sleep", "3"])
            self.assertFalse(mark.exists())

    def test_results_of_parts(self):
        with tempfile.TemporaryDirectory() as folder:
            c = self.check(folder)

            def fails(seconds, entry):
                c.must("no", ["sh", "-c", "echo 'an error: of paper'; exit 7"], 10)

            def skips(seconds, entry):
                raise gpu_check.Skip("no such thing")

            c.part("fine", 10, lambda seconds, entry: "well")
            c.part("fails", 10, fails)
            c.part("skips", 10, skips)
            c.budget.end = 0
            c.part("late", 10, lambda seconds, entry: "well")
            self.assertEqual([p["status"] for p in c.parts], ["passed", "failed", "skipped", "skipped"])
            self.assertIn("status 7, an error: of paper", c.parts[1]["note"])
            self.assertIn("no time", c.parts[3]["note"])

    def test_json_is_whole_after_each_part_and_goes_on(self):
        with tempfile.TemporaryDirectory() as folder:
            read = lambda: json.loads((Path(folder) / "gpu-check.json").read_text())  # noqa: E731

            def fails(seconds, entry):
                raise gpu_check.Failed("no")

            c = self.check(folder)
            c.machine["programs"] = ["build 1"]
            c.go_on()
            c.part("one", 10, fails)
            self.assertEqual([p["status"] for p in read()["parts"]], ["failed"])
            c.part("two", 10, lambda *_: "well")
            self.assertEqual([p["status"] for p in read()["parts"]], ["failed", "passed"])

            c = self.check(folder)
            c.machine["programs"] = ["build 1"]
            c.go_on()
            c.part("one", 10, lambda *_: "well")
            self.assertEqual([(p["part"], p["status"]) for p in read()["parts"]], [("one", "passed"), ("two", "passed")])

            c = self.check(folder)
            c.machine["programs"] = ["build 2"]  # what another build gave is put aside, not mixed in
            c.go_on()
            self.assertEqual(read()["parts"], [])
            self.assertEqual(len(list(Path(folder).glob("gpu-check.*.json"))), 1)

    def test_only(self):
        with tempfile.TemporaryDirectory() as folder:
            c = self.check(folder, only=["loss"])
            for name in ("loss", "torch:loss", "ranks:plain"):
                c.part(name, 10, lambda *_: "well")
            self.assertEqual([p["part"] for p in c.parts], ["loss", "torch:loss"])
            c = self.check(folder, only=["ranks"])
            for name in ("loss", "ranks:plain", "ranks:graph"):
                c.part(name, 10, lambda *_: "well")
            self.assertEqual([p["part"] for p in c.parts], ["ranks:plain", "ranks:graph"])
            c = self.check(folder, only=["torch"])  # ours too: what PyTorch's figures stand beside
            for name in ("tests", "loss", "profile:loss", "torch:loss", "kernels", "torch:kernels"):
                c.part(name, 10, lambda *_: "well")
            self.assertEqual([p["part"] for p in c.parts], ["loss", "torch:loss", "kernels", "torch:kernels"])

    def test_kernels_of_a_run_that_was_ended(self):
        with tempfile.TemporaryDirectory() as folder:
            c = self.check(folder)
            rung = {"kernel": "adamw", "rung": "x", "shipped": True, "gb_per_s": 2.0, "of_copy": 0.9}
            fake = Path(folder) / "spotniche"
            fake.write_text(f"#!/bin/sh\necho '{json.dumps(rung)}'\nexec sleep 30\n")
            fake.chmod(0o755)
            c.spotniche = str(fake)
            c.part("kernels", 540, lambda seconds, entry: c.own_kernels(4, entry))
            self.assertEqual([f["row"] for f in c.figures], ["adamw"])
            kernels = next(p for p in c.parts if p["part"] == "kernels")
            self.assertEqual((kernels["status"], kernels["note"]), ("passed", "1 kernels, not done in time"))

    def test_the_fastest_panel_is_measured(self):
        with tempfile.TemporaryDirectory() as folder:
            c = self.check(folder)
            c.cuda = True
            fake = Path(folder) / "spotniche"
            fake.write_text("#!/bin/sh\ncase $SPN_LOSS_PANEL in 4096x4096) s=0.5 b=10;; 8192x8192) s=0.1 b=2000000000;; *) s=0.9 b=10;; esac\n"
                            "echo '{\"bench\": \"loss\", \"seconds\": '$s', \"extra_bytes\": '$b', \"tuned\": \"'$SPN_TUNE'\"}'\n")
            fake.chmod(0o755)
            c.spotniche = str(fake)
            c.part("panels", 540, c.panels)
            self.assertEqual(c.made["panel"], "4096x4096")  # the faster one takes too much memory
            c.part("loss", 540, c.measure("loss")[0])
            self.assertEqual([p["status"] for p in c.parts], ["passed", "passed"], c.parts)
            self.assertEqual((c.figures[0]["value"], c.figures[0]["ours"]["panel"], c.figures[0]["ours"]["tuned"]),
                             (500, "4096x4096", "1"))

    def test_what_pytorch_had_measured_is_kept(self):
        with tempfile.TemporaryDirectory() as folder:
            c = self.check(folder)
            fake = Path(folder) / "python"
            fake.write_text("#!/bin/sh\n[ \"$1\" = -c ] && exec echo 2.11\necho '{\"gbps\": 1}'\nprintf '{\"gbps'\nexec sleep 30\n")
            fake.chmod(0o755)
            was, sys.executable = sys.executable, str(fake)
            try:
                lines, less = c.peer("torch-kernels", ["--work", "kernels"], 3)
            finally:
                sys.executable = was
            self.assertEqual((lines, less), ([{"gbps": 1}], " (not done in its time)"))

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
        # -S: no packages, whatever this Python has
        with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as f:
            f.write(f"#!/bin/sh\nexec '{sys.executable}' -S \"$@\"\n")
        self.addCleanup(os.unlink, f.name)
        os.chmod(f.name, 0o755)
        ran, j = self.course(f.name)
        self.assertEqual(ran.returncode, 0)
        status = {p["part"]: p["status"] for p in j["parts"]}
        rows = ("loss", "step32", "step224", "vit")
        for part in ("device", "ranks:plain", "ranks:graph", "curve", "graph", "embed", *rows, *("profile:" + r for r in rows)):
            self.assertEqual(status[part], "passed", part)
        profile = next(p["profile"] for p in j["parts"] if p["part"] == "profile:loss")
        self.assertEqual({e["entry"] for e in profile["entries"][:2]}, {"contrastive_fwd", "contrastive_bwd"})
        for part in ("slides", "nccl", "memcheck", "racecheck", "panels"):
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
