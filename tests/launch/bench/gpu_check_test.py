#!/usr/bin/env python3
"""gpu_check.sh without a GPU: what it concludes from losses, tests, sanitizer logs and figures, how it spends its time,
and its whole course on the CPU at tiny sizes; with PyTorch's side where a Python has PyTorch (SPN_PYTHON, else python3).

  python3 tests/launch/bench/gpu_check_test.py BUILD_DIR
"""
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "launch" / "bench"))
import gpu_check  # noqa: E402
import gpu_report as report  # noqa: E402

BUILD = None


def lines(*losses, **other):
    return [{"step": i + 1, **{key: x for key in report.LOSSES}, **other} for i, x in enumerate(losses)]


class Losses(unittest.TestCase):
    def test_equal_and_near(self):
        self.assertEqual(report.compare_losses(lines(2, 1), lines(2, 1), 2, 1e-6), ("", 0.0))
        problem, worst = report.compare_losses(lines(2, 1), lines(2, 1.00005), 2, 1e-4)
        self.assertEqual(problem, "")
        self.assertAlmostEqual(worst, 5e-5, delta=1e-7)

    def test_far_nan_missing(self):
        problem, _ = report.compare_losses(lines(2, 1), lines(2, 1.001), 2, 1e-4)
        self.assertIn("of step 2 differs by 0.001", problem)
        for bad in (lines(2, math.nan), lines(2), lines(2, None)):
            self.assertTrue(report.compare_losses(lines(2, 1), bad, 2, 1)[0])
            self.assertTrue(report.compare_losses(bad, lines(2, 1), 2, 1)[0])
        # both broken in the same way is no agreement
        self.assertTrue(report.compare_losses(lines(math.nan), lines(math.nan), 1, 1)[0])
        one = lines(2, 1)
        one[1]["loss_cross"] = 1.5
        self.assertIn("loss_cross", report.compare_losses(one, lines(2, 1), 2, 1e-4)[0])


class Embeddings(unittest.TestCase):
    def test_bound(self):
        text = "  obsm['spatial']   largest difference 0\n  obsm['X_spot_gene']     largest difference {} at row 3\n"
        self.assertEqual(report.compare_embeddings(text.format("2e-06"), 1e-4), ("", 2e-06))
        self.assertIn("X_spot_gene", report.compare_embeddings(text.format("0.1"), 1e-4)[0])
        self.assertIn("X_spot_gene", report.compare_embeddings(text.format("nan"), 1e-4)[0])
        self.assertTrue(report.compare_embeddings("nothing", 1e-4)[0])


class Tests(unittest.TestCase):
    TEXT = ("[==========] Running 4 tests from 2 test suites.\n[       OK ] A.b (0 ms)\n[  SKIPPED ] A.c (0 ms)\n"
            "[       OK ] A/B.c/0 (1 ms)\n[  FAILED  ] A.d (1 ms)\n[  PASSED  ] 2 tests.\n[  FAILED  ] 1 test, listed below:\n"
            "[  FAILED  ] A.d\n[  SKIPPED ] A.c\n")

    def test_counts(self):
        self.assertEqual(report.count_tests(self.TEXT, False), (2, 1, 1, ""))
        coloured = re.sub(r"^(\[.{10}\] )", "\x1b[0;32m\\1\x1b[m", self.TEXT, flags=re.M)  # as in a terminal
        self.assertNotEqual(coloured, self.TEXT)
        self.assertEqual(report.count_tests(coloured, False), (2, 1, 1, ""))

    def test_cut_died_and_empty(self):
        self.assertIn("ended badly after 1 of 4", report.count_tests("\n".join(self.TEXT.splitlines()[:2]), False)[3])
        self.assertIn("out of time after 1 of 4", report.count_tests("\n".join(self.TEXT.splitlines()[:2]), True)[3])
        self.assertIn("no test", report.count_tests("Segmentation fault", False)[3])
        self.assertIn("no test", report.count_tests("[==========] Running 0 tests from 0 test suites.\n", False)[3])

    def test_sanitizer(self):
        clean = "========= COMPUTE-SANITIZER\n[       OK ] A.b\n========= ERROR SUMMARY: 0 errors\n"
        self.assertEqual(report.sanitizer_findings(clean), [])
        self.assertEqual(report.sanitizer_findings("========= Invalid __global__ read of size 4 bytes\n=========     at x\n"),
                         ["Invalid __global__ read of size 4 bytes"])
        self.assertTrue(report.sanitizer_is_blind("========= Error: Device not supported. Please refer to the manual\n"))
        self.assertFalse(report.sanitizer_is_blind("Device not supported, says a test\n" + clean))
        self.assertEqual(len(report.sanitizer_findings("========= Error: Race reported between Write access\n")), 1)


    def test_sanitizer_looks_at_our_kernels_alone(self):
        new = "  --kernel-name arg    Filter\n  --kernel-name-exclude arg  Filter\n  --kernel-regex arg\n"
        self.assertEqual(report.kernel_filter(new), ["--kernel-name", "kns=spn"])
        self.assertEqual(report.kernel_filter("  --filter arg  Filter\n"), ["--filter", "kns=spn"])
        self.assertEqual(report.kernel_filter("  --kernel-name-exclude arg\n  --filter-mode arg\n"), [])


