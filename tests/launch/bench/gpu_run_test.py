#!/usr/bin/env python3
"""How gpu_check.py runs its parts: what a command leaves behind is ended, nothing that goes wrong in one part ends the
course, and gpu-check.json is whole after each.

  python3 tests/launch/bench/gpu_run_test.py
"""
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "launch" / "bench"))
import gpu_check  # noqa: E402
import gpu_process  # noqa: E402
import gpu_report as report  # noqa: E402
import gpu_run  # noqa: E402
from gpu_run import Cut, Failed, Skip  # noqa: E402
from run_cases import run_cases  # noqa: E402

# Says its number in a file, and stays whatever it is told.
STUBBORN = """import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
{before}
open(sys.argv[1] + "/" + str(os.getpid()), "w").close()
time.sleep(100)"""


def running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.said = self.folder / "said"
        self.said.mkdir()

    def check(self, **args):
        a = dict(device="cpu", small=True, minutes=9, only=None, output=self.folder, bin="/nonexistent", slides=None)
        return gpu_check.Check(type("Args", (), {**a, **args})())

    def stubborn(self, before=""):
        return [sys.executable, "-c", STUBBORN.format(before=before), self.said]

    def wait_for(self, n):
        end = time.monotonic() + 60
        while len(list(self.said.iterdir())) < n and time.monotonic() < end:
            time.sleep(0.05)
        return [int(p.name) for p in self.said.iterdir()]

    def check_once(self, n):
        """Its limits begin when n of the stubborn run: a slow machine may take its time to start them."""
        c = self.check()
        c.limit = lambda seconds: (self.wait_for(n), seconds)[1]
        return c

    def course(self, script, before=(), **more):
        """gpu_check.py with `script` in the place of spotniche; nccl is skipped on a CPU."""
        fake = self.folder / "spotniche"
        fake.write_text("#!/bin/sh\n" + script + "\n")
        fake.chmod(0o755)
        return subprocess.Popen([*before, sys.executable, ROOT / "launch/bench/gpu_check.py", "--device", "cpu", "--small", "--bin",
                                 self.folder, "--output", self.folder, "--only", "nccl"], stdout=subprocess.PIPE, text=True, **more)

    def nothing_runs(self, n):
        pids = self.wait_for(n)
        self.assertEqual(len(pids), n)
        self.assertEqual([pid for pid in pids if running(pid)], [])


