"""What gpu_check.sh concludes from losses, tests, sanitizer logs and figures, and how it spends its time.

  python3 tests/launch/bench/gpu_report_test.py
"""
import json
import math
import re
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "launch" / "bench"))
import gpu_report as report  # noqa: E402
from run_cases import run_cases  # noqa: E402


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

    def test_what_failed_is_named_and_quoted(self):
        said = self.TEXT.replace("[  FAILED  ] A.d (1 ms)", "[ RUN      ] A.d\nx.cpp:3: Failure\n  got 1\n[  FAILED  ] A.d (1 ms)")
        self.assertEqual(report.failed_tests(said), {"A.d": "x.cpp:3: Failure\n  got 1"})
        self.assertEqual(report.failed_tests(self.TEXT.replace("FAILED", "OK")), {})

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

    def test_what_of_a_sanitizer_is_a_finding(self):
        for line in ("Invalid __shared__ write of size 2 bytes", "Invalid __local__ read of size 4 bytes", "Error: Race reported between "
                     "Write access at x+0x150 in a.cu:27", "ERROR: Potential WAW hazard detected at __shared__ 0x0 in block (0,0,0) :",
                     "Potential invalid __shared__ read of size 4 bytes", "Uninitialized __global__ memory read of size 4 bytes",
                     "Barrier error detected. Divergent thread(s) in warp", "Leaked 64 bytes at 0x400200200", "Misaligned address",
                     "Malloc/Free error encountered : Double free", "Out-of-range Shared or Local Address",
                     "Warp Illegal Instruction", "Device Hardware Stack Overflow", "Warpgroup MMA sequence error detected"):
            self.assertEqual(report.sanitizer_findings(f"========= {line}\n"), [line])
        for line in ("COMPUTE-SANITIZER", "Program hit cudaErrorInvalidValue (error 1) due to \"invalid argument\" on CUDA API call to x.",
                     "    Saved host backtrace up to driver entry point at error", "    Invalid __global__ in a backtrace",
                     "    Device Frame:out of here()", "Error: process didn't terminate successfully", "Error: Device not supported.",
                     "Target application returned an error", "ERROR SUMMARY: 3 errors", "RACECHECK SUMMARY: 0 hazards displayed",
                     "WARNING: Race reported between Write access at x", "Error: Target application terminated before first "
                     "instrumented API call", "    The application may have hit an error when dereferencing Unified Memory from the host"):
            self.assertEqual(report.sanitizer_findings(f"========= {line}\n"), [], line)
        self.assertEqual(report.sanitizer_findings("Invalid __global__ read, says a test\n"), [])
        self.assertEqual(report.sanitizer_warnings("========= WARNING: Race reported between Write access at x\n=========     and y\n"),
                         ["WARNING: Race reported between Write access at x"])

    def test_sanitizer_options(self):
        self.assertEqual(report.sanitizer_options("memcheck", "  --padding arg"), ["--report-api-errors", "no", "--padding", "256"])
        self.assertEqual(report.sanitizer_options("memcheck", ""), ["--report-api-errors", "no"])
        self.assertEqual(report.sanitizer_options("racecheck", "  --padding arg"), [])

    def test_sanitizer_looks_at_our_kernels_alone(self):
        new = "  --kernel-name arg    Filter\n  --kernel-name-exclude arg  Filter\n  --kernel-regex arg\n"
        self.assertEqual(report.kernel_filter(new), ["--kernel-name", "kns=spn"])
        self.assertEqual(report.kernel_filter("  --filter arg  Filter\n"), ["--filter", "kns=spn"])
        self.assertEqual(report.kernel_filter("  --kernel-name-exclude arg\n  --filter-mode arg\n"), [])


