#!/usr/bin/env bash
# Puts libtorch 2.13.0 into the cache and prints its folder.
#   TORCH=cpu (default)  the CPU part of the PyTorch wheel: 490 MB on disk
#   TORCH=cuda           the whole wheel with its NVIDIA packages: about 5 GB
#   TORCH=/path          an existing libtorch; nothing is fetched
source "$(dirname "$0")/lib.sh"
flavour=${TORCH:-cpu}

case $flavour in
/*) [ -e "$flavour/lib/libtorch_cpu.so" ] || die "TORCH=$flavour has no lib/libtorch_cpu.so"
    echo "$flavour"; exit ;;
cpu | cuda) ;;
*) die "TORCH=$flavour is not known; use cpu, cuda or the absolute path of a libtorch" ;;
esac

[ "$(uname -sm)" = "Linux x86_64" ] || die "the packaged libtorch is for Linux on x86-64; set TORCH=/path/to/libtorch"
target=$cache/libtorch-2.13.0-$flavour
if [ -e "$target/.complete" ]; then echo "$target/torch"; exit; fi
staging=$target.partial.$$
trap 'rm -rf "$staging"' EXIT
mkdir -p "$staging"

if [ "$flavour" = cpu ]; then
    say "Fetching libtorch 2.13.0 for the CPU (526 MB download, 490 MB on disk) into $target"
    unpack_wheel torch "$staging" 'torch/include/*' torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/lib/libgomp.so.1
    # libtorch_cpu.so is built with CUDA's profiler in mind and looks for these two beside itself.
    unpack_wheel nvidia-cuda-runtime "$staging" '*/libcudart.so.13'
    unpack_wheel nvidia-cuda-cupti "$staging" '*/libcupti.so.13'
    # The real libtorch.so depends on libtorch_cuda.so, which is left out here.
    echo 'INPUT(libtorch_cpu.so)' >"$staging/torch/lib/libtorch.so"
else
    say "Fetching libtorch 2.13.0 with CUDA (about 5 GB) into $target"
    python3 -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --only-binary=:all: \
        "${platforms[@]}" --require-hashes --requirement "$here/wheels-cuda.txt" --target "$staging" \
        || die "could not install libtorch; check that pip reaches its registry, then run the same command again"
fi
touch "$staging/.complete"
finish "$staging" "$target"
echo "$target/torch"
