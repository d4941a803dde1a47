#!/bin/sh
# Airflow without systemd, in the foreground, until it is interrupted: run.sh FOLDER, which configure.py made. Brings its
# database up first. AIRFLOW_VENV as for setup.sh.
set -eu
venv=${AIRFLOW_VENV:-$(dirname "$0")/../../.venv-airflow}
PATH=$(cd "$venv" && pwd)/bin:$PATH
set -a
. "$(cd "$1" && pwd)/airflow.env"
set +a
cd "$AIRFLOW_HOME"
airflow db migrate

running=
trap 'trap - INT TERM EXIT; kill $running; wait' INT TERM EXIT
for component in "api-server" "dag-processor" "scheduler --skip-serve-logs"; do
  # shellcheck disable=SC2086 # a command and its options
  airflow $component &
  running="$running $!"
done
wait
