"""`landcast logs`: the log in PostgreSQL."""

import signal
from threading import Event
from typing import Any

import click

from server.commands.common import settings


@click.group()
def logs() -> None:
    """Store the log that is shipped over RabbitMQ (LANDCAST_LOG_BROKER)."""


@logs.command()
def consume() -> None:
    """Store the log lines of the queue in PostgreSQL (LANDCAST_LOG_DATABASE), until SIGTERM; several may run."""
    from server.log_consumer import LogConsumer
    from server.logs import start_logging
    from sql.log_table import LogTable

    given = settings()
    start_logging(level=given.log.level, form=given.log.format)
    broker, database = given.log.broker, given.log.database or given.database.url
    if broker is None:
        raise click.ClickException("LANDCAST_LOG_BROKER: missing")
    if database is None:
        raise click.ClickException("LANDCAST_LOG_DATABASE: missing, and LANDCAST_DATABASE_URL, too")
    over = Event()

    def end(*_: Any) -> None:
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    table = LogTable(database.get_secret_value())
    LogConsumer(broker.get_secret_value(), table, days=given.log.retention).run(over.is_set)
    table.close()
