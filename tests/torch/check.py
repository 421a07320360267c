#!/usr/bin/env python3
"""What an edge device runs, checked by the reference implementation (`make check-torch`).

Loads a device's safetensors file into EfficientNet-Lite0 of the Python package
efficientnet-lite-pytorch, recomputes the canonical digest without any of
Katagami's code, and compares embeddings on the same input tensor.

usage: check.py MODEL.safetensors DIGEST INPUT.safetensors EMBEDDINGS.jsonl
"""
import hashlib
import json
import struct
import sys

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet

TOLERANCE = 1e-4  # of the largest absolute value: max|a-b| <= 1e-4 max|b|


def safetensors(path):
    """The tensors of a safetensors file by name; float32 only."""
    data = open(path, "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32", (name, entry["dtype"])
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + length + begin : 8 + length + end], "<f4")
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def main(model, promised, inputs, embeddings):
    torch.set_grad_enabled(False)
    weights = safetensors(model)
    network = EfficientNet.from_name("efficientnet-lite0")
    state = network.state_dict()
    body = [name for name in state if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")]
    digest = hashlib.sha256()
    for name in body:
        digest.update(np.ascontiguousarray(weights[name], "<f4").tobytes())
        state[name] = torch.from_numpy(weights[name].copy())
    assert digest.hexdigest() == promised, f"digest {digest.hexdigest()}, promised {promised}"
    print(f"digest: {promised} recomputed")

    network.load_state_dict(state)
    network.eval()
    batch = torch.from_numpy(safetensors(inputs)["input"].copy())
    expected = network.extract_features(batch).mean((2, 3)).numpy()
    given = np.array([json.loads(line)["embedding"] for line in open(embeddings)], np.float32)
    assert given.shape == expected.shape, (given.shape, expected.shape)
    difference = np.abs(given - expected).max() / np.abs(expected).max()
    print(f"figure: check-torch/embedding_difference = {difference:.2e} of the largest value")
    assert difference <= TOLERANCE, difference


if __name__ == "__main__":
    main(*sys.argv[1:])
