#!/usr/bin/env bash
# Builds verbatim for NVIDIA GPUs on a machine that may have neither a GPU nor CUDA: the compiler comes from PyPI, and the
# driver's and CUDA's libraries, which only a GPU machine has, are stood in for by empty ones of the same names.
#
#   docs/cuda/build.sh [arguments for cargo rustc]     # the binary: target/cuda/release/verbatim
#
# CUDA_COMPUTE_CAP chooses the generation of GPUs: 80 (A100), 86, 89, 90 (H100, H200; the default), 100, 120.
set -euo pipefail
cd "$(dirname "$0")/../.."
home=$PWD/target/cuda
mkdir -p "$home"

# nvcc 13.0 and its headers, 271 MB.
if [ ! -x "$home/python/bin/pip" ]; then python3 -m venv "$home/python"; fi
"$home/python/bin/pip" install --quiet 'nvidia-cuda-nvcc==13.0.*' 'nvidia-cuda-crt==13.0.*' 'nvidia-nvvm==13.0.*' \
    'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cccl==13.0.*'
toolkit=$(echo "$home"/python/lib/python3*/site-packages/nvidia/cu13)
ln -sfn lib "$toolkit/lib64"

# Libraries without content, so that the binary asks for the real ones when it starts.
stubs=$home/stubs
mkdir -p "$stubs"
echo > "$stubs/empty.c"
for library in cuda.1 cudart.13 cublas.13 cublasLt.13 curand.10 nvrtc.13; do
    name=lib${library%.*}.so
    "${CC:-cc}" -shared "-Wl,-soname,$name.${library#*.}" -o "$stubs/$name" "$stubs/empty.c"
done

export CUDA_HOME=$toolkit CUDA_PATH=$toolkit CUDA_ROOT=$toolkit NVCC=$toolkit/bin/nvcc PATH=$toolkit/bin:$PATH
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90} CUDARC_CUDA_VERSION=13000 CARGO_TARGET_DIR=$home
export LIBRARY_PATH=$stubs${LIBRARY_PATH:+:$LIBRARY_PATH}
export RUSTFLAGS="-L native=$stubs -C link-arg=-Wl,--unresolved-symbols=ignore-all"
# The libraries are named again at the end: empty as the stubs are, the linker would leave them out.
needed=(-C link-arg=-Wl,--no-as-needed)
for library in cuda cudart cublas cublasLt curand nvrtc; do needed+=(-C "link-arg=-l$library"); done
cargo rustc --release --locked --package verbatim --bin verbatim --features cuda "$@" -- "${needed[@]}"
echo "built $home/release/verbatim for compute capability $CUDA_COMPUTE_CAP"