class Machine(unittest.TestCase):
    TEXT = ("CUDA      CUDA 13.0, GPU code for 80-real 90a-real 100, driver for none, cuBLASLt 130100, cuDNN 9.19.0\n"
            "NCCL      NCCL 2.28.9\n"
            "devices   cpu: x, 2 threads\n          cuda: NVIDIA H100 80GB HBM3, 9.0, 79.1 GiB\n          cuda: other, 8.0, 1.0 GiB\n")

    def test_the_first_gpu(self):
        self.assertEqual(report.gpu_of(self.TEXT), {"name": "NVIDIA H100 80GB HBM3", "compute": "9.0", "memory_gib": 79.1})
        self.assertEqual(report.gpu_of("          cuda: a name alone\n"), {"name": "a name alone"})
        self.assertEqual(report.gpu_of("devices   cpu: x, 2 threads\nCUDA      CUDA not in this build\n"), {})

    def test_libraries_of_both_sides(self):
        ours = report.libraries_of(self.TEXT)
        self.assertEqual(ours, {"cuda": "13.0", "cublaslt": "130100", "cudnn": "9.19.0", "nccl": "2.28.9"})
        for older in ("CUDA 13.0", "CUDA 13.0 for 80-real 90a-real 100"):
            text = self.TEXT.replace("CUDA 13.0, GPU code for 80-real 90a-real 100", older)
            self.assertNotEqual(text, self.TEXT)
            self.assertEqual(report.libraries_of(text), ours)
        self.assertEqual(report.libraries_of("CUDA      CUDA not in this build\nNCCL      NCCL not in this build\n"), {})
        self.assertEqual(report.said_of_libraries(ours, {**ours, "cuda": "13.2"}), "the same libraries on both sides")
        self.assertEqual(report.said_of_libraries(ours, {**ours, "cudnn": "9.26.0"}), "cudnn 9.19.0 here, 9.26.0 there")
        self.assertEqual(report.said_of_libraries(ours, {**ours, "nccl": None}), "PyTorch's nccl unknown")
        self.assertIn("no CUDA", report.said_of_libraries({}, ours))

    def test_half_a_line_of_json(self):
        self.assertEqual(report.read_jsonl('{"a": 1}\nsaid\n{"a": 2'), [{"a": 1}])


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

    def test_a_part_that_was_cut_replaces_none_that_came_to_an_end(self):
        order = ("skipped", "cut", "passed", "failed")
        for before in order:
            for after in order:
                j = report.joined(self.result([("a", before)], [], 1), self.result([("a", after)], [], 1))
                ended = {"passed", "failed"} & {before, after}
                stays = after if after in ended or not ended and after == "cut" else before
                self.assertEqual(j["parts"][0]["status"], stays, (before, after))
                self.assertEqual(j["cut"], int(stays == "cut"))


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
        for only in (None, [], ["torch"], ["ranks", "vit"], ["torch:loss", "profile"]):
            self.assertEqual(report.reserve(only), 280, only)
        for only in (["profile:step32"], ["memcheck", "profile"]):  # memcheck has the most of a short call
            self.assertEqual(report.reserve(only), 80, only)
        for only in (["ranks"], ["tests", "memcheck"]):
            self.assertEqual(report.reserve(only), 0, only)

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

    def test_no_target_at_another_batch(self):
        for batch, verdict in ((4096, "aim"), (2048, "- (batch 2,048)")):
            figure = report.make_figure("step32", 30000.0, 15000.0, batch=batch)
            self.assertEqual(report.verdict(figure), verdict)
            self.assertEqual(figure["reached_least"], True if batch == 4096 else None)
            self.assertIn(verdict, report.table([figure]))

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
        cut = [*parts, {"part": "d", "status": "cut", "tests": [7, 0, 0]}, {"part": "e", "status": "cut"}]
        self.assertEqual(report.last_line(cut), "13 passed, 2 failed, 2 skipped, 2 cut")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.json"
            report.write_json(path, report.report({"gpu": "x"}, {"x": math.nan}, parts, figures, 1.23))
            j = json.loads(path.read_text(), parse_constant=lambda s: self.fail(s))
        self.assertIsNone(j["x"])
        self.assertEqual((j["passed"], j["failed"], j["skipped"]), (6, 2, 2))


if __name__ == "__main__":
    sys.exit(run_cases("gpu_report"))
