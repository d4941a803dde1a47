"""Lists open each file once; hidden collections are in no list, but answer at their address."""

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rasterio
from starlette.applications import Starlette
from starlette.testclient import TestClient

from products.catalogue import catalogue_of, read_configuration
from products.vector.layer import Column
from server.app import create_app
from server.settings import CONCERNS, Settings
from tests.odd import geopackages as odd
from tests.routes.people import SECRET, LoginIssuer, browser_of

ROOT = Path(__file__).parents[3]
RASTER = ROOT / "sample" / "clcplus_2023_parks.tif"
LISTS = ("/", "/collections", "/openapi", "/processes", "/health/ready", "/jobs", "/auth/may")


class Opened:
    """Records the GeoPackages and GeoTIFFs that are opened, while `names` is a list."""

    def __init__(self) -> None:
        self.names: list[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.names is not None and event in {"open", "sqlite3.connect"} and ".gpkg" in str(arguments[0]):
            self.names.append(str(arguments[0]))


@pytest.fixture(scope="module")
def opened() -> Opened:
    """Return the recorder of opened files: an audit hook cannot be removed, so there is one."""
    return Opened()


@pytest.fixture
def opened_files(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the list of opened files."""
    opened.names = []
    real = rasterio.open

    def listening(name: Any, *arguments: Any, **how: Any) -> Any:
        if opened.names is not None:
            opened.names.append(str(name))
        return real(name, *arguments, **how)

    monkeypatch.setattr(rasterio, "open", listening)
    yield opened.names
    opened.names = None


def app_of(configuration: dict[str, Any], state: Path, **chosen: Any) -> Starlette:
    given = {"server": {"url": "https://maps.example.org/land"}, "state": {"dir": state / "state"}, **chosen}
    kinds = {kind.__name__.removesuffix("Settings").lower(): kind for kind in CONCERNS}
    values: Any = {name: kind(**given.get(name, {})) for name, kind in kinds.items()}
    return create_app(configuration, Settings(**values))


def configured(state: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the committed configuration with parks of our own; the polygons of the land cover are missing."""
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(state))
    configuration = read_configuration(ROOT / "pygeoapi-config.yml")
    odd.by_us(state / "parks.gpkg", [Column("name", "TEXT")], [("one",), ("two",)])
    configuration["resources"]["parks"]["providers"][0]["data"] = str(state / "parks.gpkg")
    return configuration


def test_requests_open_only_the_files_they_answer_from(
    opened_files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = configured(tmp_path, monkeypatch)
    raster = copy.deepcopy(configuration["resources"]["clcplus-raster"])
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    (tmp_path / "broken.gpkg").write_bytes(b"SQLite format 3\0" + bytes(200))
    raster["providers"][0]["data"] = str(tmp_path / "broken.tif")
    configuration["resources"]["broken-raster"] = raster
    configuration["resources"]["broken-vector"] = copy.deepcopy(configuration["resources"]["parks"])
    configuration["resources"]["broken-vector"]["providers"][0]["data"] = str(tmp_path / "broken.gpkg")
    with TestClient(app_of(configuration, tmp_path, auth={"open": True})) as client:
        first = {path: client.get(path, params={"f": "json"}).text for path in LISTS[:2]}
        client.get("/health/ready")
        assert {Path(name.removesuffix("?mode=ro")).name for name in opened_files} >= {
            *("parks.gpkg", "broken.tif", "broken.gpkg"),  # what is committed may have been opened by other tests
        }
        opened_files.clear()
        for path in LISTS:
            client.get(path)
            client.get(f"{path}?f=html")
        assert {path: client.get(path, params={"f": "json"}).text for path in first} == first
        client.get("/collections/clcplus-raster")
        client.get("/collections/clcplus-raster/schema")
        assert opened_files == []
        assert client.get("/collections/broken-raster/coverage").status_code == 503
        assert client.get("/collections/parks/items").status_code == 200
        assert {Path(name.removesuffix("?mode=ro")).name for name in opened_files} == {"parks.gpkg"}
        opened_files.clear()
        odd.by_us(tmp_path / "new.gpkg", [Column("name", "TEXT"), Column("day", "DATE")], [("one", "2020-02-29")])
        (tmp_path / "new.gpkg").replace(tmp_path / "broken.gpkg")
        document = client.get("/collections/broken-vector").json()
        assert document["extent"]["temporal"]["interval"] == [["2020-02-29T00:00:00Z", "2020-02-29T23:59:59Z"]]


def test_the_extent_has_heights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = configured(tmp_path, monkeypatch)
    configuration["resources"]["parks"]["extents"]["spatial"]["bbox"] = [19, 49, -5, 24, 55, 2499]
    with TestClient(app_of(configuration, tmp_path, auth={"open": True})) as client:
        assert client.get("/collections/parks").json()["extent"]["spatial"]["bbox"] == [[19, 49, -5, 24, 55, 2499]]
        page = client.get("/collections/parks?f=html")
        assert "19 to 24 degrees of longitude, 49 to 55 of latitude, -5 to 2,499 metres of height" in page.text
        for path in ("/collections", "/", "/openapi", "/collections/parks/items"):
            assert client.get(f"{path}?f=html").status_code == 200


def with_hidden(state: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the configuration with a hidden collection, a hidden process and a hidden product of another year."""
    configuration = configured(state, monkeypatch)
    resources = configuration["resources"]
    resources["secret-parks"] = {**copy.deepcopy(resources["parks"]), "visibility": "hidden"}
    resources["secret-raster"] = {**copy.deepcopy(resources["clcplus-raster"]), "visibility": "hidden"}
    resources["echo"]["visibility"] = "hidden"
    product = configuration["products"]["clcplus-2023"]
    configuration["products"]["secret"] = {**product, "year": 2031, "raster": "secret-raster", "vector": None}
    return configuration


WORDS = ("secret-", "processes/echo", "2031")


def test_a_hidden_collection_is_in_no_list_and_answers_at_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_of(with_hidden(tmp_path, monkeypatch), tmp_path, auth={"open": True})
    with TestClient(app, headers={"prefer": "respond-async"}) as client:
        for path in (*LISTS[:4], "/processes/extract-product", "/processes/area-statistics", "/processes/nothing"):
            for form in ("json", "html"):
                text = client.get(path, params={"f": form}).text
                assert not [word for word in WORDS if word in text], path
        described = client.get("/processes/extract-product").json()["inputs"]
        assert (described["year"]["schema"]["enum"], described["series"]["schema"]["enum"]) == ([2023], ["clcplus"])
        assert client.get("/collections/secret-parks/items").json()["numberMatched"] == 2
        assert client.get("/processes/echo").json()["id"] == "echo"
        assert client.post("/processes/echo/execution", json={"inputs": {}}).status_code != 404
        aoi = "POLYGON ((19.5 49.57, 19.51 49.57, 19.51 49.58, 19.5 49.57))"
        for year, seen in ((2031, 2031), (None, 2023)):
            body = {"inputs": {"product": "Raster", "aoi": aoi, **({"year": year} if year else {})}}
            answer = client.post("/processes/extract-product/execution", json=body).json()
            job = app.state.resources.store.get(answer["jobID"])
            assert job.order.inputs["year"] == seen, answer
        body = {"inputs": {"product": "Raster", "aoi": aoi, "year": 1999}}
        refused = client.post("/processes/extract-product/execution", json=body).text
        assert "allowed: 2023" in refused
        assert "2031" not in refused


def test_the_policy_decides_on_hidden_collections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in no list, not even for administrators; its address answers callers with a grant."""
    configuration = with_hidden(tmp_path, monkeypatch)
    configuration["resources"]["secret-nations"] = {
        **copy.deepcopy(configuration["resources"]["nations"]),
        "visibility": "hidden",
    }
    policy = tmp_path / "policy.yml"
    policy.write_text(
        "grants:\n"
        "  all:\n    who: public\n    may: [discover, read-items]\n    collections: [parks, secret-parks]\n"
        "  known:\n    who: {role: user}\n    may: [discover, read-items, read-coverage]\n    collections: '*'\n"
        "  order:\n    who: {role: user}\n    may: [discover, execute]\n    processes: '*'\n"
    )
    issuer = LoginIssuer()
    try:
        auth = {"open": False, "issuer": issuer.url, "client_secret": SECRET, "policy": policy}
        with browser_of(app_of(configuration, tmp_path, auth=auth), issuer) as browser:
            assert browser.http.get("/land/collections/secret-parks/items").status_code == 200
            assert browser.http.get("/land/collections/secret-nations/items").status_code == 404
            assert browser.http.get("/land/processes/echo").status_code == 404
            names = [each["id"] for each in browser.http.get("/land/collections").json()["collections"]]
            assert names == ["parks"]
            assert "secret-" not in browser.http.get("/land/openapi?f=json").text
            browser.sign_in()
            assert browser.http.get("/land/collections/secret-nations/items").status_code == 200
            assert browser.http.get("/land/processes/echo").json()["id"] == "echo"
            assert browser.http.get("/land/processes/extract-product").json()["id"] == "extract-product"
            for path in LISTS:
                text = browser.http.get(f"/land{path}", params={"f": "json"}).text
                assert not [word for word in WORDS if word in text], path
    finally:
        issuer.close()


def test_a_hidden_product_is_found_by_its_year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = catalogue_of(with_hidden(tmp_path, monkeypatch))
    assert (catalogue.default.year, catalogue.find(year=2031).id, catalogue.years("clcplus")) == (
        2023,
        "secret",
        (2023,),
    )