class Joined(unittest.TestCase):
    def result(self, parts, figures, seconds):
        return report.report({"gpu": "x"}, {"date": "d"}, [{"part": n, "status": s} for n, s in parts], figures, seconds)

    def test_a_second_call_completes_the_first(self):
        before = self.result([("tests", "passed"), ("ranks", "failed"), ("vit", "skipped")],
                             [report.make_figure("vit", 1.0, 2.0), report.make_figure("step32", 1.0, None)], 10)
        after = self.result([("tests", "skipped"), ("ranks", "passed"), ("vit", "skipped"), ("loss", "passed")],
                            [report.make_figure("vit", 3.0, None), report.make_figure("step32", 5.0, None)], 5)
        j = report.joined(before, after)
        self.assertEqual({p["part"]: p["status"] for p in j["parts"]},
                         {"tests": "passed", "ranks": "passed", "vit": "skipped", "loss": "passed"})
        self.assertEqual({f["row"]: (f["value"], f["torch"]) for f in j["figures"]}, {"vit": (1.0, 2.0), "step32": (5.0, None)})
        self.assertEqual((j["passed"], j["failed"], j["skipped"], j["seconds"]), (3, 0, 1, 15))
        self.assertEqual(report.joined(None, after), after)


class Time(unittest.TestCase):
    def test_reserve_is_kept_for_the_figures(self):
        now = [0.0]
        budget = report.Budget(540, lambda: now[0], reserve=280)
        self.assertEqual(budget.share(120, False), 120)
        now[0] = 215
        self.assertEqual(budget.share(90, False), 45)
        self.assertEqual(budget.share(91, False), 0)  # it would be cut, and a part that is cut has failed
        self.assertEqual(budget.share(90, True), 90)
        now[0] = 265
        self.assertEqual(budget.share(50, False), 0)
        self.assertEqual(budget.share(90, True), 90)
        now[0] = 537
        self.assertEqual(budget.share(90, True), 0)
        self.assertEqual(report.Budget(1080, lambda: 0.0, reserve=280).share(120, False), 240)

    def test_only_figures_need_a_reserve(self):
        for only in (None, [], ["torch"], ["ranks", "vit"], ["profile:step32"]):
            self.assertTrue(report.measures(only), only)
        for only in (["ranks"], ["tests", "memcheck"]):
            self.assertFalse(report.measures(only), only)

    def test_fewer_minutes_shorten_no_limit(self):
        self.assertEqual(report.Budget(270, lambda: 0.0).share(120, False), 120)
        self.assertEqual(report.Budget(270, lambda: 0.0, reserve=280).share(120, False), 120)
        self.assertEqual(report.Budget(180, lambda: 0.0, reserve=280).share(120, False), 180 - 280 / 3)


