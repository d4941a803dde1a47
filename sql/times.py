"""Times as the tables hold them: microseconds since 1970 UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """Return the time as a table holds it."""
    return (time - _EPOCH) // _MICROSECOND


def now() -> int:
    """Return the present as a table holds it."""
    return microseconds(datetime.now(UTC))


def time_of(value: int) -> datetime:
    """Return the time that a table holds."""
    return _EPOCH + timedelta(microseconds=value)
