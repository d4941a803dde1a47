"""A DAG for tests: an order in parts, each of which is an input of `echo`.

Airflow reads only files that contain its name.
"""

from orchestration.dags.steps import in_parts

parts = in_parts("test-parts", "default", hours=1, runs=4, tasks=4)
