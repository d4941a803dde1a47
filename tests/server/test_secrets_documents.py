"""The pages on secrets and on the database name existing settings and functions."""

import pkgutil
import re
from pathlib import Path

import pytest

from server.environment import variables

OLD = Path("docs/database.md").read_text().partition("## From the old database module")[2].partition("\n## ")[0]


def test_every_old_function_has_its_row() -> None:
    rows = [line.partition(" | ")[0] for line in OLD.splitlines() if " | " in line]
    for old in ("read one row", "read many rows", "read all rows", "execute", "batches (`execute_values`)"):
        assert old in rows
    for old in ("credentials from Vault", "credentials from an ini file", "five retries, a second apart"):
        assert old in rows


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:sql|orchestration|server)\.[\w.]+)`", OLD))))
def test_every_named_replacement_exists(name: str) -> None:
    assert callable(pkgutil.resolve_name(name))


@pytest.mark.parametrize("page", ["docs/secrets.md", "docs/database.md"])
def test_every_setting_named_on_a_page_exists(page: str) -> None:
    named = set(re.findall(r"LANDCAST_[A-Z_]+[A-Z]", Path(page).read_text()))
    assert named
    assert {name.removesuffix("_FILE") for name in named} - {"LANDCAST_VAULT"} <= variables().keys()
