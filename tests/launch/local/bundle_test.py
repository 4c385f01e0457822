#!/usr/bin/env python3
"""Packs a build with launch/local/bundle.sh, unpacks it elsewhere, and trains the tiny model on 2 ranks from it in a root
that holds glibc, a shell, the bundle and, for a build with CUDA, CUDA's libraries, nothing else: what the system has of Open
MPI, HDF5 and the rest cannot be seen. Then runs parts of its gpu_check.sh on the CPU, as it is called on a lent machine, and
has test_cuda of a build with CUDA loaded.

  python3 tests/launch/local/bundle_test.py BUILD_DIR

The root takes user namespaces or the right to chroot and mount; without them that test is skipped, loudly, and what is
left is bundle.sh's own check by ldd. Ends with GoogleTest's lines, which launch/test.sh counts.
"""
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests" / "launch" / "bench"))
from bare_python import bare_python  # noqa: E402

STEPS = 3
# What glibc's own programs need, the name service included; the rest of the system stays out.
GLIBC = ("ld-linux-x86-64.so.2 libc.so.6 libm.so.6 libmvec.so.1 libdl.so.2 librt.so.1 libpthread.so.0 libresolv.so.2 "
         "libutil.so.1 libanl.so.1 libnss_files.so.2 libnss_dns.so.2").split()
