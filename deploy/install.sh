#!/bin/sh
# Installs the panel on Linux or macOS. In the folder of the project:
#   sh deploy/install.sh
# It does nothing but the two commands of the README: it creates a virtual environment and installs the package into it. It needs no
# administrator rights, changes no other file of yours, and prints every command before it runs it. To uninstall, delete the folder.
set -eu

usage() {
    cat <<'TEXT'
usage: sh deploy/install.sh [--venv FOLDER] [--python VERSION] [--with uv|pip] [--torch-index ADDRESS] [--extras NAMES] [--dry-run]

  --venv FOLDER          where to create the environment (default: .venv in the folder of the project)
  --python VERSION       Python to use (default: 3.11 with uv, otherwise python3)
  --with uv|pip          program that installs (default: uv if it is installed, otherwise pip)
  --torch-index ADDRESS  install torch from here first; copy the --index-url of your machine from PyTorch's install page
  --extras NAMES         extras to install, such as optimizers,gpu,notifications (default: none)
  --dry-run              print the commands only
TEXT
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv=$project/.venv python='' with='' torch_index='' extras='' dry_run=''
while [ $# -gt 0 ]; do
    case $1 in
        --venv | --python | --with | --torch-index | --extras)
            [ $# -ge 2 ] || fail "$1 needs a value"
            case $1 in
                --venv) venv=$2 ;;
                --python) python=$2 ;;
                --with) with=$2 ;;
                --torch-index) torch_index=$2 ;;
                --extras) extras=$2 ;;
            esac
            shift 2
            ;;
        --dry-run) dry_run=1 && shift ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && fail "unknown option $1" ;;
    esac
done

run() {
    printf '+'
    printf ' %s' "$@"
    printf '\n'
    [ -n "$dry_run" ] || "$@"
}

[ -f "$project/constraints.txt" ] || fail "$project isn't the folder of the project: constraints.txt is missing"
case $(uname -s) in
    Linux | Darwin) ;;
    *) fail "this script is for Linux and macOS; on Windows, use deploy/windows/install.ps1" ;;
esac
[ -n "$with" ] || { if command -v uv >/dev/null 2>&1; then with=uv; else with=pip; fi; }
torch=$(sed -n '/^torch==/p' "$project/constraints.txt")
package=$project${extras:+[$extras]}

if [ "$(uname -s)" = Linux ] && [ -z "$torch_index" ] && [ -e /dev/kfd ] && ! [ -e /dev/nvidiactl ]; then
    fail "this machine has an AMD GPU, and the default build of torch can't use it. Copy the --index-url of the line for Linux, Pip, ROCm" \
        "from PyTorch's install page, and add it as --torch-index ADDRESS. For the CPU, add the one of the line for the CPU"
fi

case $with in
    uv)
        command -v uv >/dev/null 2>&1 || fail "uv isn't installed; use --with pip"
        [ -x "$venv/bin/python" ] || run uv venv --python "${python:-3.11}" "$venv"
        [ -z "$torch_index" ] || run uv pip install --python "$venv/bin/python" --index-url "$torch_index" "$torch"
        run uv pip install --python "$venv/bin/python" -c "$project/constraints.txt" -e "$package"
        ;;
    pip)
        python=${python:-python3}
        case $python in [0-9]*) python=python$python ;; esac
        command -v "$python" >/dev/null 2>&1 || fail "$python isn't installed; install Python 3.11 or newer"
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is older than 3.11; choose another with --python"
        [ -x "$venv/bin/python" ] || run "$python" -m venv "$venv"
        [ -z "$torch_index" ] || run "$venv/bin/python" -m pip install --index-url "$torch_index" "$torch"
        run "$venv/bin/python" -m pip install -c "$project/constraints.txt" -e "$package"
        ;;
    *) fail "--with must be uv or pip" ;;
esac

if [ -n "$dry_run" ]; then
    echo "Nothing was installed."
else
    "$venv/bin/onetrainer-gradio" --version
    echo "Start the panel with: $venv/bin/onetrainer-gradio --demo"
fi
