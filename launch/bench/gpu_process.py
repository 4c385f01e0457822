"""Ends a command of gpu_check.py together with all that it started: a rank that stays on the GPU spoils every figure after
it. A signal to the process group is not enough: Open MPI gives each rank a group of its own, and ours catch SIGTERM."""
import os
import signal
import subprocess
import time
from pathlib import Path

MARK = "SPN_GPU_CHECK_RUN"  # in the environment of a command and of its children, also of those that leave its session
GRACE = 8  # seconds: mpirun sends its ranks SIGTERM, waits, then SIGKILL, and must live until it has done so


def survivors(session, mark):
    """{pid: name} of what still runs of that session, or has the mark in its environment."""
    found, mark = {}, f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            name, rest = (folder / "stat").read_text(errors="replace").split("(", 1)[1].rsplit(")", 1)
            state, _, _, its_session = rest.split()[:4]
            if state in "ZX":
                continue  # nothing of it is left but its number
            if int(its_session) == session or mark in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = name
        except (OSError, ValueError, IndexError):
            continue  # it ended while we looked, or is another user's
    return found


def wait_for_end(p, mark, seconds):
    end = time.monotonic() + seconds
    while True:
        p.poll()  # it stays in /proc until somebody has asked
        left = survivors(p.pid, mark)
        if not left or time.monotonic() >= end:
            return left
        time.sleep(0.05)


def end_all(p, mark, grace):
    """Ends p, which leads a session, and whatever came from it; says in words what had to be ended, and what cannot be."""
    if p.poll() is None:
        try:
            os.killpg(p.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    left = ended = wait_for_end(p, mark, grace)
    for _ in range(50):  # again: one of them may have started another
        if not left:
            break
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        left = wait_for_end(p, mark, 0.2)
    try:
        p.wait(timeout=1)
    except subprocess.TimeoutExpired:
        pass  # it hangs in the driver; waiting longer would take the time of everything else
    said = f"ended by SIGKILL: {', '.join(sorted(ended.values()))}" if ended else ""
    return said + (f"; cannot be ended: {', '.join(f'{name} ({pid})' for pid, name in left.items())}" if left else "")
