#!/usr/bin/env python3
"""The same training in plain PyTorch, written from the papers: what ours is measured against.

Self-masking (arXiv 2409.07577) with the objective of SwAV (arXiv 2006.09882), as
one would write it with torch and torchvision. Knows none of Katagami's code; it
reads the same recipe, the same base and, to compare losses, the same crops.

usage: swav.py parity TRACE BASE RECIPE ARCH        losses on the crops of a trace, beside those in it
       swav.py speed FOLDER BASE RECIPE ARCH STEPS WORKERS LAYOUT   images a second with so many workers, contiguous or channels-last
       swav.py train FOLDER BASE RECIPE ARCH STEPS SEED OUT   the masked weights, as safetensors

Prints one JSON object.
"""
import json
import math
import pathlib
import struct
import sys
import time
import tomllib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


# ---- weights ---------------------------------------------------------------

def read_safetensors(path):
    """The float32 tensors of a safetensors file by name."""
    data = np.memmap(path, np.uint8, "r")
    (length,) = struct.unpack("<Q", data[:8].tobytes())
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length].tobytes()).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            values = np.frombuffer(data[8 + length + begin : 8 + length + end], "<f4")
            tensors[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return tensors


def write_safetensors(tensors, path):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        end = offset + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor.numpy(), "<f4").tobytes())


# ---- networks --------------------------------------------------------------

class Lite(nn.Module):
    """EfficientNet-Lite of efficientnet-lite-pytorch up to the averaged last feature map."""

    def __init__(self, number):
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.net = EfficientNet.from_name(f"efficientnet-lite{number}")

    def forward(self, x, drops):
        net = self.net
        x = F.relu6(net._bn0(net._conv_stem(x)))
        for index, block in enumerate(net._blocks):
            args, y = block._block_args, x
            if args.expand_ratio != 1:
                y = F.relu6(block._bn0(block._expand_conv(y)))
            y = F.relu6(block._bn1(block._depthwise_conv(y)))
            y = block._bn2(block._project_conv(y))
            if y.shape == x.shape and args.id_skip:
                factors = drops(index, len(net._blocks), len(x))
                if factors is not None:
                    y = y * factors[:, None, None, None]
                y = y + x
            x = y
        return F.relu6(net._bn1(net._conv_head(x))).mean((2, 3))


class Residual(nn.Module):
    """A ResNet of torchvision without its classifier."""

    def __init__(self, name):
        super().__init__()
        import torchvision

        self.net = getattr(torchvision.models, name)()
        self.net.fc = nn.Identity()

    def forward(self, x, _drops):
        return self.net(x)


def network(arch, base):
    """The network with the base's weights, and its width."""
    if arch.startswith("efficientnet_lite"):
        model = Lite(arch[-1])
        width = 1280
    else:
        model = Residual(arch)
        width = 2048 if arch == "resnet50" else 512
    state = model.net.state_dict()
    for name, value in base.items():
        assert state[name].shape == value.shape, name
        state[name] = value
    model.net.load_state_dict(state)
    return model, width


# ---- the method ------------------------------------------------------------

class Threshold(torch.autograd.Function):
    """1 where a score is above 0; the gradient passes straight through."""

    @staticmethod
    def forward(_ctx, scores):
        return (scores > 0).float()

    @staticmethod
    def backward(_ctx, gradient):
        return gradient


def masked(weight, scores):
    """theta / alpha * M with alpha = sqrt(mean(M)), a constant to the gradient."""
    mask = Threshold.apply(scores)
    alpha = mask.detach().double().mean().sqrt().float()
    return weight * mask / alpha


class Head(nn.Module):
    """Linear, BatchNorm, ReLU, linear, unit length; then prototypes of unit length."""

    def __init__(self, width, rule):
        super().__init__()
        self.first = nn.Linear(width, rule["hidden"])
        self.norm = nn.BatchNorm1d(rule["hidden"], track_running_stats=False)
        self.second = nn.Linear(rule["hidden"], rule["output"])
        self.prototypes = nn.Linear(rule["output"], rule["prototypes"], bias=False)
        self.normalise()

    @torch.no_grad()
    def normalise(self):
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def forward(self, x):
        x = self.second(F.relu(self.norm(self.first(x))))
        x = F.normalize(x, dim=1)
        return x, self.prototypes(x)


@torch.no_grad()
def sinkhorn(scores, epsilon, rounds):
    """Codes that use every prototype equally."""
    q = torch.exp((scores.double() - scores.max()) / epsilon).T
    for _ in range(rounds):
        q /= q.sum(1, keepdim=True) * q.shape[0]
        q /= q.sum(0, keepdim=True) * q.shape[1]
    return (q * q.shape[1]).T.float()