class Processes(Case):
    """`before` is what makes a child hard to find."""

    def test_whoever_leaves_the_group_and_ignores_sigterm_is_ended(self):
        for before, through in (("", ""), ("os.setpgid(0, 0)", ""), ("os.setpgid(0, 0)", "env -i "), ("os.setsid()", "")):
            with self.subTest(before=before, through=through):
                was, gpu_process.GRACE = gpu_process.GRACE, 0.5
                try:
                    words = " ".join(f"'{w}'" for w in self.stubborn(before))
                    status, _, cut = self.check_once(1).run("hang", ["sh", "-c", f"{through}{words} & wait"], 0.5)
                finally:
                    gpu_process.GRACE = was
                self.assertTrue(cut and status is None)
                self.nothing_runs(1)
                self.assertIn("ended by SIGKILL: python", (self.folder / "logs/hang.log").read_text())
                next(self.said.iterdir()).unlink()

    def test_what_a_program_leaves_behind_is_ended_too(self):
        words = " ".join(f"'{w}'" for w in self.stubborn("os.setpgid(0, 0)"))
        wait = f"while [ -z \"$(ls '{self.said}')\" ]; do sleep 0.05; done"
        status, _, cut = self.check().run("left", ["sh", "-c", f"{words} & {wait}"], 60)
        self.assertEqual((status, cut), (0, False))
        self.nothing_runs(1)

    def test_ranks_of_mpirun(self):
        """mpirun has the time to end them itself."""
        if not shutil.which("mpirun"):
            self.skipTest("there is no mpirun")
        c = self.check_once(2)
        c.env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1")
        status, text, cut = c.run("ranks", ["mpirun", "-np", 2, *self.stubborn()], 1)
        self.assertTrue(cut, text)
        self.nothing_runs(2)
        self.assertNotIn("SIGKILL", (self.folder / "logs/ranks.log").read_text())

    def test_a_script_that_is_told_to_end_ends_what_it_started(self):
        p = self.course(" ".join(f"'{w}'" for w in self.stubborn("os.setpgid(0, 0)")))
        self.assertEqual(len(self.wait_for(1)), 1)
        p.send_signal(signal.SIGTERM)
        said, _ = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 128 + signal.SIGTERM)
        self.assertIn("CUT      device", said)
        self.nothing_runs(1)

    def test_a_terminal_that_is_closed_ends_nothing_that_nohup_started(self):
        for before, status in (([], 128 + signal.SIGHUP), (["nohup"], 0)):
            p = self.course(f"touch '{self.said}/1'\nwhile [ ! -e '{self.folder}/go' ]; do sleep 0.05; done", before)
            self.wait_for(1)
            p.send_signal(signal.SIGHUP)
            if before:
                time.sleep(0.5)
                self.assertIsNone(p.poll())
                (self.folder / "go").touch()
            said, _ = p.communicate(timeout=60)
            self.assertEqual((p.returncode, "1 passed, 0 failed, 1 skipped" in said), (status, status == 0), said)
            (self.said / "1").unlink()

    def test_nobody_who_reads_what_is_said_is_needed(self):
        p = self.course("echo x", stderr=subprocess.STDOUT)
        p.stdout.close()
        self.assertEqual(p.wait(timeout=60), 0)
        j = json.loads((self.folder / "gpu-check.json").read_text())
        self.assertEqual([(p["part"], p["status"]) for p in j["parts"]], [("device", "passed"), ("nccl", "skipped")])

    def test_what_this_locale_cannot_write_ends_nothing(self):
        p = self.course("printf 'error: \\342\\202\\254\\n'; exit 1",
                        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"})
        said, _ = p.communicate(timeout=60)
        self.assertIn(r"error: \u20ac;", said)
        self.assertEqual(said.splitlines()[-1], "0 passed, 1 failed, 0 skipped")

    def test_no_command_goes_beyond_the_course(self):
        c = self.check()
        c.budget.end = time.monotonic() + 1.5
        start = time.monotonic()
        with self.assertRaises(Cut):
            c.must("long", ["sleep", "60"], 60)
        self.assertLess(time.monotonic() - start, 30)


class Parts(Case):
    def test_what_is_quoted_of_a_log(self):
        for text, said in (("a\nerror: b\nlast", "error: b"), ("a\nlast\n\n", "last"), ("", "without a word"),
                           ("{\"error\": 1}\nlast\n{\"error\": 2}", "last"), ("  an error\nlast", "an error"),
                           ("Traceback:\n  raise RuntimeError(text)\nRuntimeError: b\nset VERBOSE=1 for more", "RuntimeError: b")):
            self.assertEqual(gpu_run.quoted("$ an --error\n" + text), said)
        self.assertEqual(gpu_run.quoted("$ a\nerror: b\nlast\n", last=True), "last")

    def test_results_of_parts(self):
        c = self.check()

        def skips(seconds, entry):
            raise Skip("no such thing")

        def surprises(seconds, entry):
            entry["tests"] = [3, 0, 0]
            return min({})

        c.part("fine", 10, lambda seconds, entry: "well")
        c.part("fails", 10, lambda *_: c.must("no", ["sh", "-c", "echo 'an error: of paper'; exit 7"], 10))
        c.part("skips", 10, skips)
        c.part("long", 10, lambda *_: c.must("long", ["sleep", "60"], 1))
        c.part("a:b", 10, surprises)
        c.part("no program", 10, lambda *_: c.must("gone", ["/nonexistent/program"], 10))
        c.part("broken", 10, lambda *_: json.loads("{\n\n"))
        c.part("fine again", 10, lambda seconds, entry: "well")
        c.budget.end = 0
        c.part("late", 10, lambda seconds, entry: "well")
        self.assertEqual([p["status"] for p in c.parts],
                         ["passed", "failed", "skipped", "cut", "failed", "failed", "failed", "passed", "skipped"])
        notes = {p["part"]: p["note"] for p in c.parts}
        self.assertIn("status 7, an error: of paper", notes["fails"])
        self.assertIn("long: not done after 1 s", notes["long"])
        self.assertRegex(notes["a:b"], r"^ValueError: min\(\).*; see logs/a-b\.log$")
        self.assertIn("Traceback", (self.folder / "logs/a-b.log").read_text())
        self.assertIn("/nonexistent/program cannot be started: No such file", notes["no program"])
        self.assertIn("JSONDecodeError: ", notes["broken"])
        self.assertIn("no time", notes["late"])
        # 3 tests passed before it went wrong; none of what failed or was cut counts as passed
        self.assertEqual(report.counts(c.parts), [2 + 3, 4, 2, 1])
        self.assertEqual(report.last_line(c.parts), "5 passed, 4 failed, 2 skipped, 1 cut")

    def test_status_at_the_end(self):
        for bodies, status in (([None], 0), ([None, Skip], 0), ([None, Cut], 1), ([None, Failed], 1), ([Skip], 1)):
            c = self.check()
            c.goes_on = True
            for i, kind in enumerate(bodies):
                def body(*_):
                    if kind:
                        raise kind("so")
                c.part(f"part {i}", 10, body)
            self.assertEqual(c.finish(), status, bodies)

    def test_json_is_whole_after_each_part_and_goes_on(self):
        read = lambda: json.loads((self.folder / "gpu-check.json").read_text())  # noqa: E731

        def fails(seconds, entry):
            raise Failed("no")

        c = self.check()
        c.machine["programs"] = ["build 1"]
        c.go_on()
        c.part("one", 10, fails)
        self.assertEqual([p["status"] for p in read()["parts"]], ["failed"])
        c.part("two", 10, lambda *_: "well")
        self.assertEqual([p["status"] for p in read()["parts"]], ["failed", "passed"])

        c = self.check()
        c.machine["programs"] = ["build 1"]
        c.go_on()
        c.part("one", 10, lambda *_: "well")
        self.assertEqual([(p["part"], p["status"]) for p in read()["parts"]], [("one", "passed"), ("two", "passed")])

        c = self.check()
        c.machine["programs"] = ["build 2"]  # what another build gave is put aside, not mixed in
        with contextlib.redirect_stdout(io.StringIO()) as said:
            c.go_on()
        self.assertIn("here is of another build, GPU or size", said.getvalue())
        self.assertEqual(read()["parts"], [])
        self.assertEqual(len(list(self.folder.glob("gpu-check.*.json"))), 1)

    def test_a_file_that_is_none_of_ours_is_put_aside(self):
        old = json.dumps({**report.report({}, {"device": "cpu", "small": True}, [], [], 1), "version": 1})
        for text in ("[]", "{", old, '{"device": "cpu", "small": true}', '{"format": "spotniche-gpu-check", "version": 2, "parts": 3}'):
            (self.folder / "gpu-check.json").write_text(text)
            c = self.check()
            with contextlib.redirect_stdout(io.StringIO()) as said:
                c.go_on()
            self.assertIn("gpu-check.json here is unreadable: now gpu-check.", said.getvalue())
            self.assertIsNone(c.earlier, text)
            self.assertEqual(json.loads((self.folder / "gpu-check.json").read_text())["parts"], [])

    def test_a_file_that_cannot_be_written_ends_nothing(self):
        c = self.check()
        (self.folder / "gpu-check.new").mkdir()
        c.go_on()
        c.part("one", 10, lambda *_: "well")
        self.assertEqual([p["status"] for p in c.parts], ["passed"])
        self.assertEqual(c.finish(), 0)

    def test_only(self):
        def names(only, tried):
            c = self.check(only=only)
            for name in tried:
                c.part(name, 10, lambda *_: "well")
            return [p["part"] for p in c.parts]

        self.assertEqual(names(["loss"], ("loss", "profile:loss", "torch:loss", "ranks:plain")), ["loss", "torch:loss"])
        self.assertEqual(names(["profile"], ("loss", "profile:loss", "torch:loss")), ["profile:loss"])
        self.assertEqual(names(["profile:vit"], ("vit", "profile:loss", "profile:vit")), ["profile:vit"])
        self.assertEqual(names(["ranks"], ("loss", "ranks:plain", "ranks:graph")), ["ranks:plain", "ranks:graph"])
        # ours too: what PyTorch's figures stand beside
        self.assertEqual(names(["torch"], ("tests", "loss", "profile:loss", "torch:loss", "kernels", "torch:kernels")),
                         ["loss", "torch:loss", "kernels", "torch:kernels"])
        self.assertEqual(names(["torch:loss"], ("tests", "loss", "profile:loss", "torch:loss", "vit", "torch:vit")),
                         ["loss", "torch:loss"])


if __name__ == "__main__":
    sys.exit(run_cases("gpu_run"))
