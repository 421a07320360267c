#!/usr/bin/env python3
"""Checks that checkpoints as PyTorch's trainings save them become the right base (`make check-torch`).

Saves networks of torchvision and timm with `torch.save` the way their
libraries, SwAV, DINO, DINOv2, MoCo and OpenCLIP do, beside an optimiser with
its state, command-line options and a second network; imports each, and
compares the base's digest with that of the network's own tensors.

usage: check_checkpoints.py KATAGAMI FOLDER
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys

import timm
import torch
import torchvision

HEADS = ("fc.", "head.", "classifier.")


def body(network):
    return {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith(HEADS) and not name.endswith("num_batches_tracked")
    }


def digest(tensors):
    whole = hashlib.sha256()
    for tensor in tensors.values():
        whole.update(tensor.float().contiguous().numpy().astype("<f4").tobytes())
    return whole.hexdigest()


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def optimiser(network):
    """Its state after one step."""
    made = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    return made.state_dict()


def training(network, networks):
    options = argparse.Namespace(lr=1e-3, arch="vit", cos=True, schedule=[120, 160], seed=None)
    return {"epoch": 7, "arch": "a", **networks, "optimizer": optimiser(network), "args": options}


def clips_own(state):
    """timm's image tower under OpenCLIP's names, with a text tower."""
    renamed = {}
    for name, tensor in state.items():
        for theirs, ours in [
            ("conv1.weight", "patch_embed.proj.weight"), ("ln_pre.", "norm_pre."), ("transformer.resblocks.", "blocks."),
            ("ln_1.", "norm1."), ("ln_2.", "norm2."), ("attn.in_proj_", "attn.qkv."), ("attn.out_proj.", "attn.proj."),
            ("mlp.c_fc.", "mlp.fc1."), ("mlp.c_proj.", "mlp.fc2."),
        ]:
            name = name.replace(ours, theirs)
        name = "ln_post." + name.removeprefix("norm.") if name.startswith("norm.") else name
        if name == "cls_token":
            name, tensor = "class_embedding", tensor[0, 0]
        if name == "pos_embed":
            name, tensor = "positional_embedding", tensor[0]
        renamed["visual." + name] = tensor
    text = {"logit_scale": torch.ones([]), "positional_embedding": torch.ones(77, 8), "visual.proj": torch.ones(8, 8)}
    return renamed | text | {"transformer.resblocks.0.ln_1.weight": torch.ones(8)}


def with_registers_own(network, state):
    """What DINOv2 itself saves: the class token has a position of its own."""
    state = dict(state)
    position = torch.randn(1, 1, state["cls_token"].shape[-1])
    expected = state | {"cls_token": state["cls_token"] + position}
    state["register_tokens"] = state.pop("reg_token")
    state["pos_embed"] = torch.cat([position, state["pos_embed"]], 1)
    return state | {"mask_token": torch.zeros(1, state["cls_token"].shape[-1])}, expected


def layouts():
    resnet, other = torchvision.models.resnet18(), torchvision.models.resnet18()
    own, foreign, whole = body(resnet), body(other), resnet.state_dict()
    yield "torchvision", "resnet18", whole, own
    yield "timm", "resnet18", training(resnet, {"state_dict": whole}), own
    heads = {"module.projection_head.0.weight": torch.ones(4, 4), "module.prototypes.weight": torch.ones(4, 4)}
    yield "SwAV", "resnet18", prefixed("module.", own) | heads, own
    queue = {"module.queue": torch.ones(4, 4), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    moco = prefixed("module.encoder_q.", whole) | prefixed("module.encoder_k.", foreign) | queue
    yield "MoCo v2", "resnet18", training(resnet, {"state_dict": moco}), own
    moco = prefixed("module.base_encoder.", whole) | prefixed("module.momentum_encoder.", foreign)
    moco |= {"module.predictor.0.weight": torch.ones(4, 4)}
    yield "MoCo v3", "resnet18", training(resnet, {"state_dict": moco}), own
    mobilenet = torchvision.models.mobilenet_v2()
    yield "torchvision", "mobilenet_v2", mobilenet.state_dict(), body(mobilenet)
    mobilenet = timm.create_model("mobilenetv2_100")
    yield "timm", "mobilenet_v2", mobilenet.state_dict(), body(mobilenet)

    small = timm.create_model("vit_small_patch16_224")
    own = body(small)
    yield "timm", "vit_small_patch16_224", small.state_dict(), own
    head = {"head.mlp.0.weight": torch.ones(4, 4), "head.last_layer.weight_g": torch.ones(4, 1)}
    student = prefixed("module.backbone.", body(timm.create_model("vit_small_patch16_224")))
    networks = {"student": student, "teacher": prefixed("backbone.", own) | head}
    yield "DINO", "vit_small_patch16_224_dino", training(small, networks), own
    for name in ("vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"):
        network = timm.create_model(name, num_classes=0)
        yield "timm", name, network.state_dict(), body(network)
    yield "DINOv2", name, *with_registers_own(network, body(network))
    clip = timm.create_model("vit_base_patch32_clip_quickgelu_224")
    yield "timm", "vit_base_patch32_clip_quickgelu_224", clip.state_dict(), body(clip)
    yield "OpenCLIP", "vit_base_patch32_clip_quickgelu_224", clips_own(body(clip)), body(clip)


def main(katagami, folder):
    torch.manual_seed(1)
    folder = pathlib.Path(folder)
    for library, architecture, checkpoint, expected in layouts():
        for legacy in (False, True):
            path = folder / "checkpoint.pth"
            torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
            arguments = ["base", "import", "--store", folder / "bases", "--arch", architecture, "--weights", path, "--json"]
            answer = subprocess.run([katagami, *map(str, arguments)], capture_output=True, text=True)
            found = json.loads(answer.stdout)["digest"] if answer.returncode == 0 else answer.stderr.strip()
            if found != digest(expected):
                sys.exit(f"{library}'s {architecture}, legacy: {legacy}: {found}")
        print(f"{library}'s {architecture}: the base is its network")


if __name__ == "__main__":
    main(*sys.argv[1:])
