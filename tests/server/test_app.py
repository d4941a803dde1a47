import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from auth.policy import OPEN
from routes.http.problem import Problem
from server.api import make_api

ROOT = Path(__file__).parents[2]
CALLED = {
    "pygeoapi.api": {
        *("API", "APIRequest", "describe_collections", "get_collection_schema", "landing_page"),
        *("validate_bbox", "validate_subset"),
    },
    "pygeoapi.crs": {"get_supported_crs_list"},
    "pygeoapi.error": {"GenericError"},
    "pygeoapi.l10n": {"LocaleError", "locale2str", "str2locale"},
    "pygeoapi.linked_data": {"geojson2jsonld"},
    "pygeoapi.plugin": {"InvalidPluginError", "load_plugin"},
    "pygeoapi.provider.base": {"ProviderConnectionError", "ProviderItemNotFoundError", "ProviderNotFoundError"},
    "pygeoapi.provider.filesystem": {"FileSystemProvider"},
    "pygeoapi.util": {"get_dataset_formatters"},
}


def test_everything_used_from_pygeoapi_is_listed() -> None:
    """These must be checked at an upgrade of pygeoapi."""
    found: dict[str, set[str]] = {}
    for path in [*(ROOT / "routes").rglob("*.py"), *(ROOT / "server").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pygeoapi"):
                found.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
    assert found == CALLED


def test_two_applications_share_no_state(make_app: Callable[..., Starlette], tmp_path: Path) -> None:
    one = make_app(server={"url": "https://one.example"}, state={"dir": tmp_path / "1"})
    other = make_app(server={"url": "https://other.example"}, state={"dir": tmp_path / "2"})
    with TestClient(one) as first, TestClient(other) as second:
        assert "other.example" not in first.get("/collections").text
        assert "https://other.example/collections/parks" in second.get("/collections").text


def test_building_the_application_does_not_change_the_configuration(
    make_app: Callable[..., Starlette], configuration: dict[str, Any]
) -> None:
    before = repr(configuration)
    make_app(configuration)
    assert repr(configuration) == before


def test_ignored_pygeoapi_settings_have_no_effect(
    make_app: Callable[..., Starlette], configuration: dict[str, Any], tmp_path: Path
) -> None:
    configuration["server"] |= {
        "manager": {"name": "TinyDB", "connection": f"{tmp_path}/jobs.db", "output_dir": str(tmp_path)},
        "languages": ["de-AT", "en"],
        "pretty_print": True,
    }
    configuration["resources"]["parks"] |= {
        "title": {"en": "Parks", "de": "Schutzgebiete"},
        "keywords": {"en": ["park"], "fr": ["parc"]},
    }
    configuration["metadata"]["identification"]["title"] = {"de_AT": "Landbedeckung", "de": "Anders"}
    configuration["metadata"]["contact"] |= {"phone": 123, "city": "Wien", "role": "pointOfContact"}
    with TestClient(make_app(configuration)) as client:
        assert client.get("/").json()["title"] == "Landbedeckung"
        park = client.get("/collections/parks").json()
        assert (park["title"], park["keywords"]) == ("Schutzgebiete", ["park"])
        definition = client.get("/openapi").json()["info"]
        assert definition["contact"]["x-ogc-serviceContact"]["addresses"] == [{"city": "Wien"}]
        assert definition["contact"]["x-ogc-serviceContact"]["phones"] == [{"type": "main", "value": "123"}]
        assert definition["x-keywords"] == configuration["metadata"]["identification"]["keywords"]
    assert not (tmp_path / "jobs.db").exists()


def test_building_the_application_opens_no_file(make_app: Callable[..., Starlette], tmp_path: Path) -> None:
    """It is built before the fork: databases are opened and threads started after it."""
    app = make_app()
    assert not (tmp_path / "state").exists()
    assert not hasattr(app.state, "resources")


def test_an_exception_of_pygeoapi_is_raised_as_a_problem(configuration: dict[str, Any]) -> None:
    api = make_api(configuration, "https://maps.example.org", OPEN, "en")
    with pytest.raises(Problem) as caught:
        api.get_exception(404, {}, "json", "NotFound", "no such thing")
    assert caught.value.status == 404
    assert caught.value.detail == "no such thing"


def test_pygeoapis_own_application_is_not_loaded(make_app: Callable[..., Starlette]) -> None:
    make_app()
    assert "pygeoapi.starlette_app" not in sys.modules
    assert "pygeoapi.flask_app" not in sys.modules


def test_slow_unneeded_modules_are_not_imported() -> None:
    """pygeoapi's item routes build a CQL2 grammar at import, which would add half a second to every start."""
    code = "import sys, server.app; print({'pygeofilter.parsers', 'werkzeug', 'pandas', 'osgeo'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"
