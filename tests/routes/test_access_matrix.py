"""Every route, method and kind of caller: real tokens of a real Keycloak, a real server, answers written by hand."""

import hashlib
import hmac
import itertools
import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import rasterio
import urllib3
import yaml
from rasterio.transform import from_bounds

from auth.identity import Identity
from auth.keys.key import WantedKey
from auth.keys.store import ApiKeys
from orchestration.job import Order, Output, ResultFile
from orchestration.store.jobs import StoredJobs
from products.yaml_file import read_yaml
from server.app import ROUTES
from sql.pool import PostgresPool
from tests.auth.issuers import rsa_key, signed
from tests.auth.keycloak import Keycloak
from tests.conftest import serving
from tests.ports import free_port
from tests.postgres import Postgres
from tests.routes.pygeoapi.plugins import TILED_AND_RETRIEVED

TABLE = Path(__file__).with_name("access_matrix.txt")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
COLUMNS = ("anon", "aud", "exp", "iss", "none", "hs256", "id", "user", "gaf", "geov", "admin", "other", "rev")
RASTER = {"product": "Raster"}
AREA = {"inputs": {**RASTER, "aoi": {"bbox": [23.80, 52.70, 23.81, 52.71]}}}
MODEL = {
    "epsg": 3035,
    "resampling": "bilinear",
    "cloudmask_type": "scl",
    "model_path": "m.onnx",
    "data_type": "int16",
    "data": {"features": {"NDVI": {"values": ["MEDIAN"]}}},
    "path_prefix": "p",
    "use_cache": True,
    "scene_ids_by_index": {"0": ["S2A_MSIL2A_20230501T100031_N0509_R122_T33UXP_20230501T134502"]},
}
POINT = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [23.85, 52.7]}, "properties": {"class": 2}}
SAMPLES = {
    "start_date": "2023-04-01",
    "end_date": "2023-09-30",
    "include_url": "true",
    "out_path": "s",
    "data": {"type": "FeatureCollection", "features": [POINT]},
}
SCENES = {"s2_parameter_list": [{"acquisition_date": "2023-05-01", "tile_id": "33UXP", "bands": ["B02"]}]}
SERVICES = {
    f"/processes/{name}{twin}/execution": {"inputs": inputs}
    for name, inputs in (("apply-model", MODEL), ("prepare-samples", SAMPLES), ("sample-extraction", SCENES))
    for twin in ("", "-testing")
}
BODIES: Mapping[str, Any] = {
    **SERVICES,
    "/processes/extract-product/execution": AREA,
    "/processes/estimate-product/execution": AREA,
    "/processes/national-product/execution": {"inputs": {**RASTER, "nation": "Poland"}},
    "/processes/european-product/execution": {"inputs": RASTER},
    "/processes/area-statistics/execution": {"inputs": {"park": "Ojcowski National Park"}},
    "/orders/{job_id}": {"status": "RUNNING"},
    "/stac-api/search": {"limit": 1},
    "/area": {"type": "Polygon", "coordinates": [[[19, 50], [19.1, 50], [19.1, 50.1], [19, 50]]]},
    "/auth/keys": {"name": "matrix"},
    **{
        f"/collections/{name}/items": {"op": "isNull", "args": [{"property": "geometry"}]}
        for name in ("clcplus-vector", "parks", "nations")
    },
    "/auth/refresh": {"refresh_token": "none"},
    "/auth/revoke": {"refresh_token": "none"},
}
QUERIES = {
    "/collections/drawn/map": "?bbox=19.75,50.18,19.8,50.22&width=8&height=8",
    "/collections/retrieved/position": "?coords=POINT(1%202)",
    "/collections/clcplus-raster/coverage": "?bbox=23.80,52.70,23.81,52.71",
    "/collections/clcplus-raster/map": "?width=8&height=8",
}
GRANTS: Mapping[str, Any] = {
    "lakes": {"who": "public", "may": "read-items", "collections": "lakes"},
    "scenes": {"who": "public", "may": "discover", "collections": "scenes"},
    "gaf": {
        "who": {"role": "gaf"},
        "may": ["read-coverage", "read-map", "read-tiles"],
        "collections": ["values", "drawn", "tiled", "retrieved"],
    },
}
"""Besides those of deploy/policy.yml, where who is known reads the items and fetches the files of all collections."""
RESULT, RESULT_PATH = b"PK", "shared/1/1/Raster.zip"
"""The file of every order."""
_AGAIN = urllib3.Retry(3, redirect=False, allowed_methods=None, respect_retry_after_header=False)
"""Only where a server closes an idle connection at the moment at which a request is sent by it."""
NOBODYS = {"collection_id": "nothing", "process_id": "nothing", "job_id": "00000000-0000-4000-8000-000000000000"}
_RENEWED_AFTER = 60.0
"""Seconds; a token of Keycloak lasts five minutes."""
_OF_NO_OPERATION = (401, 404, 405)
"""404: by other methods `/jobs/dismissals` is a job, of which there is none."""
_PLACE = re.compile(r"\{(\w+):([^}]+)\}")
WHY = {
    "aud": "audience mapper",
    "exp": "has expired",
    "iss": "not issued by",
    "none": "algorithm that is not allowed",
    "hs256": "algorithm that is not allowed",
    "id": "send the access token",
    "rev": "was revoked",
}


