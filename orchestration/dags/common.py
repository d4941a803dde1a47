"""Shared by the DAGs: the mail about a final failure, and the order of a run."""

from __future__ import annotations

from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from orchestration.child import CALLERS_FAULT
from orchestration.environment import mail_to

if TYPE_CHECKING:
    from airflow.sdk import Context

ORDER = "{{ dag_run.conf | tojson }}"
"""A template for an argument of a task: the result of `order_of_run` as JSON text."""
TRY = "{{ ti.try_number }}"
"""Likewise the number of the try, from 1; it also grows when Airflow runs a task again after a crash."""

_SUBJECT = "Landcast: {{ ti.task_id }} of {{ ti.dag_id }} failed"
_TEXT = """<p>The task {{ ti.task_id }}{% if ti.map_index >= 0 %} [{{ ti.map_index }}]{% endif %} of
{{ ti.dag_id }} failed for good, at try {{ ti.try_number }}, in the run {{ ti.run_id }}.</p>
<p>Its log says why: <a href="{{ ti.log_url | e }}">{{ ti.log_url | e }}</a></p>"""


def mail_operators(context: Context) -> None:
    """Mail LANDCAST_AIRFLOW_MAIL_TO that a task failed: its `on_failure_callback`, called after the last try.

    The mail is sent by the Airflow connection `smtp_default`, from the address in its extra `from_email`. None is sent
    if LANDCAST_AIRFLOW_MAIL_TO is empty, or if the failure is the caller's fault.
    """
    to = mail_to()
    if not to or _is_callers(context.get("exception")):
        return
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier  # noqa: PLC0415  every task would load it

    SmtpNotifier(to=to, subject=_SUBJECT, html_content=_TEXT)(context)


def _is_callers(failure: object) -> bool:
    return isinstance(failure, CalledProcessError) and failure.returncode == CALLERS_FAULT


def order_of_run() -> dict[str, Any]:
    """Return the `conf` of the running task's run: job, attempt, process."""
    return dict(get_current_context()["dag_run"].conf or {})
