#!/usr/bin/env bash
# Makes tests/fixtures/embeddings.json from the reference implementations.
source "$(dirname "$0")/lib.sh"
data=$("$here/data.sh")
python=$("$here/reference.sh")
"$python" "$here/../tests/fixtures/make.py" "$data/efficientnet-lite0.pth" "$here/../tests/fixtures/embeddings.json"