class Trainer:
    def __init__(self, arch, base, recipe, steps, channels_last):
        self.recipe = recipe
        schedule = dict(recipe["schedule"])
        if steps < schedule["steps"]:  # a smaller budget cuts the beginning in proportion
            for name in ("warm-up", "prototypes-frozen"):
                schedule[name] = (schedule[name] * steps + schedule["steps"] // 2) // schedule["steps"]
        schedule["steps"] = steps
        self.schedule = schedule
        self.model, width = network(arch, base)
        if channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.channels_last = channels_last
        self.head = Head(width, recipe["head"])
        self.moving = recipe["mask"].get("norms", "frozen") == "moving"
        self.model.train(self.moving)
        self.model.requires_grad_(False)
        plain = [
            f"net.{name}"
            for name, value in self.model.net.named_parameters()
            if value.dim() == 4 and not (value.shape[1] == 1 and value.shape[0] > 1)
        ]
        parameters = dict(self.model.named_parameters())
        chosen = plain[recipe["mask"]["skip-first"] :]
        self.frozen = {name: parameters[name] for name in chosen}
        self.scores = {name: torch.ones_like(weight, requires_grad=True) for name, weight in self.frozen.items()}
        self.velocity = {name: torch.zeros_like(weight) for name, weight in self.frozen.items()}
        head = recipe["head"]
        self.optimiser = torch.optim.SGD(self.head.parameters(), lr=head["rate"], momentum=head["momentum"])
        self.queue, self.step = [], 0

    def weights(self):
        return {name: masked(weight, self.scores[name]) for name, weight in self.frozen.items()}

    def advance(self, crops, drops):
        """One step on [large, small] crops, crop by crop; its loss."""
        recipe, schedule, step = self.recipe, self.schedule, self.step
        learning = step >= schedule["warm-up"]
        with torch.set_grad_enabled(learning):
            weights = self.weights()
            self.model.train(self.moving and learning)
            parts = []
            for number, part in enumerate(crops):
                if self.channels_last:
                    part = part.contiguous(memory_format=torch.channels_last)
                parts.append(torch.func.functional_call(self.model, weights, (part, drops(number))))
            embedded = torch.cat(parts)
        projected, scores = self.head(embedded)
        swav, batch = recipe["swav"], schedule["batch"]
        large = recipe["augment"]["large"]["count"]
        codes, rule = [], swav.get("queue")
        for crop in range(large):
            own = scores[crop * batch : (crop + 1) * batch].detach()
            if rule and self.queue and len(self.queue[crop]) >= rule["length"]:
                with torch.no_grad():
                    earlier = self.head.prototypes(self.queue[crop])
                own = torch.cat([earlier, own])
            codes.append(sinkhorn(own, swav["epsilon"], swav["rounds"])[-batch:])
        if rule and step >= rule["from"] * schedule["steps"]:
            newest = [projected[c * batch : (c + 1) * batch].detach() for c in range(large)]
            before = self.queue or [newest[0][:0]] * large
            self.queue = [torch.cat(pair)[: rule["length"]] for pair in zip(newest, before)]
        log = F.log_softmax(scores / swav["temperature"], dim=1)
        terms = [
            -(code * log[view * batch : (view + 1) * batch]).sum(1).mean()
            for crop, code in enumerate(codes)
            for view in range(len(log) // batch)
            if view != crop
        ]
        loss = torch.stack(terms).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if learning:
            self.descend(step - schedule["warm-up"], schedule["steps"] - schedule["warm-up"])
        if step < schedule["prototypes-frozen"]:
            self.head.prototypes.weight.grad = None
        self.optimiser.step()
        self.head.normalise()
        self.step += 1
        return loss.item()

    @torch.no_grad()
    def descend(self, step, steps):
        rule = self.recipe["mask"]
        rate = rule["rate"] * 0.5 * (1 + math.cos(math.pi * step / steps))
        for name, scores in self.scores.items():
            gradient = scores.grad
            if rule["normalise"]:
                root = gradient.double().pow(2).mean().sqrt().float()
                gradient = gradient / root if root > 0 else torch.zeros_like(gradient)
            velocity = self.velocity[name].mul_(rule["momentum"]).add_(gradient)
            scores.sub_(velocity, alpha=rate)
            scores.grad = None

    def dropped(self):
        return sum(int((scores <= 0).sum()) for scores in self.scores.values())

    @torch.no_grad()
    def product(self):
        """The masked network, by the base's names."""
        state = dict(self.model.net.state_dict())
        for name, weight in self.weights().items():
            state[name.removeprefix("net.")] = weight
        return state


# ---- pictures --------------------------------------------------------------

def paths_of(folder):
    """The files below a folder, but for hidden ones: they are no pictures."""
    return sorted(path for path in pathlib.Path(folder).rglob("[!.]*") if path.is_file())


class MultiCrop(torch.utils.data.Dataset):
    """Crops of pictures that are decoded and shrunk once, then kept in memory."""

    def __init__(self, paths, recipe, mean, std):
        from torchvision.transforms import v2

        rule = recipe["augment"]
        edge = 2 * rule["large"]["size"]
        self.pictures = [self.decoded(path, edge) for path in paths]
        jitter = v2.ColorJitter(
            rule["brightness"], rule["contrast"], rule.get("saturation", 0), rule.get("hue", 0)
        )
        flips = [v2.RandomHorizontalFlip()]
        if rule.get("flips", "both") == "both":
            flips.append(v2.RandomVerticalFlip())
        colours = [v2.RandomApply([jitter], 1 - rule.get("unjittered", 0))]
        if rule.get("grey"):
            colours.append(v2.RandomGrayscale(rule["grey"]))
        if rule.get("blur"):
            colours.append(v2.RandomApply([v2.GaussianBlur(9, (0.1, 2.0))], rule["blur"]))
        last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
        self.views = []
        for name in ("large", "small"):
            crop = rule[name]
            resized = v2.RandomResizedCrop(crop["size"], tuple(crop["scale"]), antialias=True)
            self.views.append((v2.Compose([resized, *flips, *colours, *last]), crop["count"]))

    @staticmethod
    def decoded(path, edge):
        from PIL import Image

        picture = Image.open(path).convert("RGB").resize((edge, edge), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        picture = self.pictures[index]
        return [torch.stack([view(picture) for _ in range(count)]) for view, count in self.views]


def joined(samples):
    """Crop by crop, within a crop image by image, as the trainer wants them."""
    return [torch.stack(part).transpose(0, 1).flatten(0, 1) for part in zip(*samples)]


def batches(data, recipe, workers, seed):
    generator = torch.Generator().manual_seed(seed)
    loader = torch.utils.data.DataLoader(
        data, recipe["schedule"]["batch"], shuffle=True, drop_last=True, num_workers=workers,
        collate_fn=joined, generator=generator, persistent_workers=workers > 0,
    )
    while True:
        yield from loader


def drop_connect(rate):
    """The reference's stochastic depth."""

    def of_pass(_number):
        def factors(index, blocks, batch):
            share = rate * index / blocks
            if share <= 0:
                return None
            return torch.bernoulli(torch.full((batch,), 1 - share)) / (1 - share)

        return factors

    return of_pass


NORMALISATION = {"efficientnet": ((0.498,) * 3, (0.502,) * 3), "resnet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


def normalisation(arch):
    return NORMALISATION["efficientnet" if arch.startswith("efficientnet") else "resnet"]


# ---- commands --------------------------------------------------------------

def parity(trace, base, recipe, arch):
    steps = len(trace["losses"])
    trainer = Trainer(arch, base, recipe, steps, channels_last=False)
    with torch.no_grad():
        parameters = list(trainer.head.parameters())
        for number, parameter in enumerate(parameters):
            parameter.copy_(trace[f"head.{number}"])
    losses, dropped = [], []
    for step in range(steps):
        crops = [trace[f"{name}.{step}"] for name in ("large", "small")]

        def drops(number, step=step):
            return lambda index, _blocks, _batch: trace.get(f"drop.{step}.{number}.{index}")

        losses.append(trainer.advance([crop for crop in crops if len(crop)], drops))
        dropped.append(trainer.dropped())
    traced = {f"traced{kind}": trace[name].tolist() for kind, name in (("", "losses"), ("_dropped", "dropped"))}
    return {"losses": losses, "dropped": dropped, **traced}


def trained(folder, base, recipe, arch, steps, workers, channels_last, seed):
    torch.manual_seed(seed)
    began = time.monotonic()
    data = MultiCrop(paths_of(folder), recipe, *normalisation(arch))
    trainer = Trainer(arch, base, recipe, steps, channels_last)
    source = batches(data, recipe, workers, seed)
    drops = drop_connect(recipe["swav"].get("drop-connect", 0))
    losses = []
    for _, crops in zip(range(steps), source):
        losses.append(trainer.advance([crop for crop in crops if len(crop)], drops))
    return trainer, losses, time.monotonic() - began


def main(command, *rest):
    torch.set_num_threads(2)
    if command == "parity":
        trace, base, recipe, arch = rest
        result = parity(read_safetensors(trace), read_safetensors(base), tomllib.loads(pathlib.Path(recipe).read_text()), arch)
    else:
        folder, base, recipe, arch, steps, *more = rest
        recipe = tomllib.loads(pathlib.Path(recipe).read_text())
        base = read_safetensors(base)
        if command == "speed":
            workers, channels_last = int(more[0]), more[1] == "channels-last"
            trainer, losses, seconds = trained(folder, base, recipe, arch, int(steps), workers, channels_last, 0)
            images = int(steps) * recipe["schedule"]["batch"]
            result = {"images_per_second": images / seconds, "seconds": seconds, "loss_last": losses[-1]}
        elif command == "train":
            seed, out = int(more[0]), more[1]
            trainer, losses, seconds = trained(folder, base, recipe, arch, int(steps), 0, True, seed)
            product = trainer.product()
            write_safetensors({name: product[name].contiguous() for name in base}, out)
            result = {"dropped": trainer.dropped(), "seconds": seconds, "loss_last": losses[-1]}
        else:
            sys.exit(__doc__)
    print(json.dumps(result))


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
