"""The figures of gpu_check.py: `spotniche bench` beside torch_peer.py at the sizes of the table, and the kernels."""
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gpu_report as report  # noqa: E402
from gpu_run import ROOT, Cut, Failed, Runner, Skip, quoted  # noqa: E402

# Rows and columns of the logits that the loss holds at once; the first is what ships (kernels/cuda/panel_limits.h).
PANELS = ("2048x4096", "1024x4096", "4096x4096", "4096x8192", "8192x8192")
TINY, FULL, FULL_224 = (str(ROOT / "configs" / "model" / name) for name in ("tiny.cfg", "st_align.cfg", "st_align_224.cfg"))


def batch_of(arguments):
    """Of a command of `spotniche bench`: what a figure is of, and its targets may not be for."""
    return next(int(value) for name, value in zip(arguments, arguments[1:]) if name in ("--global-batch", "--batch"))


class Figures(Runner):
    def sizes(self):
        """Per row: arguments of `spotniche bench`, arguments of torch_peer.py, and how a figure is read from each."""
        common = ["--device", self.a.device, "--precision", "bf16"]
        batch = 4096 if self.memory_gib() > 97 else 2048  # of the 32-px step, whose activations are 14 MB a pair
        rate = (lambda j: j["pairs_per_s"]), (lambda j: j["pairs_per_s"])
        seconds = (lambda j: j["seconds"] * 1e3), (lambda j: j["seconds"] * 1e3)
        if self.a.small:
            tiny = ["--config", TINY]
            step = ["step", *tiny, "--steps", 1, "--warm-up", 1, "--global-batch", 8, "--features", "--vit-frozen", "true"]
            peer = [*tiny, "--batch", 8, "--steps", 1, "--warmup", 1, "--features", "--set", "vit_frozen=true"]
            return {"loss": (["loss", "--global-batch", 64, "--width", 32, "--repeats", 1, *common],
                             ["--work", "loss", "--batch", 64, "--width", 32, "--steps", 2, *common], seconds),
                    "step32": ([*step, *common], [*peer, *common], rate),
                    "step224": ([*step, "--resnet-stem", "imagenet", *common], [*peer, "--set", "resnet_stem=imagenet", *common], rate),
                    "vit": (["part", *tiny, "--batch", 2, "--steps", 1, *common],
                            ["--part", "niche_image", *tiny, "--batch", 2, "--steps", 1, *common],
                            ((lambda j: j["images_per_s"]), rate[1]))}
        step = ["step", "--features", "--steps", 10, "--warm-up", 3, *common]
        peer = ["--features", "--steps", 10, "--compile", *common]
        return {"loss": (["loss", "--global-batch", 32768, "--width", 1024, "--repeats", 5, *common],
                         ["--work", "loss", "--batch", 32768, "--width", 1024, "--steps", 10, "--compile", *common], seconds),
                "step32": ([*step, "--config", FULL, "--global-batch", batch], [*peer, "--config", FULL, "--batch", batch], rate),
                "step224": ([*step, "--config", FULL_224, "--global-batch", 256], [*peer, "--config", FULL_224, "--batch", 256], rate),
                "vit": (["part", "--config", FULL, "--batch", 256, "--steps", 10, "--warm-up", 3, *common],
                        ["--part", "niche_image", "--config", FULL, "--batch", 256, "--steps", 10, "--compile", *common],
                        ((lambda j: j["images_per_s"]), rate[1]))}

    def memory_gib(self):
        """Of the GPU, 0 where nobody says it: by spotniche itself, else by nvidia-smi, whose answer may be `[N/A]`."""
        gib = self.machine.get("gpu", {}).get("memory_gib")
        mib = self.machine.get("nvidia-smi", {}).get("memory.total", "")
        return gib or (float(mib) / 1024 if mib.replace(".", "", 1).isdigit() else 0)

    def bench(self, name, arguments, seconds, env=None):
        """JSON lines of `spotniche bench`; a benchmark that this build does not know is skipped, not failed."""
        # libraries' candidates are measured, as PyTorch's side does with cudnn.benchmark; SPN_TUNE=0 keeps to heuristics
        status, text, cut = self.run(name, [self.spotniche, "bench", *arguments], seconds,
                                     {"SPN_TUNE": os.environ.get("SPN_TUNE", "1"), **(env or {})})
        if status == 2 and "expected what to time first" in text:
            raise Skip(f"this build has no `bench {arguments[0]}`")
        if cut:
            raise Cut(f"not done in time; see logs/{name}.log")
        if status != 0:
            raise Failed(f"status {status}, {quoted(text)}; see logs/{name}.log")
        lines = report.read_jsonl(text)
        if not lines:
            raise Failed(f"no figure was printed; see logs/{name}.log")
        return lines

    def torch_libraries(self, seconds, entry):
        """A part of its own: PyTorch is GBs, which a cold disk gives slowly."""
        status, text, cut = self.run("torch-libraries", [sys.executable, ROOT / "launch/bench/torch_versions.py", self.a.device],
                                     seconds)
        if cut:
            raise Cut("PyTorch was not loaded in time; see logs/torch-libraries.log")
        found = report.read_jsonl(text)
        if status != 0 or not found:
            self.torch = self.machine["torch"] = ""
            self.no_torch = f"{sys.executable} has no PyTorch; set SPN_PYTHON to one that has"
            if "No module named 'torch'" not in text:
                self.no_torch = f"PyTorch was not loaded: {quoted(text, last=True)} (status {status}); see logs/torch-libraries.log"
            raise Skip(self.no_torch)
        self.torch = self.machine["torch"] = found[-1]["torch"]
        said = report.said_of_libraries(self.machine.get("libraries", {}).get("ours", {}), found[-1])
        self.machine["torch_libraries"] = {**found[-1], "beside_ours": said}
        return f"PyTorch {self.torch}: {said}"

    def peer(self, name, arguments, seconds):
        """torch_peer.py, with less help where PyTorch itself fails: without the graph, then without compilation."""
        end = time.monotonic() + seconds
        if self.torch is None:
            self.torch_libraries(seconds, {})
        if not self.torch:
            raise Skip(self.no_torch)
        threads = 1 if self.a.small else os.cpu_count()
        base = [sys.executable, ROOT / "launch/bench/torch_peer.py", "--threads", threads, "--layout", "channels_last"]
        tries = [(arguments, "")]
        if "--compile" in arguments:
            tries += [([*arguments, "--no-graph"], "no CUDA graph"),
                      ([a for a in arguments if a != "--compile"] + ["--no-graph"], "neither compiled nor a CUDA graph")]
        why = ""
        for i, (args, less) in enumerate(tries):
            # what is compiled here is not compiled again by a second call
            status, text, cut = self.run(f"{name}{i or ''}", [*base, *args], max(1, end - time.monotonic()),
                                         {"TORCHINDUCTOR_CACHE_DIR": str(self.out / "inductor")})
            lines = report.read_jsonl(text)  # of one that was cut: what it had measured by then
            if lines and (cut or status == 0):
                return lines, less + why + (" (not done in its time)" if cut else "")
            if cut:
                raise Cut("PyTorch was not done in its time; give --minutes" + why)
            why = f" (status {status}, {quoted(text)}; see logs/{name}{i or ''}.log)"  # also of a try that went further
        raise Failed("PyTorch failed" + why)

    def measure(self, row):
        def own(seconds, entry):
            ours, _, (read, _) = self.sizes()[row]
            panel, batch = self.made.get("panel") if row == "loss" else None, batch_of(ours)
            j = self.bench(row, ours, seconds, {"SPN_LOSS_PANEL": panel} if panel else None)[0]
            if panel:
                j["panel"] = panel
            self.figures.append(report.make_figure(row, read(j), None, extra_bytes=j.get("extra_bytes"), batch=batch, ours=j))
            return f"{report.number(read(j))} {report.target_of(row)[1]}, batch {batch:,}"

        def profiled(seconds, entry):
            lines = self.bench("profile-" + row, [*self.sizes()[row][0], "--profile"], seconds)
            j = next((j for j in lines if j.get("bench") == "profile"), None)
            if j is None:
                raise Failed(f"no profile was printed; see logs/profile-{row}.log")
            entry["profile"] = j
            return report.said_of_profile(j)

        def beside(seconds, entry):
            figure = next((f for f in self.figures if f["row"] == row), None)
            if figure is None:
                raise Skip("there is no figure of ours to compare with")
            _, peer, (_, read_peer) = self.sizes()[row]
            lines, less = self.peer("torch-" + row, peer, seconds)
            value = read_peer(lines[0])
            figure.update(report.make_figure(row, figure["value"], value, extra_bytes=figure["extra_bytes"],
                                             batch=figure["batch"]), torch_run=lines[0], torch_without=less)
            ratio = "unknown" if figure["ratio"] is None else f"{figure['ratio']:.2f}"
            return f"{report.number(value)} {figure['unit']}, ratio {ratio}, batch {figure['batch']:,}{', ' + less if less else ''}"
        return own, profiled, beside

    def panels(self, seconds, entry):
        """The row `loss` is measured with the fastest; with the one that ships, where none was timed."""
        if not self.cuda:
            raise Skip("panels of logits are a GPU's")
        ours, end, entry["ms"] = self.sizes()["loss"][0], time.monotonic() + seconds, {}
        for panel in PANELS:
            if end - time.monotonic() < 5:
                break
            try:
                j = self.bench("panel-" + panel, ours, end - time.monotonic(), {"SPN_LOSS_PANEL": panel})[0]
            except Cut:
                break
            if j["extra_bytes"] <= 1e9:
                entry["ms"][panel] = round(j["seconds"] * 1e3, 3)
                self.made["panel"] = min(entry["ms"], key=entry["ms"].get)
        if not entry["ms"]:
            raise Skip(f"none was timed within its time and 1 GB; the row `loss` keeps {PANELS[0]}")
        said = ", ".join(f"{k} {v:.2f} ms" for k, v in entry["ms"].items())
        if len(entry["ms"]) < len(PANELS) and end - time.monotonic() < 5:
            raise Cut(f"{said}; no time for the others")
        return said

    def own_kernels(self, seconds, entry):
        small = ["--elements", 16384, "--repeats", 2] if self.a.small else []
        status, text, cut = self.run("kernels", [self.spotniche, "bench", "kernels", "--device", self.a.device, *small], seconds)
        lines = [j for j in report.read_jsonl(text) if "kernel" in j]
        shipped = {j["kernel"]: j for j in lines if j["shipped"]}
        for name, j in shipped.items():
            if name.startswith("contrastive"):
                continue  # bound by arithmetic: the row `loss` is its figure
            self.figures.append(report.make_figure(name, j["gb_per_s"], None, of_copy=j["of_copy"], ours=j))
        entry["rungs"] = lines
        missing = [k for k in report.KERNELS if k not in shipped]
        if missing:
            entry["missing"] = missing
            self.part("ladders", 10, lambda *_: self.skip(f"`bench kernels` gave no {', '.join(missing)}"), reserve=True)
        if cut or status != 0:  # what was timed before a rung was found wrong stays in the table
            after = f"after {len(shipped)} kernels"
            if cut:
                raise Cut(f"not done in time {after}; see logs/kernels.log")
            raise Failed(f"status {status} {after}, {quoted(text)}; see logs/kernels.log")
        return f"{len(shipped)} kernels"

    def torch_kernels(self, seconds, entry):
        common = ["--elements", 16384] if self.a.small else ["--compile"]
        common += ["--device", self.a.device, "--steps", 2 if self.a.small else 30]
        lines, less = self.peer("torch-kernels", ["--work", "kernels", "--precision", "bf16", *common], seconds / 2)
        adamw, _ = self.peer("torch-adamw", ["--work", "adamw", "--features", "--config", TINY if self.a.small else FULL,
                                             *common], seconds / 2)
        compared = 0
        for j in lines + [dict(adamw[0], kernel="adamw")]:
            for figure in self.figures:
                if figure["row"] == j["kernel"]:
                    figure.update(report.make_figure(j["kernel"], figure["value"], j["gbps"], of_copy=figure.get("of_copy")),
                                  torch_run=j, torch_without=less)
                    compared += 1
        entry["figures"] = lines + adamw
        if "not done" in less:
            raise Cut(f"{len(lines)} kernels, not done in its time, and AdamW; {compared} beside ours")
        return f"{len(lines) + 1} figures, {compared} beside ours"
