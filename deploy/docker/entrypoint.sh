#!/bin/sh
# Starts the panel, or another command of it: docker run IMAGE backup -, docker run IMAGE train CONFIG, docker run IMAGE sh
set -eu

if ! mkdir -p "${ONETRAINER_GRADIO_DATA:=/data/onetrainer_gradio}" 2>/dev/null || ! [ -w "$ONETRAINER_GRADIO_DATA" ]; then
    echo "Can't write to $ONETRAINER_GRADIO_DATA as user $(id -u). Give this user the folder: chown -R $(id -u) FOLDER" >&2
    exit 1
fi
export ONETRAINER_GRADIO_DATA

case "${1:-}" in
    '' | -*) exec python -m onetrainer_gradio.space "$@" ;;
    train | queue | memory | convert | backup | restore) exec onetrainer-gradio "$@" ;;
    *) exec "$@" ;;
esac