def _provider(kind: str, name: str, data: Any, **members: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "data": data, **members}


def foreign(folder: Path) -> dict[str, Any]:
    """Return collections of each kind of foreign provider, with the files that they read, and of records."""
    (folder / "matrix_plugin.py").write_text(TILED_AND_RETRIEVED)
    (folder / "files").mkdir()
    (folder / "files" / "first.txt").write_text("a file")
    (folder / "lakes.csv").write_text("id,name,lat,long\n1,First,50,20\n")
    record = {"id": "r", "type": "Feature", "geometry": None, "properties": {"title": "A record", "externalId": "r"}}
    (folder / "records.json").write_text(json.dumps({"_default": {"1": record}}))
    size = {"width": 4, "height": 3, "count": 1, "dtype": "float32", "crs": "EPSG:4326"}
    with rasterio.open(
        folder / "values.tif", "w", driver="GTiff", **size, transform=from_bounds(0, 0, 4, 3, 4, 3)
    ) as to:
        to.write(np.zeros((1, 3, 4), "float32"))
    lakes = _provider("feature", "CSV", "lakes.csv", id_field="id", geometry={"x_field": "long", "y_field": "lat"})
    records = {"id_field": "externalId", "time_field": "created", "title_field": "title"}
    png = {"name": "png", "mimetype": "image/png"}
    tiff = {"name": "GTiff", "mimetype": "image/tiff"}
    tiles = {"options": {"zoom": {"min": 0, "max": 3}}, "format": {"name": "pbf", "mimetype": "application/x-protobuf"}}
    made = {
        "lakes": lakes,
        "catalogue": _provider("record", "plugins.records.RecordProvider", {"collections": ["parks"]}),
        "records": _provider("record", "TinyDBCatalogue", "records.json", **records),
        "values": _provider("coverage", "rasterio", "values.tif", format=tiff),
        "drawn": _provider("map", "plugins.cog_map.CogMapProvider", SAMPLE, format=png),
        "tiled": _provider("tile", "matrix_plugin.Tiled", ".", **tiles),
        "retrieved": _provider("edr", "matrix_plugin.Retrieved", "."),
        "files": _provider("stac", "FileSystem", "files", file_types=[".txt"]),
        "scenes": lakes,
    }
    types = {"files": "stac-collection", "scenes": "stac-collection"}
    described = {"description": "d", "keywords": ["k"], "extents": {"spatial": {"bbox": [-180, -90, 180, 90]}}}
    return {
        name: {"type": types.get(name, "collection"), "title": name, **described, "providers": [provider]}
        for name, provider in made.items()
    }


ROOT = Path(__file__).parents[2]
SAMPLE = str(ROOT / "sample" / "clcplus_2023_parks.tif")


def configure(folder: Path) -> tuple[Path, Path]:
    """Write the committed configuration and policy with collections of all kinds, and return their paths."""
    document = read_yaml(ROOT / "pygeoapi-config.yml")
    for resource in document["resources"].values():
        for provider in resource.get("providers", ()):
            data = provider["data"]
            provider["data"] = data if data.startswith("$") else str(ROOT / data)
    document["resources"] |= foreign(folder)
    document["pubsub"] = {"name": "HTTP", "broker": {"url": "http://127.0.0.1:1"}}
    policy = read_yaml(ROOT / "deploy" / "policy.yml")
    policy["grants"] |= GRANTS
    for name, written in (("configuration.yml", document), ("policy.yml", policy)):
        (folder / name).write_text(yaml.safe_dump(written, sort_keys=False))
    return folder / "configuration.yml", folder / "policy.yml"


