#!/bin/sh
# Make .venv with everything that the lock file names; find.sh says how Python and uv are found.
set -eu
cd "$(dirname "$0")/.."
. deploy/find.sh

python=$(find_python)
uv=$(find_uv "$python")
say "$("$python" --version), $("$uv" --version): installing what uv.lock names into .venv"
UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=.venv exec "$uv" sync --quiet --locked --compile-bytecode --python "$python" "$@"
