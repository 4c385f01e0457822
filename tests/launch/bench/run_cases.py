"""Runs the unittest cases of a module, and says how it went in lines that count_tests.py reads."""
import sys
import unittest


def run_cases(name):
    """name: before each test's, as `gpu_check`. The script's exit status."""
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(unittest.defaultTestLoader.loadTestsFromModule(
        sys.modules["__main__"]))
    bad = [t for t, _ in result.failures + result.errors]
    print(f"[  PASSED  ] {result.testsRun - len(bad) - len(result.skipped)} tests.")
    for kind, tests in (("FAILED  ", bad), ("SKIPPED ", [t for t, _ in result.skipped])):
        for t in tests:
            print(f"[  {kind}] {name}.{t.id().split('.', 1)[1]}")
    return 1 if bad else 0
