"""Metrics for Prometheus: counters in shared memory, figures of the database and of dependencies."""
