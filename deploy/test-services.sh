#!/bin/sh
# Install the real programs that the tests talk to: GDAL's tools, QGIS's Python, nginx, systemd's analysis, from Debian's
# packages. Elsewhere: have gdalinfo, ogrinfo, nginx, systemd-analyze, curl, openssl and unzip on PATH and set QGIS_PYTHON
# to a Python that imports qgis.core.
set -eu

say() { printf '%s\n' "landcast: $*" >&2; }

qgis=${QGIS_PYTHON:-/usr/bin/python3}
missing=
command -v gdalinfo >/dev/null 2>&1 || missing="$missing gdal-bin"
PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v nginx >/dev/null 2>&1 || missing="$missing nginx"
command -v systemd-analyze >/dev/null 2>&1 || missing="$missing systemd"
for tool in curl openssl unzip; do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
QT_QPA_PLATFORM=offscreen "$qgis" -c 'import qgis.core' >/dev/null 2>&1 || missing="$missing python3-qgis"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  say "the tests need$missing; install them, or have those programs on PATH and set QGIS_PYTHON"
  exit 1
fi
say "installing$missing"
apt-get update -qq
# shellcheck disable=SC2086 # a list of names
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
