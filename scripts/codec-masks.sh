#!/usr/bin/env bash
# codec-masks.sh [SEED]: trains what the benchmark of the mask codec reads, and
# prints one line for each, `NAME ARTEFACT BASE` (NAME finetune: its weights).
# Two bases, two sites (the mono- and polycrystalline cells of the demo, of
# which only those that the demo trains on), two recipes of benches/recipes;
# for one site also their successors on a fifth more images, from the parent's
# scores in a third of the steps (warm) and from the base in all (cold), and one
# fine-tuning.
# What is in the cache is not trained again, so it can be interrupted at any
# time. From nothing about 10 minutes on two idle cores. Needs `make build`.
source "$(dirname "$0")/lib.sh"
seed=${1:-0}
[[ $seed =~ ^[0-9]+$ ]] || die "the seed \`$seed\` is no number; use: scripts/codec-masks.sh 1"
bin=${CARGO_TARGET_DIR:-$here/../target}/release
recipes=$here/../benches/recipes
masks=$cache/codec-masks
warm_steps=8
export KATAGAMI_BASES=$masks/bases
demo=$("$here/data.sh")
bench=$("$here/bench-data.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$masks"

# Pictures become links below $work/SITE: `parent` has four fifths of them,
# `all` every one. Like the demo, by the last byte of a file's digest.
pictures() {
    local kind digest file last
    mkdir -p "$work"/{mono,poly}/{parent,all}
    (cd "$demo/elpv" && sha256sum images/* | awk '
        NR == FNR { kind[$1] = $3; next }
        $2 in kind { print kind[$2], $1, $2 }' labels.csv -) | while read -r kind digest file; do
        last=$((16#${digest: -2} % 10))
        [ "$last" -lt 5 ] || continue
        for part in parent all; do
            if [ "$part" = all ] || [ "$last" -lt 4 ]; then
                ln -sf "$demo/elpv/$file" "$work/$kind/$part/$digest.png"
            fi
        done
    done
}

# base NAME WEIGHTS: imports a base and sets ${bases[NAME]} to its file.
declare -A bases
base() {
    local digest
    "$bin/katagami" base import --arch "efficientnet_$1" --weights "$2" >&2
    digest=$("$bin/katagami" base list --json | python3 -c '
import json, sys
print(next(base["digest"] for base in json.load(sys.stdin) if base["architecture"] == sys.argv[1]))' "efficientnet_$1")
    bases[$1]=$KATAGAMI_BASES/$digest/model.safetensors
}

# folder BASE RECIPE PICTURES SEED [PARENT]: the folder that is named by all that decides a training.
folder() {
    local parent=${5:-}
    {
        printf 'codec-masks 1 %s %s %s\n' "$(basename "$(dirname "${bases[$1]}")")" "$4" "${parent:+${parent##*/} $warm_steps}"
        cat "$recipes/$2.toml"
        ls "$work/$3"
    } | sha256sum | sed "s|^\(.\{32\}\).*|$masks/\1|"
}

# trained NAME BASE RECIPE PICTURES SEED [PARENT]: trains unless that is there
# already, prints the line, and sets $made to the folder.
trained() {
    local name=$1 base=${bases[$2]} recipe=$3 parent=${6:-} result=mask.kgm more=() staging
    made=$(folder "$2" "$3" "$4" "$5" "$parent")
    if [ "$recipe" = finetune ]; then result=model.safetensors; fi
    # A mask of an older format is trained again.
    if [ -e "$made/$result" ] && [ "$recipe" != finetune ] \
        && ! "$bin/katagami" artefact verify "$made/$result" --base "$base" >/dev/null 2>&1; then
        rm -rf "$made"
    fi
    if [ ! -e "$made/$result" ]; then
        staging=$made.partial.$$
        rm -rf "$made".partial.*
        mkdir -p "$staging"
        if [ "$recipe" != finetune ]; then more+=(--scores "$staging/scores" --site "${4%%/*}"); fi
        if [ -n "$parent" ]; then more+=(--steps "$warm_steps" --start "$parent/mask.kgm" --start-scores "$parent/scores"); fi
        say "$name: training"
        nice -n 10 "$bin/katagami-worker" train --base "$base" --arch "efficientnet_$2" --size 64 \
            --images "$work/$4" --recipe "$recipes/$recipe.toml" --seed "$5" --device cpu --threads 2 \
            --out "$staging/$result" --json "${more[@]}" >"$staging/trained.json" </dev/null
        [ -e "$staging/$result" ] || die "$name: no weight has fallen; raise the rate in benches/recipes/$recipe.toml"
        finish "$staging" "$made"
    fi
    say "$name: $(python3 -c '
import json, sys
told = json.load(open(sys.argv[1]))
parts = ["{} images, {:.0f} s, loss {:.2f} to {:.2f}".format(*(told[key] for key in ("images", "seconds", "loss_first", "loss_last")))]
if "flips" in told:
    parts.append("{} of {} dropped ({:.3%} kept)".format(told["flips"], told["masked_weights"], 1 - told["flips"] / told["masked_weights"]))
if told.get("flips_against_parent") is not None:
    parts.append("{} differ from the parent".format(told["flips_against_parent"]))
print(", ".join(parts))' "$made/trained.json")"
    listing+=("$name $made/$result $base")
}

pictures
base lite0 "$demo/efficientnet-lite0.pth"
base lite2 "$bench/efficientnet-lite2.pth"
listing=()
for network in lite0 lite2; do
    for site in mono poly; do
        for recipe in sparse dense; do
            trained "$network-$site-$recipe" "$network" "$recipe" "$site/parent" "$seed"
            if [ "$network-$site" = lite0-poly ]; then
                parent=$made
                trained "$network-$site-$recipe-warm" "$network" "$recipe" "$site/all" "$((seed + 1000))" "$parent"
                trained "$network-$site-$recipe-cold" "$network" "$recipe" "$site/all" "$((seed + 1000))"
            fi
        done
    done
done
trained lite0-poly-finetune lite0 finetune poly/parent "$seed"
printf '%s\n' "${listing[@]}"
