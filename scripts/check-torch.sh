#!/usr/bin/env bash
# Checks what an edge device runs with the reference implementation: the demo
# leaves a device's file, PyTorch loads it, the digest is recomputed in Python,
# and both embed the same input; then a mask of the demo is laid over ONNX
# exports of its base, and onnxruntime must agree with PyTorch. Last, checkpoints
# as trainings with PyTorch save them must become the right bases.
source "$(dirname "$0")/lib.sh"
data=$("$here/data.sh")
python=$("$here/reference.sh")
katagami=${CARGO_TARGET_DIR:-target}/release/katagami
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$katagami" demo --once --quick --data "$data" --dir "$work/demo" --json "$work/out.json"
read -r model digest < <(python3 -c 'import json, sys
site = json.load(open(sys.argv[1]))["sites"][0]
print(site["edge_model"], site["weights_digest_edge"])' "$work/out.json")
images=("$data"/elpv/images/*.png)
"$katagami" embed --base "$model" --size 96 --save-input "$work/input.safetensors" "${images[@]:0:8}" >"$work/embeddings.jsonl"
"$python" "$here/../tests/torch/check.py" "$model" "$digest" "$work/input.safetensors" "$work/embeddings.jsonl"

bases=("$work"/demo/bases/*/model.safetensors)
masks=("$work"/demo/masks/*.kgm)
mkdir "$work/onnx"
"$python" "$here/../tests/torch/check_onnx.py" "$katagami" "${bases[0]}" "${masks[0]}" "$work/onnx"

"$python" "$here/../tests/torch/check_checkpoints.py" "$katagami" "$work"
