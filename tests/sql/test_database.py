"""The database file on the disk."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sql.connect import Store


class Shelf(Store):
    """A database that is only written to."""

    def write(self) -> None:
        with self._writing() as connection:
            connection.execute("delete from jobs")


@pytest.fixture(autouse=True)
def careless_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def rights(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


@pytest.mark.parametrize("lazy", [True, False])
def test_only_its_user_may_read_the_database(tmp_path: Path, *, lazy: bool) -> None:
    """Attack: another user of the machine reads e-mail addresses, ID tokens and orders in the state folder."""
    database = Shelf(tmp_path / "orders.sqlite", lazy=lazy)
    database.write()
    assert rights(tmp_path) == {"orders.sqlite": 0o600, "orders.sqlite-wal": 0o600, "orders.sqlite-shm": 0o600}
    database.close()


def test_a_database_readable_by_others_is_made_private(tmp_path: Path) -> None:
    running = Shelf(tmp_path / "orders.sqlite")
    running.write()
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    second = Shelf(tmp_path / "orders.sqlite")
    second.write()
    assert set(rights(tmp_path).values()) == {0o600}
    running.write()
    running.close()
    second.close()
