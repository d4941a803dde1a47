"""How far an attempt is, told by work on other machines."""

from orchestration.store.database import unavailable
from sql.pool import PostgresPool


class Reporter:
    """Tells PostgreSQL how far attempts are, as a login that may call `report` and nothing else."""

    def __init__(self, url: str) -> None:
        self._pool = PostgresPool(url, size=2)

    def __call__(self, job_id: str, attempt: int, percent: int | None, message: str | None) -> bool:
        """Note it and say whether the attempt is the running one; of any other nothing is noted.

        What is None stays as it is. Raises StoreUnavailable.
        """
        values = {"id": job_id, "attempt": attempt, "percent": percent, "message": message}
        with unavailable(), self._pool.writing() as connection:
            (runs,) = connection.execute("select report(:id, :attempt, :percent, :message)", values).fetchone()
        return bool(runs)

    def close(self) -> None:
        """Give the connections back."""
        self._pool.close()

    def runs(self, job_id: str, attempt: int) -> bool:
        """Say whether the attempt is the running one. Raises StoreUnavailable."""
        return self(job_id, attempt, None, None)
