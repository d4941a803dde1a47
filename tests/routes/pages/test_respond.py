"""Large pages of items are written and sent in pieces, so that memory stays small."""

import asyncio
import copy
import errno
import gzip
import json
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message

from products.vector.geopackage import write_geopackage
from products.vector.layer import Column, Layer

COUNT = 10_000
PATH = "/collections/parks/items"
LARGEST_PIECE = 300_000


@pytest.fixture(scope="module")
def rings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a GeoPackage of 10,000 rings of 24 corners."""
    file = tmp_path_factory.mktemp("rings") / "rings.gpkg"
    layer = Layer("rings", 3035, (Column("name", "TEXT"), Column("size", "INTEGER")), "POLYGON")
    numbers = np.arange(COUNT)
    centres = shapely.points(4_700_000 + 100 * (numbers % 100), 3_000_000 + 100 * (numbers // 100))
    with write_geopackage(file, layer) as writer:
        rows = [(f"no. {number} ✓", number) for number in numbers.tolist()]
        writer.add((numbers + 1).tolist(), shapely.buffer(centres, 40, quad_segs=6), rows)
    return file


@pytest.fixture
def client(make_app: Callable[..., Starlette], configuration: dict[str, Any], rings: Path) -> Iterator[TestClient]:
    """Return a client of a server whose parks are the rings."""
    changed = copy.deepcopy(configuration)
    changed["resources"]["parks"]["providers"][0] |= {"data": str(rings), "id_field": "fid", "title_field": "name"}
    with TestClient(make_app(changed), base_url="http://inside.invalid") as made:
        yield made


def sent(client: TestClient, query: str, *headers: tuple[bytes, bytes]) -> tuple[dict[str, str], list[int], bytes, int]:
    """Return the head of the answer, the sizes of its pieces, its content, and the memory it took.

    The content is written to a file, like by a client with little memory.
    """
    head: dict[str, str] = {}
    sizes: list[int] = []
    asked: list[bool] = []
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "path": PATH, "raw_path": PATH.encode(),
        "root_path": "", "query_string": query.encode(), "headers": [(b"host", b"localhost"), *headers],
        "scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1), "state": {}, "app": client.app,
    }  # fmt: skip
    with tempfile.TemporaryFile() as file:

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                head.update({name.decode().lower(): value.decode() for name, value in message["headers"]})
                head["status"] = str(message["status"])
            else:
                sizes.append(file.write(message["body"]))

        async def receive() -> Message:
            await asyncio.sleep(60 if asked else 0)
            asked.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}

        async def ask() -> None:
            await client.app(scope, receive, send)

        assert client.portal is not None
        tracemalloc.start()
        try:
            client.portal.call(ask)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        file.seek(0)
        return head, sizes, file.read(), peak


def test_a_page_of_10000_items_is_one_document_and_takes_no_more_memory_than_one_of_2000(client: TestClient) -> None:
    sent(client, "limit=10")
    _, _, small, before = sent(client, "limit=2000")
    head, sizes, large, peak = sent(client, "limit=10000")
    assert head["status"] == "200"
    assert len(large) > 4.9 * len(small)
    assert peak < 1.25 * before
    assert peak < len(large)
    assert max(sizes) < LARGEST_PIECE
    answer = client.head(PATH, params={"limit": COUNT}, headers={"Accept-Encoding": "identity"})
    assert answer.content == b""
    assert answer.headers["content-length"] == head["content-length"] == str(len(large))
    _check(json.loads(large), client)


def _check(document: Any, client: TestClient) -> None:
    """Compare the page with its parts, requested one by one."""
    assert (document["numberMatched"], document["numberReturned"]) == (COUNT, COUNT)
    assert [feature["id"] for feature in document["features"]] == list(range(1, COUNT + 1))
    feature = document["features"][4_321]
    assert feature["properties"] == {"name": "no. 4321 ✓", "size": 4321}
    assert shapely.from_geojson(json.dumps(feature["geometry"])).is_valid
    assert client.get(f"{PATH}/4322").json()["geometry"] == feature["geometry"]
    assert client.get(PATH, params={"limit": 1, "offset": 4_321}).json()["features"] == [feature]
    assert "next" not in {link["rel"] for link in document["links"]}


def test_a_compressed_page_is_sent_in_pieces_too(client: TestClient) -> None:
    sent(client, "limit=10")
    *_, before = sent(client, "limit=2000", (b"accept-encoding", b"gzip"))
    head, sizes, body, peak = sent(client, "limit=10000", (b"accept-encoding", b"gzip"))
    assert head["content-encoding"] == "gzip"
    assert "content-length" not in head
    assert len(json.loads(gzip.decompress(body))["features"]) == COUNT
    assert max(sizes) < LARGEST_PIECE
    assert peak < 1.25 * before


def test_a_full_disk_is_reported_before_the_answer_starts(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    answer = client.get(PATH, params={"limit": 10_000})
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert "space" in answer.json()["detail"]
    assert "retry-after" in answer.headers
    assert client.get(PATH, params={"limit": 10}).status_code == HTTPStatus.OK
