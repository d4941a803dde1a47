"""The DAGs, in Airflow's own environment: their limits, retries and queues; the work itself is elsewhere."""
