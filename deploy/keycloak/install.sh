#!/bin/sh
# Download Keycloak for the tests, once, from Maven Central with the machine's Maven settings.
# Alternatively set TEST_KEYCLOAK_HOME to an unpacked Keycloak 26 after `kc.sh build --db=dev-file`, or
# TEST_KEYCLOAK_URL, TEST_KEYCLOAK_ADMIN and TEST_KEYCLOAK_PASSWORD to a running one in which a realm may be created.
set -eu

version=26.4.2
sum=2a30e4602d63d4501a4a8263bfa4e14cbd5970b4116c618ea28f339b16190233
folder=${XDG_CACHE_HOME:-$HOME/.cache}/landcast
home=$folder/keycloak-$version

say() { printf '%s\n' "landcast: $*" >&2; }

[ -z "${TEST_KEYCLOAK_URL:-}${TEST_KEYCLOAK_HOME:-}" ] || exit 0
[ ! -x "$home/bin/kc.sh" ] || exit 0
mkdir -p "$folder"
work=$(mktemp -d "$folder/keycloak.XXXXXX")
trap 'rm -rf "$work"' EXIT

say "downloading Keycloak $version for the tests, 160 MB, once"
if ! mvn -q -B -c dependency:copy -Dartifact="org.keycloak:keycloak-quarkus-dist:$version:zip" \
  -DoutputDirectory="$work" >"$work/log" 2>&1; then
  cat "$work/log" >&2
  say "Keycloak cannot be downloaded; set TEST_KEYCLOAK_HOME or TEST_KEYCLOAK_URL, see deploy/keycloak/install.sh"
  exit 1
fi
# Not every mirror has Maven's checksum files: Maven only warns (-c), and this checks.
printf '%s  %s\n' "$sum" "$work/keycloak-quarkus-dist-$version.zip" | sha256sum --check --quiet
unzip -q "$work/keycloak-quarkus-dist-$version.zip" -d "$work"
"$work/keycloak-$version/bin/kc.sh" build --db=dev-file >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
mv -T "$work/keycloak-$version" "$home" 2>/dev/null || [ -x "$home/bin/kc.sh" ]
