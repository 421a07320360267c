#!/usr/bin/env bash
# `make run`: the whole way on real photographs. Fetches what is missing and
# runs `katagami demo` with the arguments given, such as --once or --quick.
source "$(dirname "$0")/lib.sh"
data=$("$here/data.sh")
exec "${CARGO_TARGET_DIR:-target}/release/katagami" demo --data "$data" "$@"
