"""The DAGs, in Airflow's own environment: how often, how long and where; the work itself is called, never here."""
