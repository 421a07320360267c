#!/usr/bin/env bash
# Checks for the tools that building and running need, and installs missing
# Debian packages where that is permitted. Says what to do where it is not.
# `tools.sh test` does so for what the tests need beside them, `tools.sh browser`
# for what the browser tests need.
source "$(dirname "$0")/lib.sh"

least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
command -v cargo >/dev/null || die "Rust is missing; install Rust $least or newer with rustup, then run the same command again"
has=$(cargo --version | cut -d ' ' -f 2)
[ "$(printf '%s\n' "$least" "$has" | sort -V | head -n 1)" = "$least" ] \
    || die "Rust $has is too old; install Rust $least or newer with rustup, then run the same command again"

missing=()
command -v cc >/dev/null && command -v c++ >/dev/null || missing+=(g++)
command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
case ${1:-} in
test) # The tests start a server of their own from its binaries.
    compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || command -v initdb >/dev/null || missing+=(postgresql) ;;
browser)
    command -v chromium >/dev/null || missing+=(chromium)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm) ;;
esac

[ ${#missing[@]} -eq 0 ] && exit
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "Installing ${missing[*]} with apt-get"
    # A fresh machine may have an old list of packages or none.
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
else
    die "missing: ${missing[*]}; install them with: sudo apt-get install ${missing[*]}"
fi