class Figures(unittest.TestCase):
    def test_ratio_says_how_many_times_as_fast(self):
        self.assertEqual(report.make_figure("loss", 10.0, 25.0, extra_bytes=5e8)["ratio"], 2.5)
        self.assertEqual(report.make_figure("step32", 30.0, 10.0)["ratio"], 3.0)

    def test_targets(self):
        said = lambda *a, **k: report.verdict(report.make_figure(*a, **k))  # noqa: E731
        self.assertEqual(said("loss", 10.0, 25.0, extra_bytes=5e8), "aim")
        self.assertEqual(said("loss", 10.0, 15.0, extra_bytes=5e8), "at least")
        self.assertEqual(said("loss", 10.0, 25.0, extra_bytes=2e9), "below")
        self.assertEqual(said("loss", 10.0, 25.0, extra_bytes=None), "?")
        self.assertEqual(said("loss", 10.0, 9.0, extra_bytes=None), "below")
        self.assertEqual(said("loss", 10.0, None, extra_bytes=5e8), "?")
        self.assertEqual(said("step32", 30000.0, 15000.0), "aim")
        self.assertEqual(said("step32", 29000.0, 14000.0), "at least")
        self.assertEqual(said("vit", 4800.0, 5000.0), "aim")
        self.assertEqual(said("adamw", 3600.0, None, of_copy=0.86), "at least")
        self.assertEqual(said("layer_norm_fwd", 3600.0, None, of_copy=0.74), "below")
        self.assertEqual(said("layer_norm_fwd", 3600.0, None, of_copy=math.nan), "?")

    def test_profile_in_a_line(self):
        j = {"ms_a_step": 20.04, "outside_entries": 0.1, "floor": 0.62,
             "entries": [{"entry": name, "share": share, "bound": "memory", "of_bound": 0.8}
                         for name, share in zip("abcdef", (0.4, 0.3, 0.1, 0.05, 0.03, 0.02))]}
        self.assertEqual(report.said_of_profile(j),
                         "a 40% (memory 80%), b 30% (memory 80%), c 10% (memory 80%), d 5% (memory 80%), "
                         "e 3% (memory 80%); outside entries 10% of 20.0 ms; floor 62%")

    def test_table_and_json(self):
        figures = [report.make_figure("loss", 10.0, 25.0, extra_bytes=5e8), report.make_figure("adamw", 3e3, None, of_copy=0.9)]
        text = report.table(figures)
        self.assertEqual(len(text.splitlines()), 3)
        self.assertIn("2.50", text.splitlines()[1])
        self.assertIn("90%", text.splitlines()[2])
        parts = [{"part": "a", "status": "passed"}, {"part": "b", "status": "skipped"},
                 {"part": "c", "status": "failed", "tests": [5, 2, 1]}]
        self.assertEqual(report.last_line(parts), "6 passed, 2 failed, 2 skipped")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.json"
            report.write_json(path, report.report({"gpu": "x"}, {"x": math.nan}, parts, figures, 1.23))
            j = json.loads(path.read_text(), parse_constant=lambda s: self.fail(s))
        self.assertIsNone(j["x"])
        self.assertEqual((j["passed"], j["failed"], j["skipped"]), (6, 2, 2))


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
        for part in ("slides", "nccl", "memcheck", "racecheck"):
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


def main():
    global BUILD
    BUILD = Path(sys.argv[1]).resolve()
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(unittest.defaultTestLoader.loadTestsFromModule(
        sys.modules[__name__]))
    bad = [t for t, _ in result.failures + result.errors]
    print(f"[  PASSED  ] {result.testsRun - len(bad) - len(result.skipped)} tests.")
    for name, tests in (("FAILED  ", bad), ("SKIPPED ", [t for t, _ in result.skipped])):
        for t in tests:
            print(f"[  {name}] gpu_check.{t.id().split('.', 1)[1]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
