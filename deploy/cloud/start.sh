#!/bin/bash
# Start script for a cloud instance (RunPod, Vast.ai and others) with PyTorch's or NVIDIA's image. Put the project on the volume, then:
#   ONETRAINER_GRADIO_PASSWORD='something long' bash /workspace/onetrainer_gradio/deploy/cloud/start.sh
# It runs deploy/install.sh, which does nothing but the README's two commands, and starts the panel. Data and environment are on the
# volume, so a restart of the machine installs nothing again.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
volume=${VOLUME:-/workspace}
port=${PORT:-7860}

if ! [ -d "$volume" ]; then
    echo "start.sh: the volume $volume doesn't exist. Mount one, or set VOLUME to its folder." >&2
    exit 1
fi
: "${ONETRAINER_GRADIO_DATA:=$volume/onetrainer_gradio_data}" "${HF_HOME:=$volume/huggingface}"
export ONETRAINER_GRADIO_DATA HF_HOME

# Others can reach the machine. Without a password or token, the panel generates a token and prints it once.
access=()
if [ -z "${ONETRAINER_GRADIO_PASSWORD:-}${ONETRAINER_GRADIO_TOKEN:-}" ]; then
    access=(--token)
fi
# The address that the provider's proxy gives the port
host=()
if [ -n "${RUNPOD_POD_ID:-}" ]; then
    host=(--public-host "$RUNPOD_POD_ID-$port.proxy.runpod.net")
fi
if [ -n "${PUBLIC_HOST:-}" ]; then
    host=(--public-host "$PUBLIC_HOST")
fi

command=("$project/.venv/bin/onetrainer-gradio" --host 0.0.0.0 --port "$port" --no-open "${access[@]}" "${host[@]}" "$@")
if [ -n "${DRY_RUN:-}" ]; then
    sh "$project/deploy/install.sh" --extras optimizers,gpu,notifications --dry-run
    printf '+ %s\n' "${command[*]}"
    exit 0
fi
if ! [ -x "$project/.venv/bin/onetrainer-gradio" ]; then
    sh "$project/deploy/install.sh" --extras optimizers,gpu,notifications
fi
exec "${command[@]}"
