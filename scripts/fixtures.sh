#!/usr/bin/env bash
# Makes tests/fixtures/embeddings.json and layouts.json from the reference implementations.
source "$(dirname "$0")/lib.sh"
data=$("$here/data.sh")
python=$("$here/reference.sh")
fixtures=$here/../tests/fixtures
"$python" "$fixtures/make.py" "$data/efficientnet-lite0.pth" "$fixtures/embeddings.json" "$fixtures/layouts.json"
