#!/usr/bin/env bash
# Installs PyTorch, torchvision, timm, efficientnet-lite-pytorch and ONNX's packages
# into a virtual environment of its own in the cache (about 5 GB) and prints its Python.
# Never part of `make test`.
source "$(dirname "$0")/lib.sh"
venv=$cache/reference-venv
packages="numpy==2.4.6 torch==2.15.0 torchvision==0.29.2 efficientnet-lite-pytorch==0.1.0 timm==1.0.31 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2"
# What was installed stands in the file, so that a longer list completes an older environment.
if [ "$(cat "$venv/.complete" 2>/dev/null)" != "$packages" ]; then
    say "Installing PyTorch, torchvision, timm, efficientnet-lite-pytorch and ONNX's packages into $venv (about 5 GB)"
    if [ ! -e "$venv/.complete" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv" || die "python3 cannot make a virtual environment; install it with: apt-get install python3-venv"
    fi
    # shellcheck disable=SC2086 # a list
    "$venv/bin/pip" install --quiet --disable-pip-version-check $packages >&2
    echo "$packages" >"$venv/.complete"
fi
echo "$venv/bin/python"
