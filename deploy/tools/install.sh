#!/bin/sh
# Install requirements.txt for the tests, once: docker-compose (which needs no engine to check a file), hadolint, and the schemas of
# Kubernetes, Helm as a library, Caddy, certbot and Ansible. TEST_TOOLS can name another environment.
set -eu
cd "$(dirname "$0")/../.."
. deploy/find.sh

home=${TEST_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/landcast/tools}
wanted=deploy/tools/requirements.txt
if ! cmp -s "$wanted" "$home/requirements.txt"; then
  python=$(find_python)
  uv=$(find_uv "$python")
  say "installing programs for the tests of deploy/ into $home, 300 MB, once"
  "$uv" venv --quiet --allow-existing --python "$python" "$home"
  "$uv" pip install --quiet --python "$home/bin/python" --requirement "$wanted"
  cp "$wanted" "$home/requirements.txt"
fi
