"""A server with an operator's configuration, `theirs.yml` in the `folder` of each module."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from tests.conftest import MakeApp


@pytest.fixture
def theirs(folder: Path) -> dict[str, Any]:
    """Return the operator's configuration."""
    return read_configuration(folder / "theirs.yml")


@pytest.fixture
def client(make_app: MakeApp, theirs: dict[str, Any]) -> Iterator[TestClient]:
    """Return a client of a server with the operator's configuration alone."""
    with TestClient(make_app(theirs), base_url="http://inside.invalid", raise_server_exceptions=False) as client:
        yield client
