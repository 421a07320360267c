#!/usr/bin/env bash
# Runs benchmarks by name. NAME=codec, NAME=health (all if none is named), SEED=n: what is
# trained and drawn. Each result is a line `figure: NAME = NUMBER UNIT`, those of
# others in the same run.
# LIST=file measures the masks of a list of one's own (see benches/codec/main.rs)
# instead of training any, and needs nothing built.
source "$(dirname "$0")/lib.sh"
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
    cargo bench --locked --no-default-features --bench codec -- "$list" "$seed"
}

# How many images a second are looked at, on two threads.
health() {
    cd "$here/.."
    cargo bench --locked --no-default-features --features server --bench health
}

for name in ${NAME:-codec health}; do
    case $name in
        codec | health) "$name" ;;
        *) die "there is no benchmark \`$name\`; there are: codec, health" ;;
    esac
done