@dataclass(frozen=True, slots=True)
class Cell:
    """The expected answer to one caller for one method of one path."""

    method: str
    written: str
    caller: str
    status: int

    @property
    def path(self) -> str:
        """The path as in the OpenAPI document."""
        return _PLACE.sub(r"{\1}", self.written)


@dataclass
class Town:
    """A server with its callers, and the orders of cells."""

    url: str
    headers: dict[str, Mapping[str, str]]
    keycloak: Keycloak
    owners: Mapping[str, str]
    store: StoredJobs
    addresses: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Each request from a client of its own: a revoked key that is tried often is slowed."""

    http: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(maxsize=len(COLUMNS), retries=_AGAIN, timeout=60)
    )
    renewed: float = field(default_factory=time.monotonic)

    def renew(self) -> None:
        """Get new tokens before the current ones expire: the table is long, and the machine may be slow."""
        if time.monotonic() > self.renewed + _RENEWED_AFTER:
            self.headers |= {column: bearer(self.keycloak.token(f"matrix-{column}")) for column in self.owners}
            self.renewed = time.monotonic()

    def ask(self, cell: Cell, address: str) -> urllib3.BaseHTTPResponse:
        number = next(self.addresses)
        sender = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        headers = {**self.headers[cell.caller], "X-Forwarded-For": sender, "X-Request-Id": "matrix-matrix"}
        if cell.method == "POST" and (cell.path in BODIES or cell.path.endswith("/execution")):
            body = BODIES.get(cell.path, {})
            prefer = {} if "estimate" in cell.path else {"Prefer": "respond-async"}
            return self.http.request("POST", self.url + address, json=body, headers={**headers, **prefer})
        if cell.method == "PUT" and cell.path in BODIES:
            return self.http.request("PUT", self.url + address, json=BODIES[cell.path], headers=headers)
        return self.http.request(cell.method, self.url + address, headers=headers)

    def fill(self, written: str) -> tuple[str, dict[str, str]]:
        """Return the address of a cell, with a new order if it names one, and the inserted values."""
        put = dict(_PLACE.findall(written))
        if put.get("job_id") in {"order", "production", "waiting"}:
            put["job_id"] = self.order(put["job_id"])
        if put.get("name") == "ticket":
            put["name"] = self._ticket(put["job_id"])
        path = _PLACE.sub(lambda found: put[found[1]], written)
        return path + QUERIES.get(_PLACE.sub(r"{\1}", written), ""), put

    def order(self, kind: str) -> str:
        if kind == "waiting":
            return self.store.add(Order("extract-product", {}, self.owners["user"]))[0].id
        process, owner = ("echo", "user") if kind == "order" else ("apply-model", "gaf")
        digest = hashlib.sha256(RESULT).hexdigest()
        made = ResultFile("Raster.zip", RESULT_PATH, "application/zip", len(RESULT), digest)
        asked = {"result": {"transmissionMode": "reference"}}
        order = Order(process, {}, self.owners[owner], outputs=asked, response="document")
        return self.store.add(order, (Output("result", None, "application/zip", made),))[0].id

    def _ticket(self, job: str) -> str:
        answer = self.http.request("GET", f"{self.url}/jobs/{job}/results", headers=dict(self.headers["user"]))
        return str(answer.json()["result"]["href"]).rpartition("/")[2]


def cells_of(text: str) -> Iterator[Cell]:
    """Yield the cells of the table. Raises ValueError for an incomplete row."""
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    if rows[0] != ["methods", "path", *COLUMNS]:
        raise ValueError("the first row names the columns")
    for methods, path, *statuses in rows[1:]:
        for method in methods.split(","):
            for caller, status in zip(COLUMNS, statuses, strict=True):
                yield Cell(method, path, caller, int(status))


CELLS = tuple(cells_of(TABLE.read_text()))


def part_of(token: str, number: int) -> dict[str, Any]:
    part = token.split(".")[number]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def unsigned(token: str, algorithm: str) -> str:
    """Return the token with another algorithm, without its signature."""
    header = {**part_of(token, 0), "alg": algorithm}
    return f"{encoded(json.dumps(header).encode())}.{token.split('.')[1]}."


def with_public_key(token: str, public_key: str) -> str:
    """Return the token signed with the public key as if it were a shared secret."""
    body = unsigned(token, "HS256").rstrip(".")
    return f"{body}.{encoded(hmac.digest(public_key.encode(), body.encode(), 'sha256'))}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def people(keycloak: Keycloak) -> dict[str, str]:
    """Return the owners of orders by column."""
    roles = {"user": "user", "gaf": "gaf", "geov": "geoville", "admin": "admin", "other": "user"}
    return {
        column: f"{keycloak.issuer}|{keycloak.add_user(f'matrix-{column}', role)}" for column, role in roles.items()
    }


@pytest.fixture(scope="module")
def tokens(keycloak: Keycloak, people: dict[str, str]) -> dict[str, str]:
    """Return the tokens of the columns, and `control`: like `exp`, but not expired."""
    elsewhere = keycloak.other("matrix-elsewhere")
    elsewhere.add_user("matrix-user", "user")
    mine = keycloak.tokens("matrix-user")
    good, claims = mine["access_token"], part_of(mine["access_token"], 1)
    key = rsa_key()
    kid = keycloak.publish(key)
    past = int(time.time()) - 31  # beyond the leeway for clocks that differ
    found = {
        "aud": keycloak.token("matrix-user", client="test-other"),
        "exp": signed({**claims, "iat": past - 300, "exp": past}, key, kid=kid),
        "iss": elsewhere.token("matrix-user"),
        "none": unsigned(good, "none"),
        "hs256": with_public_key(good, keycloak.public_key(part_of(good, 0)["kid"])),
        "id": mine["id_token"],
        **{column: keycloak.token(f"matrix-{column}") for column in people},
        "control": signed({**claims, "exp": int(time.time()) + 3600}, key, kid=kid),
    }
    elsewhere.remove()
    return found


@pytest.fixture(scope="module")
def state(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("matrix")
    (folder / "sample").symlink_to(sample / "sample")
    return folder


@pytest.fixture(scope="module")
def town(
    keycloak: Keycloak,
    people: dict[str, str],
    tokens: dict[str, str],
    state: Path,
    postgres: Postgres,
) -> Iterator[Town]:
    """Yield a server with everything configured, and an Airflow that never answers, so orders on it wait."""
    configuration, policy = configure(state)
    with ExitStack() as running:
        database = postgres.migrated()
        place = running.enter_context(closing(PostgresPool(database)))
        keys = ApiKeys(place)
        owner = Identity(people["user"], subject="matrix", roles=frozenset({"user"}), method="token")
        key, text = keys.create(owner, WantedKey("matrix", "order"))
        keys.revoke(key.id)
        url = running.enter_context(
            serving(
                state,
                state / "server.log",
                configuration=str(configuration),
                PYTHONPATH=str(state),
                LANDCAST_AUTH_OPEN="no",
                LANDCAST_AUTH_ISSUER=keycloak.issuer,
                LANDCAST_AUTH_POLICY=str(policy),
                LANDCAST_AUTH_CLIENT_SECRET=keycloak.client("landcast")["secret"],
                LANDCAST_SERVER_PROXIES="127.0.0.1",
                LANDCAST_JOBS_WAIT="1",
                LANDCAST_DATABASE_URL=database,
                LANDCAST_AIRFLOW_URL=f"http://127.0.0.1:{free_port()}",
                LANDCAST_AIRFLOW_USERNAME="landcast",
                LANDCAST_AIRFLOW_PASSWORD="matrix",  # noqa: S106  of nobody
                LANDCAST_AIRFLOW_KEY="matrix" * 8,
            )
        )
        store = StoredJobs(place, files_days=30)
        headers: dict[str, Mapping[str, str]] = {
            "anon": {},
            "rev": {"X-Api-Key": text},
            **{name: bearer(token) for name, token in tokens.items()},
        }
        result = state / "results" / RESULT_PATH
        result.parent.mkdir(parents=True)
        result.write_bytes(RESULT)
        yield Town(url, headers, keycloak, people, store)


def with_all(town: Town, cells: Iterable[Cell], judge: Callable[..., Any]) -> list[str]:
    """Return the judge's results for the cells, requested by row."""

    said: list[str | None] = []
    with ThreadPoolExecutor(len(COLUMNS)) as threads:
        for _, row in itertools.groupby(cells, lambda cell: (cell.method, cell.written)):
            town.renew()
            said += threads.map(judge, row)
    return [one for one in said if one]


