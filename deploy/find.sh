# Sourced by the setup scripts in the project's folder: finds Python >= 3.12 and uv, and installs uv for this project only if it
# is missing. Set UV=/path/to/uv and PYTHON=/path/to/python to use others.
# shellcheck shell=sh

say() { printf '%s\n' "landcast: $*" >&2; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; }

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    if new_enough "$PYTHON"; then command -v "$PYTHON"; return; fi
    say "PYTHON=$PYTHON is not Python 3.12 or newer"
    return 1
  fi
  for name in python3 python python3.14 python3.13 python3.12; do
    if command -v "$name" >/dev/null 2>&1 && new_enough "$name"; then command -v "$name"; return; fi
  done
  for path in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3 /usr/local/bin/python3.1[2-9] /opt/python*/bin/python3; do
    if [ -x "$path" ] && new_enough "$path"; then printf '%s\n' "$path"; return; fi
  done
  if command -v uv >/dev/null 2>&1 && path=$(UV_PYTHON_DOWNLOADS=never uv python find '>=3.12' 2>/dev/null); then
    printf '%s\n' "$path"; return
  fi
  say "Python 3.12 or newer was not found; install it, or set PYTHON=/path/to/python"
  return 1
}

find_uv() {
  if [ -n "${UV:-}" ]; then printf '%s\n' "$UV"; return; fi
  if command -v uv >/dev/null 2>&1 && uv --version >/dev/null 2>&1; then command -v uv; return; fi
  if [ ! -x .uv/bin/uv ]; then
    say "installing uv into .uv"
    rm -rf .uv
    "$1" -m venv .uv >&2 || { rm -rf .uv; say "python -m venv failed; install the venv module (Debian: apt-get install python3-venv) or uv"; return 1; }
    .uv/bin/python -m pip install --quiet --disable-pip-version-check uv >&2
  fi
  printf '%s\n' "$PWD/.uv/bin/uv"
}
