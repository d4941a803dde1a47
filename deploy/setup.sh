#!/bin/sh
# Install the packages of the lock file into .venv; find.sh finds Python and uv.
set -eu
cd "$(dirname "$0")/.."
. deploy/find.sh

python=$(find_python)
uv=$(find_uv "$python")
say "$("$python" --version), $("$uv" --version): installing the packages of uv.lock into .venv"
UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=.venv exec "$uv" sync --quiet --locked --compile-bytecode --python "$python" "$@"
