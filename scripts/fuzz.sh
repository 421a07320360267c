#!/usr/bin/env bash
# Feeds the readers of masks with made-up bytes: `fuzz.sh SECONDS [TARGET …]`, each target for so long; all
# targets if none is named. What makes one fail is left in fuzz/artifacts, what widens its coverage in fuzz/corpus.
source "$(dirname "$0")/lib.sh"
cd "$here/.."
export PATH="$cache/tools/bin:$PATH"
seconds=$1; shift

command -v rustup >/dev/null && rustup toolchain list | grep -q ^nightly \
    || die "fuzzing needs a nightly compiler; install it with: rustup toolchain install nightly"
if ! cargo fuzz --version >/dev/null 2>&1; then
    say "Installing cargo-fuzz (a minute, once)"
    cargo install --quiet --locked --root "$cache/tools" cargo-fuzz
fi
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(cargo fuzz list | grep -vx seeds)

cargo +nightly fuzz build
built=${CARGO_TARGET_DIR:-fuzz/target}/$(rustc -vV | sed -n 's/^host: //p')/release
"$built/seeds" fuzz/corpus
for target in "${targets[@]}"; do
    log=$(mktemp)
    mkdir -p "fuzz/artifacts/$target"
    # A reader may take what the file and the base are long: far less than this in one piece.
    "$built/$target" "fuzz/corpus/$target" -artifact_prefix="fuzz/artifacts/$target/" -max_total_time="$seconds" \
        -max_len=8192 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=16 -print_final_stats=1 >"$log" 2>&1 \
        || { tail -40 "$log" >&2; die "$target failed; what made it fail is in fuzz/artifacts/$target"; }
    echo "figure: fuzz/${target}_execs = $(awk '/^stat::number_of_executed_units:/ { print $2 }' "$log") execs"
    rm "$log"
done
