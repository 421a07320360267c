#!/usr/bin/env python3
"""`make bench NAME=train`: our trainer beside the same training in plain PyTorch (swav.py).

Losses on the same crops, head and prototypes; images a second and memory with each
side's own loading; k-NN of what three seeds leave. Prints `figure: train/…` lines.

usage: compare.py WORKER BASE RECIPES IMAGES SEEDS
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import torch

import swav

HERE = pathlib.Path(__file__).parent


def figure(name, value, unit):
    print(f"figure: train/{name} = {value:.6g} {unit}", flush=True)


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
    """What a command printed (JSON), its seconds, and the peak megabytes of its processes together."""
    began = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak, ended = [0.0], threading.Event()

    def watch():
        while not ended.wait(0.25):
            peak[0] = max(peak[0], sum(map(proportional, tree(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = process.communicate()
    ended.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed")
    return json.loads(out[out.index("{") :]), time.monotonic() - began, peak[0]


def formula(name, shape, index):
    """Weights for a network that no registry has pretrained: seeded, at the usual scale."""
    random = np.random.default_rng(index)
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


def parity(worker, base, recipe, arch, images, steps, work):
    """The greatest relative difference of losses on the same crops."""
    trace = work / "trace.safetensors"
    command = [worker, "train", "--base", base, "--arch", arch, "--images", images, "--recipe", recipe]
    command += ["--steps", steps, "--device", "cpu", "--out", work / "none", "--trace", trace]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    theirs, _, _ = measured([sys.executable, HERE / "swav.py", "parity", trace, base, recipe, arch])
    ours = swav.read_safetensors(trace)
    pairs = list(zip(ours["losses"].tolist(), theirs["losses"]))
    name = pathlib.Path(recipe).stem
    figure(f"{name}/loss_difference", max(abs(a - b) / abs(b) for a, b in pairs), f"relative, over {steps} steps")
    figure(f"{name}/dropped", ours["dropped"].tolist()[-1], f"weights, {theirs['dropped'][-1]} by PyTorch")
    trace.unlink()


def speed(worker, base, recipe, arch, images, steps, work):
    """Images a second from decoding to the update, and peak memory."""
    batch = swav.tomllib.loads(pathlib.Path(recipe).read_text())["schedule"]["batch"]
    best = None
    for workers in (0, 1, 2):
        for layout in ("contiguous", "channels-last"):
            command = [sys.executable, HERE / "swav.py", "speed", images, base, recipe, arch, steps, workers, layout]
            result, _, peak = measured(command)
            print(f"pytorch, num_workers {workers}, {layout}: {result['images_per_second']:.1f} images/s, {peak:.0f} MB", flush=True)
            if best is None or result["images_per_second"] > best[0]:
                best = (result["images_per_second"], peak, f"num_workers {workers}, {layout}")
    command = [worker, "train", "--base", base, "--arch", arch, "--images", images, "--recipe", recipe]
    command += ["--steps", steps, "--device", "cpu", "--json", "--out", work / "mask"]
    result, _, peak = measured(command)
    rate = steps * batch / result["training_seconds"]
    figure("images_per_second", rate, "images/s")
    figure("images_per_second_pytorch", best[0], f"images/s with {best[2]}")
    figure("images_per_second_vs_pytorch", rate / best[0], "ratio")
    figure("memory", peak, "MB")
    figure("memory_vs_pytorch", peak / best[1], "ratio")


def time_to_mask(worker, base, recipe, arch, images, work):
    """A whole training of the recipe on 1,000 images, decoding and gate included."""
    folder = work / "thousand"
    folder.mkdir()
    for number, path in enumerate(swav.paths_of(images)[:1000]):
        (folder / f"{number}{path.suffix}").symlink_to(path.resolve())
    command = [worker, "train", "--base", base, "--arch", arch, "--images", folder, "--recipe", recipe]
    result, seconds, _ = measured(command + ["--device", "cpu", "--json", "--out", work / "mask"])
    figure("time_to_mask", seconds / 60, f"minutes for {result['images']} images and {result['steps']} steps, gate included")


def knn(worker, base, recipe, arch, images, steps, work, seeds):
    """k-NN of what each side's own training leaves, over seeds."""
    found = {"ours": [], "pytorch": []}
    for seed in range(seeds):
        mask, model = work / f"{seed}.kgm", work / f"{seed}.safetensors"
        command = [worker, "train", "--base", base, "--arch", arch, "--images", images, "--recipe", recipe]
        measured(command + ["--steps", steps, "--seed", seed, "--device", "cpu", "--json", "--out", mask])
        measured([sys.executable, HERE / "swav.py", "train", images, base, recipe, arch, steps, seed, model])
        for side, option, product in (("ours", "--mask", mask), ("pytorch", "--weights", model)):
            command = [worker, "judge", "--base", base, "--arch", arch, "--labelled", images, "--device", "cpu", "--json"]
            judged, _, _ = measured(command + [option, product])
            found[side].append(judged["mask"]["knn"]["mask"]["value"])
            print(f"seed {seed}, {side}: k-NN {found[side][-1]:.4f}", flush=True)
    means = {side: sum(values) / len(values) for side, values in found.items()}
    figure("knn", means["ours"], "balanced accuracy")
    figure("knn_pytorch", means["pytorch"], "balanced accuracy")
    figure("knn_difference_vs_pytorch", means["ours"] - means["pytorch"], "of 1")


def main(worker, base, recipes, images, seeds):
    recipes = pathlib.Path(recipes)
    factory, paper = recipes / "factory.toml", recipes / "paper-resnet50.toml"
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        parity(worker, base, factory, "efficientnet_lite0", images, 20, work)
        resnet50(work / "resnet50.safetensors")
        parity(worker, work / "resnet50.safetensors", paper, "resnet50", images, 5, work)
        speed(worker, base, factory, "efficientnet_lite0", images, 40, work)
        time_to_mask(worker, base, factory, "efficientnet_lite0", images, work)
        knn(worker, base, factory, "efficientnet_lite0", images, 100, work, int(seeds))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
