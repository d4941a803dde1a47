"""A client of one application for all tests of a file, as tiles do not change state."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from tests.conftest import ROOT, application


def raster_alone() -> dict[str, Any]:
    """Return the committed configuration with the raster of the sample alone, which is in the repository."""
    document = read_configuration(ROOT / "pygeoapi-config.yml")
    document["resources"] = {"clcplus-raster": document["resources"]["clcplus-raster"]}
    del document["products"]["clcplus-2023"]["vector"]
    return document


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Return a client of the application on the raster of the sample."""
    app = application(raster_alone(), state={"dir": tmp_path_factory.mktemp("state")})
    with TestClient(app, base_url="http://inside.invalid", headers={"accept": "*/*"}) as made:
        yield made
