#!/usr/bin/env bash
# `make test-browser`: the dashboard in headless Chromium, against the real server with a real
# training on real photographs. The driver is installed into the cache, never into the clone.
source "$(dirname "$0")/../../scripts/lib.sh"
tests=$(cd "$(dirname "$0")" && pwd)

# What the test runner's options and the driver need.
can_run() {
    "$here/tools.sh" browser && node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' \
        || { say "Chromium, npm and Node 18 or newer are needed."; return 1; }
}

if ! can_run; then
    # Who cannot install Chromium can still run all other tests; CI has no such excuse.
    [ "${CI:-}" != true ] || die "the browser tests have to run in CI"
    say "The browser tests are skipped."
    exit
fi

driver=$cache/browser/$(sha256sum "$tests/package-lock.json" | cut -c1-16)
if [ ! -e "$driver/node_modules/playwright-core" ]; then
    say "Fetching playwright-core, which drives Chromium (8 MB)"
    staging=$driver.partial.$$
    trap 'rm -rf "$staging"' EXIT
    mkdir -p "$staging"
    cp "$tests/package.json" "$tests/package-lock.json" "$staging"
    npm ci --prefix "$staging" --ignore-scripts --no-audit --no-fund --silent \
        || die "could not install playwright-core; check that npm reaches its registry, then run the same command again"
    finish "$staging" "$driver"
fi

export KATAGAMI_BROWSER_DRIVER=$driver
export KATAGAMI_DEMO_DATA=${KATAGAMI_DEMO_DATA:-$("$here/data.sh")}
export KATAGAMI_BIN=${KATAGAMI_BIN:-${CARGO_TARGET_DIR:-$here/../target}/release}
exec node --test --test-reporter=spec "$tests/dashboard.test.mjs"
