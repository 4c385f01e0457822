"""A Python without packages, whatever this one has: what a machine brings of PyTorch, half-installed perhaps, is no part
of a test."""
import sys


def bare_python(folder):
    """Writes it there, for SPN_PYTHON; its path."""
    path = folder / "bare-python.sh"
    path.write_text(f"#!/bin/sh\nexec '{sys.executable}' -S \"$@\"\n")
    path.chmod(0o755)
    return str(path)
