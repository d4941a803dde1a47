"""`landcast[plugins]` installs, and two of its providers work: one with a file, one with a stand-in for CKAN."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import yaml

from tests.plugins.beside import configuration
from tests.plugins.vanilla import ROOT
from tests.server.served import serving

pytestmark = pytest.mark.full

_INSTALL = (
    '. deploy/find.sh; exec "$(find_uv "$PYTHON")" sync --quiet --locked --no-dev --extra plugins --python "$PYTHON"'
)
RIVERS = [{"code": f"R{n}", "name": name, "x": 19 + n, "y": 50} for n, name in enumerate(("Wisła", "San", "Dunajec"))]


class CkanAsStandIn(BaseHTTPRequestHandler):
    """Answers `datastore_search` from three rows."""

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        wanted = json.loads(asked.get("filters", "{}"))
        rows = [row for row in RIVERS if wanted.items() <= row.items()]
        rows = sorted(rows, key=lambda row: str(row["name"])) if "sort" in asked else rows
        begin = int(asked.get("offset", 0))
        fields = [{"id": name, "type": "text"} for name in RIVERS[0]]
        found = {"fields": fields, "records": rows[begin : begin + int(asked.get("limit", 100))], "total": len(rows)}
        body = json.dumps({"success": asked["resource_id"] == "rivers", "result": found}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with the extra and without test packages."""
    folder = tmp_path_factory.mktemp("plugins") / "venv"
    places = {"UV_PROJECT_ENVIRONMENT": str(folder), "UV_PYTHON_DOWNLOADS": "never", "PYTHON": sys.executable}
    subprocess.run(["sh", "-c", _INSTALL], cwd=ROOT, env={**os.environ, **places}, check=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def served(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("served")
    lakes = [
        {
            "type": "Feature",
            "properties": {"code": f"L{n}", "depth": n},
            "geometry": {"type": "Point", "coordinates": [n, 50]},
        }
        for n in range(12)
    ]
    (folder / "lakes.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": lakes}))
    with ThreadingHTTPServer(("127.0.0.1", 0), CkanAsStandIn) as server, pytest.MonkeyPatch.context() as patch:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/api/3/action/datastore_search"
        same = configuration(folder, "http://127.0.0.1")
        model = same["resources"]["gauges"]
        providers: Mapping[str, Mapping[str, Any]] = {
            "lakes": {"name": "geopandas_.GeoPandasProvider", "data": "lakes.geojson", "id_field": "code"},
            "rivers": {
                "name": "ckan.CKANProvider", "data": address, "id_field": "code", "resource_id": "rivers",
                "x_field": "x", "y_field": "y",
            },
        }  # fmt: skip
        same["resources"] = {
            each: {
                **model,
                "extents": {"spatial": model["extents"]["spatial"]},
                "providers": [{"type": "feature", **given, "name": f"pygeoapi_plugins.provider.{given['name']}"}],
            }
            for each, given in providers.items()
        }
        path = folder / "theirs.yml"
        path.write_text(yaml.safe_dump(same))
        patch.setattr(sys, "executable", str(python))
        checked = subprocess.run(
            [python, "-m", "server.cli", "check", "--config", path],
            env={**os.environ, "LANDCAST_STATE_DIR": str(folder), "LANDCAST_AUTH_OPEN": "yes"}, cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout + checked.stderr
        with serving(folder, folder / "log", "--config", str(path)) as client:
            yield client
        server.shutdown()


def _items(client: httpx2.Client, collection: str, **parameters: str) -> Any:
    answer = client.get(f"/collections/{collection}/items", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_geopandas_reads_a_file(served: httpx2.Client) -> None:
    page = _items(served, "lakes", limit="5", offset="5")
    assert [each["properties"]["depth"] for each in page["features"]] == [5, 6, 7, 8, 9]
    assert page["numberMatched"] == 12
    assert len(_items(served, "lakes", bbox="2.5,49,6.5,51")["features"]) == 4
    assert served.get("/collections/lakes/items?bogus=1").status_code == 400
    assert set(served.get("/collections/lakes/schema").json()["properties"]) >= {"code", "depth"}


def test_ckan_is_asked_over_http(served: httpx2.Client) -> None:
    page = _items(served, "rivers")
    assert [each["properties"]["name"] for each in page["features"]] == ["Wisła", "San", "Dunajec"]
    assert page["features"][1]["geometry"] == {"type": "Point", "coordinates": [20, 50]}
    assert [each["id"] for each in _items(served, "rivers", name="San")["features"]] == ["R1"]
    assert served.get("/collections/rivers/items/R2").json()["properties"]["name"] == "Dunajec"
    assert "Dunajec" in served.get("/collections/rivers/items?f=csv").text


def test_only_the_extra_installs_its_packages(python: Path) -> None:
    command = "import importlib.util as u; print(*(bool(u.find_spec(n)) for n in ('geopandas', 'redis', 'pytest')))"
    said = subprocess.run([python, "-c", command], capture_output=True, text=True, check=True).stdout.split()
    assert said == ["True", "True", "False"]
