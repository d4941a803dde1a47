"""What the DAGs share: who is told of a final failure, how long a retry waits, what a run was told to do."""

from __future__ import annotations

import os
from datetime import timedelta
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from orchestration.child import CALLERS_FAULT

if TYPE_CHECKING:
    from airflow.sdk import Context

ORDER = "{{ dag_run.conf | tojson }}"
"""A templated argument of a task: what `order_of_run` returns, as JSON text."""
TRY = "{{ ti.try_number }}"
"""Likewise the number of the try, from 1; it grows where Airflow runs a task again after a crash, too."""

_SUBJECT = "Landcast: {{ ti.task_id }} of {{ ti.dag_id }} failed"
_TEXT = """<p>The task {{ ti.task_id }}{% if ti.map_index >= 0 %} [{{ ti.map_index }}]{% endif %} of
{{ ti.dag_id }} failed for good, at try {{ ti.try_number }}, in the run {{ ti.run_id }}.</p>
<p>Its log says why: <a href="{{ ti.log_url | e }}">{{ ti.log_url | e }}</a></p>"""


def mail_operators(context: Context) -> None:
    """Mail LANDCAST_AIRFLOW_MAIL_TO that a task failed: a task's `on_failure_callback`, which no retry calls.

    It goes by the Airflow connection `smtp_default`, whose extra `from_email` it is from. Nothing is sent where the
    address is empty, or where only the order's caller can mend what failed.
    """
    to = os.environ.get("LANDCAST_AIRFLOW_MAIL_TO")
    if not to or _is_callers(context.get("exception")):
        return
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier  # noqa: PLC0415  every task would load it

    SmtpNotifier(to=to, subject=_SUBJECT, html_content=_TEXT)(context)


def _is_callers(failure: object) -> bool:
    return isinstance(failure, CalledProcessError) and failure.returncode == CALLERS_FAULT


def retry_delay(usual: timedelta) -> timedelta:
    """Return how long a retry waits: LANDCAST_AIRFLOW_RETRY_DELAY seconds where that is set, else as usual."""
    seconds = os.environ.get("LANDCAST_AIRFLOW_RETRY_DELAY")
    return timedelta(seconds=float(seconds)) if seconds else usual


def limits(dag: str, *, runs: int, tasks: int) -> tuple[int, int]:
    """Return how many runs and tasks of a DAG work at once: so many, unless the environment says otherwise.

    It does by LANDCAST_AIRFLOW_RUNS_… and LANDCAST_AIRFLOW_TASKS_…, such as …_NATIONAL_PRODUCT.
    """
    name = dag.upper().replace("-", "_")
    return (
        int(os.environ.get(f"LANDCAST_AIRFLOW_RUNS_{name}") or runs),
        int(os.environ.get(f"LANDCAST_AIRFLOW_TASKS_{name}") or tasks),
    )


def order_of_run() -> dict[str, Any]:
    """Return what the running task's run was told: job, attempt, process."""
    return dict(get_current_context()["dag_run"].conf or {})