def comparable(answer: urllib3.BaseHTTPResponse, put: Iterable[str]) -> tuple[int, dict[str, str], str]:
    """Return the answer without parts that may differ: the requested ids, the date, the length."""
    text = answer.data.decode("latin-1")
    for word in put:
        text = text.replace(word, "?")
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in ("date", "content-length")}
    return answer.status, headers, text


def test_every_answer_is_that_of_the_table(town: Town) -> None:
    def judge(cell: Cell) -> str | None:
        address, _ = town.fill(cell.written)
        answer = town.ask(cell, address)
        if answer.status == cell.status:
            return None
        return f"{cell.method} {address} as {cell.caller}: {answer.status}, not {cell.status}: {answer.data[:200]!r}"

    wrong = with_all(town, CELLS, judge)
    assert not wrong, f"{len(wrong)} of {len(CELLS)} answers are wrong:\n" + "\n".join(wrong)


def test_hidden_and_missing_resources_have_the_same_answers(town: Town) -> None:
    """Attack: find out what there is by the difference of two answers."""

    def judge(cell: Cell) -> str | None:
        address, put = town.fill(cell.written)
        kind = {
            "collections": "collection_id",
            "stac": "collection_id",
            "processes": "process_id",
            "jobs": "job_id",
            "orders": "job_id",
        }[address.split("/")[1]]
        there = address.split("/")[2]
        nowhere = address.replace(there, NOBODYS[kind], 1)
        one, other = [town.ask(cell, asked) for asked in (address, nowhere)]
        same = comparable(one, (there, *put.values())) == comparable(other, (NOBODYS[kind], *put.values()))
        return None if same else f"{cell.method} {address} as {cell.caller}: {one.data!r} {other.data!r}"

    hidden = [cell for cell in CELLS if cell.status == httpx2.codes.NOT_FOUND and "/auth/" not in cell.path]
    assert len(hidden) > 20
    assert with_all(town, hidden, judge) == []


