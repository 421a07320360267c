#!/usr/bin/env bash
# Runs benchmarks by name. NAME="codec gate health latency quality train" (codec and health if none
# is named), SEED=n: what is trained and drawn. Each result is a line
# `figure: NAME = NUMBER UNIT`, those of others in the same run.
# LIST=file measures the masks of a list of one's own (see benches/codec/main.rs)
# instead of training any, and needs nothing built.
source "$(dirname "$0")/lib.sh"
bin=${CARGO_TARGET_DIR:-$here/../target}/release
# A folder of its own: with other features, cargo would put another `katagami` in the place of the one that was built.
benches=${CARGO_TARGET_DIR:-$here/../target}/benches
seed=${SEED:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[[ $seed =~ ^[0-9]+$ ]] || die "the seed \`$seed\` is no number; use: make bench SEED=1"

# How small, fast and frugal the coding of masks is, beside what others make of them.
codec() {
    local list=$work/masks
    if [ -n "${LIST:-}" ]; then
        list=$(realpath "$LIST")
    else
        "$here/codec-masks.sh" "$seed" >"$list"
    fi
    cd "$here/.."
    cargo bench --locked --target-dir "$benches" --no-default-features --bench codec -- "$list" "$seed"
}

# How many images a second are looked at, on two threads.
health() {
    cd "$here/.."
    cargo bench --locked --target-dir "$benches" --no-default-features --features server --bench health
}

# What masks over weights and over filters do to the time of an inference, on one thread.
latency() {
    local base
    imported_base lite0
    LIBTORCH=$("$here/libtorch.sh")
    export LIBTORCH
    (cd "$here/.." && cargo bench --locked --bench latency -- "$base")
}

# imported_base NAME: the pretrained EfficientNet-Lite of that name, lite0 or lite2, imported once: sets $base to its file.
imported_base() {
    local weights digest
    case $1 in
        lite0) weights=$("$here/data.sh")/efficientnet-lite0.pth ;;
        lite2) weights=$("$here/bench-data.sh")/efficientnet-lite2.pth ;;
        *) die "there is no base \`$1\`; there are: lite0, lite2" ;;
    esac
    export KATAGAMI_BASES=$cache/bench-bases
    "$bin/katagami" base import --arch "efficientnet_$1" --weights "$weights" --size 96 >&2
    digest=$("$bin/katagami" base list --json | python3 -c '
import json, sys
print(next(base["digest"] for base in json.load(sys.stdin) if base["architecture"] == "efficientnet_" + sys.argv[1]))' "$1")
    base=$KATAGAMI_BASES/$digest/model.safetensors
}

# The solar cells of the demo as a folder of classes, as links: prints that of elpv, elpv-poly or elpv-mono.
elpv() {
    local data folder file defect kind class
    data=$("$here/data.sh")
    folder=$cache/bench-sets/$1
    if [ ! -e "$folder/.complete" ]; then
        mkdir -p "$folder"/{functional,defective}
        while read -r file defect kind; do
            case $1 in *-poly) [ "$kind" = poly ] || continue ;; *-mono) [ "$kind" = mono ] || continue ;; esac
            class=functional
            if awk "BEGIN { exit !($defect >= 0.5) }"; then class=defective; fi
            ln -sf "$data/elpv/$file" "$folder/$class/"
        done <"$data/elpv/labels.csv"
        touch "$folder/.complete"
    fi
    echo "$folder"
}

# Sets `sets` to the arguments for the sets named: elpv, elpv-poly, elpv-mono, textures.
named_sets() {
    local set
    sets=()
    for set in "$@"; do
        case $set in
            elpv*) sets+=("$set=$(elpv "$set")") ;;
            *) sets+=("$set") ;;
        esac
    done
}

# Whom the gate lets through: 60 trainings that should not pass and 30 that should, half a
# minute each on an idle core; what was trained is kept. ROUNDS, KINDS, RUNS=n (at most so
# many trainings this time; 0: only the figures), SETS (default "elpv-poly elpv-mono textures").
gate() {
    local sets base
    imported_base lite0
    # shellcheck disable=SC2086
    named_sets ${SETS-elpv-poly elpv-mono textures}
    (cd "$here/.." && cargo bench --locked --target-dir "$benches" --no-default-features --bench gate -- \
        --bin "$(realpath "$bin")" --base "$base" --cache "$cache/gate" "${sets[@]}")
}

# Whether masks are worth pulling: by labels that no training saw. SETS (default "elpv textures"; also
# elpv-poly, elpv-mono, NAME=DIR), DATA=DIR (a folder of classes, called as the folder is), SEEDS (default
# "0 1 2"), RIVALS (default "finetune norms"; may be nothing), CURVE=true, RECIPE=FILE, BASE=lite2; TRIAL=true: a few steps, no figures.
# Says first how long it takes; what was trained is kept.
quality() {
    local sets base
    imported_base "${BASE:-lite0}"
    # shellcheck disable=SC2086
    named_sets ${SETS-elpv textures}
    if [ -n "${DATA:-}" ]; then
        sets+=("$(basename "$DATA")=$(realpath "$DATA")")
    fi
    (cd "$here/.." && cargo bench --locked --target-dir "$benches" --no-default-features --bench quality -- \
        --bin "$(realpath "$bin")" --base "$base" --cache "$cache/quality" "${sets[@]}")
}

# Our trainer beside the same training in plain PyTorch (5 GB, once): losses, speed, memory, k-NN of
# SEEDS (default 3) trainings on each side, and the time to a mask. PART="parity-factory parity-paper
# speed knn time": only these; TRIAL=true: a few steps of each, no figures. Says first how long it
# takes (three quarters of an hour in all); what was measured is kept, until anything that decides it changes.
train() {
    local base python
    python=$("$here/reference.sh")
    imported_base lite0
    "$python" "$here/../benches/train/compare.py" "$(realpath "$bin/katagami-worker")" "$base" \
        "$here/../recipes" "$(elpv elpv-poly)" "$cache/train"
}

for name in ${NAME:-codec health}; do
    case $name in
        codec | gate | health | latency | quality | train) "$name" ;;
        *) die "there is no benchmark \`$name\`; there are: codec, gate, health, latency, quality, train" ;;
    esac
done
