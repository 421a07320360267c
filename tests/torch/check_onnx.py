#!/usr/bin/env python3
"""Masks laid over ONNX exports, checked by PyTorch and onnxruntime (`make check-torch`).

Exports EfficientNet-Lite0 of the Python package efficientnet-lite-pytorch with
the weights of a base in each way that docs/onnx.md calls working, lays a mask
over the export, and compares what onnxruntime makes of it with PyTorch's
network of the masked weights. Exports that do not hold the base's weights
must be refused, with the reason, and without writing anything.

usage: check_onnx.py KATAGAMI BASE.safetensors MASK.kgm FOLDER
"""
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from efficientnet_lite_pytorch import EfficientNet
from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

from check import TOLERANCE, safetensors

PRESERVE = torch.onnx.TrainingMode.PRESERVE
WORKING = {
    "one file": dict(dynamo=True, optimize=False, external_data=False),
    "data beside it": dict(dynamo=True, optimize=False),
    "older exporter": dict(dynamo=False, training=PRESERVE, do_constant_folding=False),
}
FOLDED = {
    "default": dict(dynamo=True),
    "older exporter's default": dict(dynamo=False),
    "constant folding off, optimised": dict(dynamo=True, training=PRESERVE, do_constant_folding=False),
}


class Features(torch.nn.Module):
    """The last feature map and the embedding."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        features = self.network.extract_features(x)
        return features, features.mean((2, 3))


def network(weights):
    body = EfficientNet.from_name("efficientnet-lite0")
    state = body.state_dict()
    state.update({name: torch.from_numpy(values.copy()) for name, values in weights.items() if name in state})
    body.load_state_dict(state)
    return Features(body).eval()


def export(model, x, path, **how):
    path.parent.mkdir()
    torch.onnx.export(model, (x,), str(path), input_names=["x"], verbose=False, **how)
    return path


def without_weights(path):
    """A model with its weights taken out: what the patcher may not touch."""
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    return model.SerializeToString(deterministic=True)


def initialisers(path):
    return {tensor.name: onnx.numpy_helper.to_array(tensor).tobytes() for tensor in onnx.load(path).graph.initializer}


def differ(given, expected):
    return np.abs(given - expected).max() / np.abs(expected).max()


class OneInput(CalibrationDataReader):
    def __init__(self, x):
        self.inputs = iter([{"x": x.numpy()}])

    def get_next(self):
        return next(self.inputs, None)


def main(katagami, base, mask, folder):
    # The exporters and the quantiser say much that is not about the weights.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_grad_enabled(False)
    torch.manual_seed(1)
    folder = Path(folder)

    def apply(*arguments):
        command = [katagami, "artefact", "apply", mask, "--base", base, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    def patch(path):
        out = path.parent / "out" / "masked.onnx"
        out.parent.mkdir()
        return apply("--onnx", path, "--out", out), out

    weights = folder / "masked.safetensors"
    assert apply("--out", weights).returncode == 0
    masked_weights = safetensors(weights)
    plain, masked = network(safetensors(base)), network(masked_weights)
    x = torch.randn(2, 3, 96, 96)
    expected = [output.numpy() for output in masked(x)]
    moved = differ(plain(x)[1].numpy(), expected[1])
    print(f"the mask moves embeddings by {moved:.1e} of the largest value")

    worst = 0
    for name, how in WORKING.items():
        path = export(plain, x, folder / name / "base.onnx", **how)
        outcome, out = patch(path)
        assert outcome.returncode == 0, outcome.stderr
        assert out.stat().st_size == path.stat().st_size
        assert without_weights(out) == without_weights(path), "something besides weights changed"
        # A mask that drops little moves embeddings less than the tolerance; the bits tell.
        assert initialisers(out) == {f"network.{name}": bits.tobytes() for name, bits in masked_weights.items()}
        outputs = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"]).run(None, {"x": x.numpy()})
        differences = [differ(*pair) for pair in zip(outputs, expected)]
        print(f"{name}: patched; feature map differs by {differences[0]:.1e}, embedding by {differences[1]:.1e}")
        worst = max(worst, *differences)
    print(f"figure: check-torch/onnx_difference = {worst:.2e} of the largest value")
    assert worst <= TOLERANCE, worst

    def refused(path, reason):
        outcome, out = patch(path)
        assert outcome.returncode == 2 and reason in outcome.stderr, outcome
        assert not any(out.parent.iterdir()), "refused, yet written"
        print(f"{path.parent.name}: refused, {outcome.stderr.strip()}")

    for name, how in FOLDED.items():
        refused(export(plain, x, folder / name / "base.onnx", **how), "folded")
    good = folder / "older exporter" / "base.onnx"
    for name, quantise in {
        "quantised, dynamic": lambda path: quantize_dynamic(good, path),
        "quantised, static": lambda path: quantize_static(good, path, OneInput(x)),
    }.items():
        path = folder / name / "base.onnx"
        path.parent.mkdir()
        quantise(path)
        refused(path, "quantised")
    other = EfficientNet.from_name("efficientnet-lite0")
    refused(export(Features(other).eval(), x, folder / "another base" / "base.onnx", **WORKING["one file"]), "another base")
    half = network(safetensors(base)).half()
    refused(export(half, x.half(), folder / "float16" / "base.onnx", **WORKING["one file"]), "float16")


if __name__ == "__main__":
    main(*sys.argv[1:])
