"""Access to tiles: collections without a grant are neither drawn nor listed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import yaml
from starlette.testclient import TestClient

from tests.auth.issuers import FakeIssuer
from tests.conftest import application
from tests.routes.tiles.test_tile import pixels, two_rasters

PLACE = "/map/tiles/EuropeanETRS89_LAEAQuad"
Ask = Callable[..., TestClient]
AREA = {"polygon": "POLYGON ((17 49, 18 49, 18 50, 17 50, 17 49))"}


def grant(*collections: str, **more: object) -> dict[str, object]:
    """Return a grant to everybody."""
    return {"who": "public", "may": ["read-map", "read-tiles"], "collections": list(collections), **more}


@pytest.fixture
def ask(tmp_path: Path, issuer: FakeIssuer) -> Iterator[Ask]:
    """Return a function that makes a client of a server with these grants."""
    with ExitStack() as running:

        def make(**grants: dict[str, object]) -> TestClient:
            policy = tmp_path / "policy.yml"
            policy.write_text(yaml.safe_dump({"grants": grants}))
            auth = {"open": False, "issuer": issuer.url, "policy": policy}
            app = application(two_rasters(tmp_path), state={"dir": tmp_path / "state"}, auth=auth)
            return running.enter_context(TestClient(app))

        yield make


def test_tiles_of_all_collections_have_only_granted_ones(ask: Ask) -> None:
    client = ask(west=grant("west"))
    assert client.get("/collections/all/map/tiles").status_code == 404
    sets = client.get("/collections/west/map/tiles").json()["tilesets"]
    limit = sets[1]["tileMatrixSetLimits"][11]
    tile = f"{PLACE}/11/{limit['minTileRow'] + 2}/{limit['minTileCol'] + 2}"
    alone, together = (client.get(path) for path in (f"/collections/west{tile}", tile))
    assert alone.status_code == together.status_code == 200
    np.testing.assert_array_equal(pixels(alone.content), pixels(together.content))
    named = client.get(f"{tile}?collections=all")
    assert (named.status_code, named.json()["detail"]) == (400, "parameter collections='all': allowed: west")
    capabilities = client.get("/wmts?service=WMTS&request=GetCapabilities").text
    assert "<ows:Identifier>west</ows:Identifier>" in capabilities
    assert "<ows:Identifier>all</ows:Identifier>" not in capabilities
    document = client.get("/openapi").text
    assert '"west.collection.map.getTile"' in document
    assert "all.collection.map" not in document


def test_without_a_grant_tiles_are_missing(ask: Ask) -> None:
    client = ask(seen={"who": "public", "may": "discover", "collections": "west"})
    for path in (f"{PLACE}/11/1/1", "/map/tiles", "/wmts", "/collections/west/map/tiles", "/collections/west/styles"):
        assert client.get(path).status_code == 401, path


@pytest.mark.parametrize(
    "restriction", [{"area": {**AREA, "outside": "refused"}}, {"rows": "a = 1"}], ids=["area", "rows"]
)
def test_a_restricted_caller_gets_no_tile(ask: Ask, restriction: dict[str, object]) -> None:
    client = ask(part=grant("west", **restriction), whole=grant("all"))
    sets = client.get("/collections/all/map/tiles").json()["tilesets"]
    limit = sets[1]["tileMatrixSetLimits"][11]
    tile = f"{PLACE}/11/{limit['minTileRow'] + 2}/{limit['minTileCol'] + 2}"
    assert client.get(f"/collections/west{tile}").status_code == 403
    below, together = client.get(f"/collections/all{tile}"), client.get(tile)
    assert together.status_code == 200
    np.testing.assert_array_equal(pixels(together.content), pixels(below.content))