# Run by the shell of the small root: no program but the bundle's is there.
COURSE = f"""
set -eu
cd /elsewhere
SPN_BUNDLE=$PWD/bundle
. "$SPN_BUNDLE/env.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1 OMP_NUM_THREADS=1
spotniche --version
spotniche synth --slides 2 --spots 48 --genes 600 --technology ST --output slides
spotniche prepare --format stimage-1k4m --input slides --gene-count 512 --output train.h5
mpirun -np 2 spotniche pretrain --config bundle/src/configs/model/tiny.cfg --pack train.h5 --output run \\
  --steps {STEPS} --global-batch 16
spotniche inspect --verify train.h5
# a test that reads a file of the sources, whose folder it was compiled with is not here
[ ! -e bundle/bin/test_dist_train ] || mpirun -np 2 test_dist_train --gtest_filter='*OverRanks.SameBits'
"""


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def make_root(root, bundle):
    """glibc and a shell, by the names that the loader and #! look for."""
    folders = {"lib": [], "lib64": [], "lib/x86_64-linux-gnu": []}
    for folder in list(folders) + ["bin", "tmp", "proc", "dev", "sys", "etc", "elsewhere"]:
        (root / folder).mkdir(parents=True, exist_ok=True)
    known = {line.split()[0]: line.split()[-1]
             for line in run(["/sbin/ldconfig", "-p"]).stdout.splitlines() if "x86-64" in line and "=>" in line}
    for name in GLIBC:
        if name in known:
            shutil.copy(known[name], root / "lib/x86_64-linux-gnu" / name)
    shutil.copy(root / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", root / "lib64")
    shell = shutil.which("dash") or "/bin/sh"
    shutil.copy(os.path.realpath(shell), root / "bin/sh")
    # a shell that needs more than glibc brings it, under its own name and beside glibc
    for line in run(["ldd", shell]).stdout.splitlines():
        words = line.split()
        if len(words) > 2 and not (root / "lib/x86_64-linux-gnu" / words[0]).exists() and words[2].startswith("/"):
            shutil.copy(words[2], root / "lib/x86_64-linux-gnu" / words[0])
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    shutil.move(bundle, root / "elsewhere/bundle")


def cuda_folders(program, bundle):
    """Where this machine has the CUDA libraries that a bundle expects to find: they are not in it, on purpose."""
    listed = bundle / "etc/cuda-libraries"
    wanted = set(listed.read_text().split()) if listed.exists() else set()
    folders = []
    for line in run(["ldd", str(program)]).stdout.splitlines():
        words = line.split()
        if len(words) > 2 and words[0] in wanted and words[2].startswith("/"):
            folder = os.path.dirname(os.path.realpath(words[2]))
            if folder not in folders:
                folders.append(folder)
    return folders


def enter(root, cuda):
    """The command that runs another one in that root, or None and why not. The mounts end with their namespace."""
    mounts = " && ".join(f"mount --rbind /{d} '{root}/{d}'" for d in ("proc", "dev", "sys"))
    for i, folder in enumerate(cuda):
        (root / f"cuda/{i}").mkdir(parents=True, exist_ok=True)
        mounts += f" && mount --bind '{folder}' '{root}/cuda/{i}'"
    # an empty environment: nothing of the caller's leads out
    inside = f"PATH=$PATH:/usr/sbin:/sbin && {mounts} && exec env -i PATH=/nowhere \"$(command -v chroot)\" '{root}' \"$@\""
    why = []
    for unshare in (["unshare", "-m"], ["unshare", "-r", "-m"]):
        command = unshare + ["sh", "-c", inside, "enter"]
        try:
            tried = run(command + ["/bin/sh", "-c", "echo in"])
        except FileNotFoundError:
            return None, "there is no unshare"
        if tried.returncode == 0 and tried.stdout.strip() == "in":
            return command, ""
        why.append(f"{' '.join(unshare)}: {tried.stdout.strip()}")
    return None, "; ".join(why)


def losses(text):
    return [json.loads(line)["loss"] for line in text.splitlines()]


def check_course(ran, elsewhere):
    if ran.returncode != 0:
        return f"status {ran.returncode}:\n{ran.stdout}"
    found = losses((elsewhere / "run/metrics.jsonl").read_text())
    if len(found) != STEPS or not all(math.isfinite(x) and 0 < x < 100 for x in found):
        return f"expected {STEPS} finite losses, got {found}"
    if json.loads((elsewhere / "run/events.jsonl").read_text().splitlines()[0]).get("ranks") != 2:
        return f"expected a run of 2 ranks, got:\n{ran.stdout}"
    if (elsewhere / "bundle/bin/test_dist_train").exists() and "[  PASSED  ] 1 test." not in ran.stdout:
        return f"expected the test that reads a golden file to pass, got:\n{ran.stdout}"
    return ""


def bare(cuda):
    """The environment of a machine that was just started: where programs are, and CUDA's libraries."""
    return {"PATH": "/usr/bin:/bin", **({"SPN_CUDA_LIBRARIES": ":".join(cuda)} if cuda else {})}


def check_gpu_check(bundle, output, cuda):
    wanted = {"device", "ranks:plain", "ranks:graph", "graph", "loss"}
    ran = run([str(bundle / "gpu_check.sh"), "--device", "cpu", "--small", "--only", "ranks,graph,loss", "--output", str(output)],
              env={**bare(cuda), "SPN_PYTHON": bare_python(output.parent)})
    found = output / "gpu-check.json"
    if ran.returncode != 0 or not found.exists():
        return f"gpu_check.sh: status {ran.returncode}:\n{ran.stdout}"
    j = json.loads(found.read_text())
    passed = {p["part"] for p in j["parts"] if p["status"] == "passed"}
    if not wanted <= passed or j["failed"] or j["cut"]:
        return f"expected {sorted(wanted)} to pass, got {sorted(passed)}:\n{ran.stdout}"
    program = hashlib.sha256((bundle / "libexec/spotniche").read_bytes()).hexdigest()
    if j["machine"]["programs"]["spotniche"] != program or j["machine"]["bundle"] != (bundle / "about.txt").read_text().splitlines():
        return f"expected the programs of the bundle, got {j['machine']}"
    if [f["row"] for f in j["figures"]] != ["loss"] or not j["figures"][0]["value"] > 0:
        return f"expected a figure of the loss, got {j['figures']}"
    return ""


def check_test_cuda(bundle, cuda):
    """It cannot run without a GPU; that it loads, with all its libraries, can be seen anywhere."""
    ran = run([str(bundle / "bin/test_cuda"), "--gtest_list_tests"], env=bare(cuda))
    suites = [s for s in ran.stdout.splitlines() if s.startswith("Cuda")]
    return "" if ran.returncode == 0 and len(suites) > 5 else f"test_cuda: status {ran.returncode}:\n{ran.stdout}"


def main():
    build = Path(sys.argv[1]).resolve()
    passed, failed, skipped = [], [], []

    def result(name, problem):
        (failed if problem else passed).append(name)
        print(f"[       OK ] {name}" if not problem else f"{problem}\n[  FAILED  ] {name}", flush=True)

    with tempfile.TemporaryDirectory(prefix="spotniche-bundle-") as folder:
        folder = Path(folder)
        packed = folder / ("bundle.tar.zst" if shutil.which("zstd") else "bundle.tar.xz")
        # a low level: seconds here, and a size that a release's only falls below
        made = run([str(ROOT / "launch/local/bundle.sh"), "--from", str(build), str(packed)],
                   env={**os.environ, "SPN_BUNDLE_LEVEL": "3"})
        print(made.stdout, end="")
        result("bundle.is_made_and_fits", "" if made.returncode == 0 and packed.exists() else made.stdout or "nothing")
        if failed:
            return finish(passed, failed, skipped)
        run(["tar", "-C", str(folder), "-xf", str(packed)], check=True)
        root = folder / "root"
        cuda = cuda_folders(build / "spotniche", folder / "bundle")
        where = f"export SPN_CUDA_LIBRARIES={':'.join(f'/cuda/{i}' for i in range(len(cuda)))}\n" if cuda else ""
        make_root(root, folder / "bundle")
        elsewhere = root / "elsewhere"
        command, why = enter(root, cuda)
        if command is None:
            skipped.append("bundle.trains_where_the_system_is_hidden")
            print(f"the system's libraries cannot be hidden here ({why}): run as root, or allow user namespaces\n"
                  "[  SKIPPED ] bundle.trains_where_the_system_is_hidden", flush=True)
            ran = run(["/bin/sh", "-c", COURSE.replace("cd /elsewhere", f"cd '{elsewhere}'")],
                      env={"PATH": "/usr/bin:/bin"})
            result("bundle.trains", check_course(ran, elsewhere))
        else:
            outside = run(command + ["/bin/sh", "-c", f"[ ! -e '{ROOT}' ] && [ ! -e /usr ]"])
            result("bundle.the_system_is_hidden", "" if outside.returncode == 0 else outside.stdout or "it can be seen")
            ran = run(command + ["/bin/sh", "-c", where + COURSE])
            result("bundle.trains_where_the_system_is_hidden", check_course(ran, elsewhere))
        result("bundle.gpu_check_runs", check_gpu_check(elsewhere / "bundle", folder / "check", cuda))
        if (elsewhere / "bundle/bin/test_cuda").exists():
            result("bundle.test_cuda_loads", check_test_cuda(elsewhere / "bundle", cuda))
        else:
            skipped.append("bundle.test_cuda_loads")
            print("the build has no test_cuda: nvcc, cuDNN or NCCL was not found\n[  SKIPPED ] bundle.test_cuda_loads", flush=True)
    return finish(passed, failed, skipped)


def finish(passed, failed, skipped):
    print(f"[  PASSED  ] {len(passed)} tests.")
    for name in failed:
        print(f"[  FAILED  ] {name}")
    for name in skipped:
        print(f"[  SKIPPED ] {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