def test_the_table_has_every_method_of_every_path_of_the_document(town: Town) -> None:
    document = httpx2.get(f"{town.url}/openapi", headers=town.headers["admin"], trust_env=False).json()
    there_are = {path: {method.upper() for method in operations} for path, operations in document["paths"].items()}
    there_are |= {_PLACE.sub(r"{\1}", route.path): {"GET"} for route in ROUTES if not route.include_in_schema}
    written: dict[str, set[str]] = {}
    for cell in CELLS:
        if cell.caller == "admin":
            written.setdefault(cell.path, set()).add(cell.method)
    missing, extra = there_are.keys() - written.keys(), written.keys() - there_are.keys()
    assert not missing, f"access_matrix.txt has no row of {', '.join(sorted(missing))}"
    assert not extra, f"access_matrix.txt has rows of what there is not: {', '.join(sorted(extra))}"
    assert {path for path, methods in written.items() if methods != METHODS} == set()
    for cell in CELLS:
        also = {"OPTIONS", *(["HEAD"] if "GET" in there_are[cell.path] else [])}
        there_is = cell.method in there_are[cell.path] | also
        assert (cell.status in _OF_NO_OPERATION) if not there_is else cell.status != 405, cell


def test_no_cell_of_the_table_is_repeated() -> None:
    counted = Counter((cell.method, cell.written, cell.caller) for cell in CELLS)
    assert [key for key, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("caller", WHY)
def test_bad_credentials_are_refused_with_their_reason(town: Town, caller: str) -> None:
    """A column that is refused for another reason would prove nothing."""
    answer = httpx2.get(f"{town.url}/", headers=town.headers[caller], trust_env=False)
    assert answer.status_code == 401
    assert WHY[caller] in answer.headers["www-authenticate"]


def test_the_expired_token_is_otherwise_valid(town: Town) -> None:
    assert httpx2.get(f"{town.url}/jobs", headers=town.headers["control"], trust_env=False).status_code == 200
