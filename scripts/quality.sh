#!/usr/bin/env bash
# Trains the default recipe on the demo's photographs and says whether the
# embeddings are better than the base's: all images of a factory are trained on
# without labels, and judged with them. About 5 minutes a factory on two cores.
# One line a number, `figure: NAME VALUE`. STEPS=n shortens it, SEED=n, KINDS="poly mono".
source "$(dirname "$0")/lib.sh"
data=$("$here/data.sh")
bin=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export KATAGAMI_BASES=$work/bases

"$bin/katagami" base import --arch efficientnet_lite0 --weights "$data/efficientnet-lite0.pth" --size 96 >&2
base=$(echo "$KATAGAMI_BASES"/*/model.safetensors)
for kind in ${KINDS:-poly mono}; do
    images=$work/$kind
    mkdir -p "$images/functional" "$images/defective"
    while read -r file defect its_kind; do
        [ "$its_kind" = "$kind" ] || continue
        class=functional
        if awk "BEGIN { exit !($defect >= 0.5) }"; then class=defective; fi
        ln -s "$data/elpv/$file" "$images/$class/"
    done <"$data/elpv/labels.csv"
    "$bin/katagami-worker" train --base "$base" --images "$images" --device cpu --seed "${SEED:-0}" \
        ${STEPS:+--steps "$STEPS"} --out "$work/$kind.kgm" --json >"$work/trained.json"
    for neighbours in 5 20; do
        "$bin/katagami-worker" judge --base "$base" --mask "$work/$kind.kgm" --labelled "$images" --device cpu \
            --neighbours "$neighbours" --json >"$work/judged-$neighbours.json"
    done
    python3 - "$kind" "$work" <<'PYTHON'
import json, sys

kind, work = sys.argv[1:]
trained = json.load(open(f"{work}/trained.json"))
judged = {k: json.load(open(f"{work}/judged-{k}.json")) for k in (5, 20)}


def figure(name, value):
    print(f"figure: quality/elpv/{kind}/{name} {value:.6g}")


for name in ("images", "steps", "flips", "seconds", "loss_first", "loss_last"):
    figure(name, trained[name])
rows = [(f"knn-{k}", "knn", judged[k]) for k in (5, 20)]
rows += [("probe", "probe", judged[20]), ("few-shot", "few_shot", judged[20])]
for name, key, judgement in rows:
    mask, control = judgement["mask"][key], judgement["random_mask"][key]
    figure(f"{name}/base", mask["base"]["value"])
    figure(f"{name}/mask", mask["mask"]["value"])
    figure(f"{name}/difference-lower", mask["difference"]["lower"])
    figure(f"{name}/difference-upper", mask["difference"]["upper"])
    figure(f"{name}/random-mask", control["mask"]["value"])
print(f"quality/elpv/{kind}: the gate says {judged[20]['gate']['verdict']}", file=sys.stderr)
PYTHON
done
