"""Times in the tables: microseconds since 1970 UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """Return a time in microseconds."""
    return (time - _EPOCH) // _MICROSECOND


def now() -> int:
    """Return the current time in microseconds."""
    return microseconds(datetime.now(UTC))


def time_of(value: int) -> datetime:
    """Return the time of a value in microseconds."""
    return _EPOCH + timedelta(microseconds=value)
