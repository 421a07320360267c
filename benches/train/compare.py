#!/usr/bin/env python3
"""`make bench NAME=train`: our trainer beside the same training in plain PyTorch (swav.py).

Losses on the same crops, head and prototypes; images a second and memory with each
side's own loading; k-NN of what three seeds leave; the time to a mask. Prints
`figure: train/…` lines. What a command printed is kept in CACHE by all that decides it
(the executable included), so an interrupted run goes on where it was.

usage: compare.py WORKER BASE RECIPES IMAGES CACHE

PART="parity-factory parity-paper speed knn time": only these. SEEDS=3: trainings a side.
TRIAL=true: a few steps on small crops, to see that each part works; prints no figure.
"""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import torch

import swav

HERE = pathlib.Path(__file__).parent
TRIAL = os.environ.get("TRIAL") == "true"
LITE = "efficientnet_lite0"
# A part, and its minutes on two idle cores. That of k-NN is for each seed.
PARTS = {"parity-factory": 3, "parity-paper": 4, "speed": 11, "knn": 9, "time": 7}
# The paper's batch is 64 images of 8 crops, whose features take 20 GB in a ResNet-50. Losses are compared on fewer.
PAPER_BATCH = 8


def figure(name, value, unit):
    line = f"train/{name} = {value:.6g} {unit}"
    print(f"trial, no figure: {line}" if TRIAL else f"figure: {line}", flush=True)


# ---- what is measured, and kept ----------------------------------------------

def tree(root):
    """A process and all below it."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                parents.setdefault(int(open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
            except OSError:
                pass
    found, left = [], [root]
    while left:
        found.append(left.pop())
        left.extend(parents.get(found[-1], []))
    return found


def proportional(process):
    """Megabytes of a process; what it shares counts in part."""
    try:
        for line in open(f"/proc/{process}/smaps_rollup"):
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def measured(command):
    """What a command prints (JSON), its seconds, the peak megabytes of its processes together, and the machine's load before."""
    load, began = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        peak, ended = [0.0], threading.Event()

        def watch():
            while not ended.wait(0.25):
                peak[0] = max(peak[0], sum(map(proportional, tree(process.pid))))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            out, _ = process.communicate()
        finally:
            process.kill()
            ended.set()
            watcher.join()
        if process.returncode:
            said.seek(0)
            last = (said.read().strip().splitlines() or ["it says nothing"])[-1]
            sys.exit(f"error: `{' '.join(command[:3])} …` ended with {process.returncode}: {last}")
    printed = json.loads(out[out.index("{") :]) if "{" in out else {}
    return {"printed": printed, "seconds": time.monotonic() - began, "megabytes": peak[0], "load": load}


class Kept:
    """Results of commands by what decides them."""

    def __init__(self, cache, worker, base, images):
        self.cache = cache
        cache.mkdir(parents=True, exist_ok=True)
        listed = [(str(path.relative_to(images)), path.stat().st_size) for path in swav.paths_of(images)]
        self.set = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
        self.base = hashlib.file_digest(open(base, "rb"), "sha256").hexdigest()
        self.ours = hashlib.file_digest(open(worker, "rb"), "sha256").hexdigest()
        script = (HERE / "swav.py").read_text()
        self.theirs = hashlib.sha256((script + torch.__version__).encode()).hexdigest()

    def path(self, what, recipe, *settings, suffix=".json"):
        """The file of what is decided by `what`, a recipe's text, and `settings`."""
        decisive = [what, self.set, self.base, recipe.read_text(), *settings]
        key = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:24]
        return self.cache / (key + suffix)

    def run(self, path, what, command):
        """What `command` gives, or gave: kept in `path`."""
        if path.exists():
            kept = json.loads(path.read_text())
            print(f"kept: {what} (took {kept['seconds']:.0f} s at a load of {kept['load']:.1f})", flush=True)
            return kept
        print(f"running: {what}", flush=True)
        result = measured([str(word) for word in command])
        part = path.with_suffix(".part")
        part.write_text(json.dumps(result))
        part.rename(path)
        return result


# ---- recipes and weights -----------------------------------------------------

def changed(recipe, work, **fields):
    """The recipe with other numbers, as a file of its own. In a trial its crops are small, too."""
    # Both sides are told a number of steps; it is a share of these.
    text = re.sub(r"(?m)^epochs = .*$", "steps = 15000", recipe.read_text())
    if TRIAL:
        fields = {"batch": 8, **fields}
        text = re.sub(r"(large = .*?size = )\d+", r"\g<1>64", text)
        text = re.sub(r"(small = .*?size = )\d+", r"\g<1>32", text)
    for name, value in fields.items():
        text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        assert count == 1, f"{recipe} has no {name}"
    path = work / recipe.name
    path.write_text(text)
    return path


