"""A DAG for tests: a service that never answers within the time limit of its task."""

import time
from datetime import timedelta

from airflow.sdk import DAG, task

from orchestration.dags.services import answer_of_run, end, last_task, reporting

with DAG("test-slow-service", schedule=None):

    @task(execution_timeout=timedelta(seconds=1), retries=1, retry_delay=timedelta(seconds=0.1))
    def ask() -> None:
        with reporting():
            time.sleep(60)

    @last_task
    def finish() -> None:
        end(lambda: answer_of_run(["ask"], ["ask"]))

    ask() >> finish()
