#!/bin/sh
# Install the real programs that the tests use: GDAL's tools, QGIS's Python, Chromium, nginx and systemd-analyze from Debian's
# packages, Prometheus with two exporters, Pebble, buildah, mmdebstrap, RabbitMQ, PostgreSQL with PostGIS, Keycloak, Airflow,
# OpenBao, and what tools/install.sh has. On other systems: have gdalinfo, ogrinfo, chromium (or set CHROMIUM), nginx,
# systemd-analyze, buildah, mmdebstrap, prometheus with promtool and the node and blackbox exporters, curl, openssl, unzip,
# java (17 or newer), mvn, postgres and initdb on PATH, and set QGIS_PYTHON to a Python
# that imports qgis.core. TEST_POSTGRES_URL can name a running PostgreSQL whose user may create databases, roles and the extension postgis; for
# Keycloak see keycloak/install.sh; TEST_AIRFLOW_HOME can name an environment of airflow/setup.sh;
# TEST_BAO a program of OpenBao or Vault.
set -eu

say() { printf '%s\n' "landcast: $*" >&2; }

qgis=${QGIS_PYTHON:-/usr/bin/python3}
missing=
command -v gdalinfo >/dev/null 2>&1 || missing="$missing gdal-bin"
command -v "${CHROMIUM:-chromium}" >/dev/null 2>&1 || missing="$missing chromium"
PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v nginx >/dev/null 2>&1 || missing="$missing nginx"
command -v systemd-analyze >/dev/null 2>&1 || missing="$missing systemd"
command -v pebble >/dev/null 2>&1 || missing="$missing pebble"
command -v buildah >/dev/null 2>&1 || missing="$missing buildah"
command -v mmdebstrap >/dev/null 2>&1 || missing="$missing mmdebstrap"
command -v npm >/dev/null 2>&1 || missing="$missing npm"
for tool in curl openssl unzip; do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
QT_QPA_PLATFORM=offscreen "$qgis" -c 'import qgis.core' >/dev/null 2>&1 || missing="$missing python3-qgis"
for tool in prometheus prometheus-node-exporter prometheus-blackbox-exporter; do
  command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$missing rabbitmq-server"
if [ -z "${TEST_POSTGRES_URL:-}" ] && ! command -v initdb >/dev/null 2>&1; then
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
fi
if [ -z "${TEST_POSTGRES_URL:-}" ] && ! ls /usr/share/postgresql/*/extension/postgis.control >/dev/null 2>&1; then
  missing="$missing postgresql-postgis"
fi
if [ -z "${TEST_KEYCLOAK_URL:-}" ]; then
  command -v java >/dev/null 2>&1 || missing="$missing default-jre-headless"
  [ -n "${TEST_KEYCLOAK_HOME:-}" ] || command -v mvn >/dev/null 2>&1 || missing="$missing maven"
fi

if [ -n "$missing" ] && { [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; }; then
  say "the tests need$missing; install them, or put these programs on PATH and set QGIS_PYTHON"
  exit 1
fi

# Airflow needs none of the missing packages, so it is installed meanwhile.
airflow() {
  [ -n "${TEST_AIRFLOW_HOME:-}" ] ||
    AIRFLOW_VENV=${XDG_CACHE_HOME:-$HOME/.cache}/landcast/airflow-3.3.2 "$(dirname "$0")/airflow/setup.sh"
}
airflow &
airflow=$!
if [ -n "$missing" ]; then
  say "installing$missing"
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of names
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
"$(dirname "$0")/keycloak/install.sh"
"$(dirname "$0")/openbao/install.sh"
"$(dirname "$0")/tools/install.sh"
wait "$airflow"
