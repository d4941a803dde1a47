"""Health, and the events that Airflow sends."""