def formula(name, shape, index):
    """Weights for a network that no registry has pretrained: seeded, at the usual scale. The last BatchNorm
    of a block is small, as in trained networks: at 1 each block doubles the variance, and rounding grows with it."""
    random = np.random.default_rng(index)
    if name.endswith("bn3.weight"):
        return np.full(shape, 0.2, np.float32)
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        return np.ones(shape, np.float32)
    if len(shape) == 4:
        return (random.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))).astype(np.float32)
    return np.zeros(shape, np.float32)


def resnet50(path):
    import torchvision

    state = torchvision.models.resnet50().state_dict()
    names = [name for name in state if not name.startswith("fc.") and not name.endswith("num_batches_tracked")]
    tensors = {name: torch.from_numpy(formula(name, tuple(state[name].shape), at)) for at, name in enumerate(names)}
    swav.write_safetensors(tensors, path)


def some(images, count, work):
    """The set, or evenly chosen links to `count` of it, each in its class's folder."""
    paths = swav.paths_of(images)
    if len(paths) <= count:
        return images
    folder = work / f"some-{count}"
    for number in range(count):
        path = paths[number * len(paths) // count]
        link = folder / path.relative_to(images)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(path.resolve())
    return folder


# ---- the parts -----------------------------------------------------------------

class Bench:
    def __init__(self, worker, base, recipes, images, cache, work):
        self.worker, self.base, self.work = worker, base, work
        self.factory, self.paper = recipes / "factory.toml", recipes / "paper-resnet50.toml"
        self.images = some(images, 64, work) if TRIAL else images
        self.kept = Kept(cache, worker, base, self.images)

    def train(self, recipe, steps, out, *more, base=None, arch=LITE, images=None):
        command = [self.worker, "train", "--base", base or self.base, "--arch", arch, "--recipe", recipe]
        command += ["--images", images or self.images, "--device", "cpu", "--threads", 2, "--out", out, "--json", *more]
        return command + (["--steps", steps] if steps else [])

    def pytorch(self, command, *arguments):
        return [sys.executable, HERE / "swav.py", command, *arguments]

    def parity(self, name, recipe, base, arch, steps):
        """The greatest relative difference of losses on the same crops."""
        trace = self.work / "trace.safetensors"
        weights = hashlib.file_digest(open(base, "rb"), "sha256").hexdigest()
        both = self.kept.path("parity", recipe, arch, weights, steps, self.kept.ours, self.kept.theirs)
        if not both.exists():
            # The trace is large and says nothing alone; only the comparison is kept.
            print(f"running: {name}, {steps} steps by Katagami", flush=True)
            measured([str(word) for word in self.train(recipe, steps, self.work / "none", "--trace", trace, base=base, arch=arch)])
        command = self.pytorch("parity", trace, base, recipe, arch)
        result = self.kept.run(both, f"{name}, {steps} steps by PyTorch", command)["printed"]
        pairs = list(zip(result["traced"], result["losses"], strict=True))
        apart = (f"{abs(ours - theirs) / abs(theirs):.1e}" for ours, theirs in pairs)
        print(f"{name}, relative difference step by step: {', '.join(apart)}", flush=True)
        worst = max(abs(ours - theirs) / abs(theirs) for ours, theirs in pairs)
        figure(f"{name}/loss_difference", worst, f"relative, over {len(pairs)} steps")
        figure(f"{name}/dropped", result["traced_dropped"][-1], f"weights, {result['dropped'][-1]} by PyTorch")
        trace.unlink(missing_ok=True)

    def parity_factory(self):
        self.parity("factory", changed(self.factory, self.work), self.base, LITE, 3 if TRIAL else 20)

    def parity_paper(self):
        weights = self.work / "resnet50.safetensors"
        resnet50(weights)
        recipe = changed(self.paper, self.work, batch=4 if TRIAL else PAPER_BATCH)
        self.parity("paper-resnet50", recipe, weights, "resnet50", 2 if TRIAL else 5)

    def speed(self):
        """Images a second from decoding to the update, and peak memory."""
        recipe, steps = changed(self.factory, self.work), 3 if TRIAL else 40
        batch = swav.tomllib.loads(recipe.read_text())["schedule"]["batch"]
        best, loads = None, []
        for workers in (0, 1, 2):
            for layout in ("contiguous", "channels-last"):
                what = f"num_workers {workers}, {layout}"
                # With ours in the key: ratios are of one day's runs.
                path = self.kept.path("speed", recipe, steps, what, self.kept.ours, self.kept.theirs)
                command = self.pytorch("speed", self.images, self.base, recipe, LITE, steps, workers, layout)
                result = self.kept.run(path, f"PyTorch, {what}", command)
                rate, peak = result["printed"]["images_per_second"], result["megabytes"]
                loads.append(result["load"])
                print(f"PyTorch, {what}: {rate:.1f} images/s, {peak:.0f} MB", flush=True)
                if best is None or rate > best[0]:
                    best = (rate, peak, what)
        path = self.kept.path("speed", recipe, steps, self.kept.ours)
        result = self.kept.run(path, "Katagami", self.train(recipe, steps, self.work / "mask"))
        loads.append(result["load"])
        rate, peak = steps * batch / result["printed"]["training_seconds"], result["megabytes"]
        print(f"load before each run: {', '.join(f'{load:.1f}' for load in loads)}; on an idle machine below 2.5", flush=True)
        figure("images_per_second", rate, "images/s")
        figure("images_per_second_pytorch", best[0], f"images/s with {best[2]}")
        figure("images_per_second_vs_pytorch", rate / best[0], "ratio")
        figure("memory", peak, "MB")
        figure("memory_vs_pytorch", peak / best[1], "ratio")

    def knn(self):
        """k-NN of what each side's own training leaves, over seeds."""
        recipe, steps = changed(self.factory, self.work), 4 if TRIAL else 100
        seeds, found = int(os.environ.get("SEEDS") or 3), {"ours": [], "pytorch": []}
        for seed in range(1 if TRIAL else seeds):
            mask = self.kept.path("train", recipe, steps, seed, self.kept.ours, suffix=".kgm")
            model = self.kept.path("train", recipe, steps, seed, self.kept.theirs, suffix=".safetensors")
            command = self.train(recipe, steps, mask, "--seed", seed)
            ours = self.kept.run(mask.with_suffix(".json"), f"seed {seed} by Katagami", command)["printed"]
            command = self.pytorch("train", self.images, self.base, recipe, LITE, steps, seed, model)
            self.kept.run(model.with_suffix(".json"), f"seed {seed} by PyTorch", command)
            # Where nothing fell there is no mask: it is the base.
            of_ours = ("--mask", mask) if ours["mask"] else ("--weights", self.base)
            for side, (option, product) in (("ours", of_ours), ("pytorch", ("--weights", model))):
                command = [self.worker, "judge", "--base", self.base, "--arch", LITE, "--labelled", self.images]
                command += ["--device", "cpu", "--threads", 2, "--json", option, product]
                path = self.kept.path("judge", recipe, steps, seed, side, self.kept.ours, self.kept.theirs)
                judged = self.kept.run(path, f"seed {seed}, {side}: judged", command)["printed"]
                found[side].append(judged["mask"]["knn"]["mask"]["value"])
                print(f"seed {seed}, {side}: k-NN {found[side][-1]:.4f}", flush=True)
        means = {side: sum(values) / len(values) for side, values in found.items()}
        figure("knn", means["ours"], "balanced accuracy")
        figure("knn_pytorch", means["pytorch"], "balanced accuracy")
        figure("knn_difference_vs_pytorch", means["ours"] - means["pytorch"], "of 1")

    def time(self):
        """A whole training of the recipe on 1,000 images, decoding and gate included."""
        recipe, steps = changed(self.factory, self.work), 4 if TRIAL else 0
        images = some(self.images, 1000, self.work)
        path = self.kept.path("time", recipe, steps, self.kept.ours)
        result = self.kept.run(path, "a mask of 1,000 images", self.train(recipe, steps, self.work / "mask", images=images))
        told = result["printed"]
        minutes = result["seconds"] / 60
        figure("time_to_mask", minutes, f"minutes for {told['images']} images and {told['steps']} steps, gate included")


def main(worker, base, recipes, images, cache):
    asked = os.environ.get("PART", "").split() or list(PARTS)
    unknown = [part for part in asked if part not in PARTS]
    if unknown:
        sys.exit(f"error: there is no part `{unknown[0]}`; there are: {', '.join(PARTS)}")
    seeds = int(os.environ.get("SEEDS") or 3)
    minutes = sum(PARTS[part] * (seeds if part == "knn" else 1) for part in asked)
    expected = "a trial, two minutes" if TRIAL else f"about {minutes} minutes on two idle cores, less what is kept"
    print(f"{', '.join(asked)}: {expected}; the load is {os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as work:
        paths = map(pathlib.Path, (worker, base, recipes, images, cache, work))
        bench = Bench(*paths)
        for part in asked:
            getattr(bench, part.replace("-", "_"))()


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
