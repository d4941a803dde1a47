#!/bin/sh
# Run Airflow without systemd, in the foreground, until interrupted: run.sh FOLDER, with a folder of configure.py. Migrates its
# database first. AIRFLOW_VENV as for setup.sh.
set -eu
venv=${AIRFLOW_VENV:-$(dirname "$0")/../../.venv-airflow}
PATH=$(cd "$venv" && pwd)/bin:$PATH
set -a
. "$(cd "$1" && pwd)/airflow.env"
set +a
cd "$AIRFLOW_HOME"
# A busy machine may take longer between two steps of a migration than the role's sessions may stand still.
PGOPTIONS="-c idle_in_transaction_session_timeout=0" airflow db migrate

# Each component is a process group that ends as a whole: Airflow's scheduler may wait for its workers forever.
running=
stop() {
  trap - HUP INT TERM EXIT
  set +e
  kill $running
  (sleep 20 && end_groups) &
  patience=$!
  wait $running
  kill $patience
  end_groups
}
end_groups() {
  for leader in $running; do kill -s KILL -- "-$leader"; done 2>/dev/null
}
trap stop HUP INT TERM EXIT
worker=
[ "$AIRFLOW__CORE__EXECUTOR" != CeleryExecutor ] || worker="celery worker --skip-serve-logs --queues $LANDCAST_AIRFLOW_QUEUES"
for component in "api-server" "dag-processor" "scheduler --skip-serve-logs" ${worker:+"$worker"}; do
  # shellcheck disable=SC2086 # a command and its options
  setsid airflow $component &
  running="$running $!"
done
wait
