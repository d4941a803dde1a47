"""The database of the settings."""

from server.settings import Settings
from sql.connections import Database
from sql.pool import PostgresPool

_OF_A_CHILD = 2
_LOCK = _LISTENER = 1


def postgres_of(settings: Settings) -> PostgresPool | None:
    """Return a pool for PostgreSQL without open connections, or None if the orders are in the state folder."""
    if settings.database.url is None:
        return None
    url = settings.live.address if settings.live else settings.database.url.get_secret_value()
    return PostgresPool(url, size=settings.database.pool)


def database_of(settings: Settings) -> Database:
    """Return the database of orders, keys and sessions; call it once a process, because it bounds the connections."""
    return postgres_of(settings) or settings.state.dir / "orders.sqlite"


def describe_connections(settings: Settings) -> str:
    """Describe how many connections to PostgreSQL one `landcast serve` may open at once."""
    workers, pool, parallel = settings.server.workers, settings.database.pool, settings.jobs.parallel
    orders = parallel + 2
    of_worker = pool + _LOCK + (_LISTENER if settings.airflow.url else 0)
    total = workers * pool + of_worker + orders * _OF_A_CHILD
    return (
        f"at most {total} connections to PostgreSQL: {workers} server processes x {pool}, {of_worker} of the worker,"
        f" {orders} running orders x {_OF_A_CHILD}; as many again for each machine that serves"
    )
