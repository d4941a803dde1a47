"""The production services: the requests to external services, and their accepted answers.

Their functions run in Airflow's own environment, so nothing here imports more than the standard library and ours.
"""

TESTING = "-testing"
"""What the name of a twin ends with: the same, at the services' test environment."""

LACKING = "lacks a connection"
"""A tag of the DAGs whose services are not all set up; for each connection they have one more, `LACKS` and its name."""
LACKS = "lacks "
