"""Counts what ctest ran: python3 launch/local/count_tests.py JUNIT_XML... prints "passed failed skipped" and, before it,
every skipped and failed test. GoogleTest binaries count by test, scripts of tests/rules by rule; a binary that dies
before it can count is one failure."""
import re
import sys
import xml.etree.ElementTree as xml

PASSED = re.compile(r"^\[  PASSED  \] (\d+) tests?\.?", re.M)
FAILED = re.compile(r"^\[  FAILED  \] (\S+?)(?: \(\d+ ms\))?$", re.M)
SKIPPED = re.compile(r"^\[  SKIPPED \] (\S+?)(?: \(\d+ ms\))?$", re.M)


def count(case):
    """(passed, failed names, skipped names) of one ctest entry"""
    name = case.get("name")
    text = case.findtext("system-out") or ""
    ok = case.get("status") == "run"
    passed = PASSED.search(text)
    if passed is None:
        return (1, [], []) if ok else (0, [name], [])
    failed = [f"{name}: {t}" for t in dict.fromkeys(FAILED.findall(text)) if "." in t]
    skipped = [f"{name}: {t}" for t in dict.fromkeys(SKIPPED.findall(text)) if "." in t]
    if not ok and not failed:
        failed = [f"{name}: ended badly after its tests"]
    return int(passed[1]), failed, skipped


def main():
    passed, failed, skipped = 0, [], []
    for path in sys.argv[1:]:
        for case in xml.parse(path).getroot().iter("testcase"):
            p, f, s = count(case)
            passed, failed, skipped = passed + p, failed + f, skipped + s
    for name in skipped:
        print(f"SKIPPED {name}")
    for name in failed:
        print(f"FAILED  {name}")
    print(passed, len(failed), len(skipped))


if __name__ == "__main__":
    main()
