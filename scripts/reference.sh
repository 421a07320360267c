#!/usr/bin/env bash
# Installs PyTorch, torchvision and efficientnet-lite-pytorch into a virtual
# environment of its own in the cache (about 5 GB) and prints its Python.
# Never part of `make test`.
source "$(dirname "$0")/lib.sh"
venv=$cache/reference-venv
if [ ! -e "$venv/.complete" ]; then
    say "Installing PyTorch, torchvision and efficientnet-lite-pytorch into $venv (about 5 GB)"
    rm -rf "$venv"
    python3 -m venv "$venv" || die "python3 cannot make a virtual environment; install it with: apt-get install python3-venv"
    "$venv/bin/pip" install --quiet numpy torch torchvision efficientnet-lite-pytorch==0.1.0 >&2
    touch "$venv/.complete"
fi
echo "$venv/bin/python"
