#!/bin/sh
# Install requirements.txt into Airflow's own environment, AIRFLOW_VENV or .venv-airflow of the project; running it again
# updates the environment. Airflow has 130 packages and shares no environment with the server.
set -eu
cd "$(dirname "$0")/../.."
. deploy/find.sh

venv=${AIRFLOW_VENV:-$PWD/.venv-airflow}
wanted=deploy/airflow/requirements.txt
installed() { cmp -s "$wanted" "$venv/requirements.txt" && "$venv/bin/python" -c '' 2>/dev/null; }

! installed || exit 0
mkdir -p "$venv"
exec 9>"$venv/.setting-up"
flock 9
! installed || exit 0
python=$(find_python)
uv=$(find_uv "$python")
say "$("$python" --version), $("$uv" --version): installing Airflow into $venv"
export UV_PYTHON_DOWNLOADS=never
"$venv/bin/python" -c '' 2>/dev/null || "$uv" venv --quiet --allow-existing --python "$python" "$venv"
"$uv" pip sync --quiet --compile-bytecode --python "$venv/bin/python" "$wanted"
cp "$wanted" "$venv/requirements.txt"
