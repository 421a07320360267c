#!/usr/bin/env bash
# Makes tests/fixtures/embeddings.json from the reference implementations, in a
# virtual environment of its own in the cache. Never part of `make test`.
source "$(dirname "$0")/lib.sh"
data=$("$here/data.sh")
venv=$cache/reference-venv
if [ ! -e "$venv/.complete" ]; then
    say "Installing PyTorch, torchvision and efficientnet-lite-pytorch into $venv (about 5 GB)"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet numpy torch torchvision efficientnet-lite-pytorch==0.1.0
    touch "$venv/.complete"
fi
"$venv/bin/python" "$here/../tests/fixtures/make.py" "$data/efficientnet-lite0.pth" "$here/../tests/fixtures/embeddings.json"
