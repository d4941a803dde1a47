"""National and European products from start to downloaded file: a real server, a real worker, a made raster."""

import io
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestration.store.jobs import StoredJobs
from tests.server.served import serving

ROOT = Path(__file__).parents[3]
EUROPE = "CLMS_CLCplus_RASTER_2023_010m_eu_03035_V1_1.tif"


@dataclass(frozen=True, slots=True)
class Shop:
    """A running server and worker on a copy of the sample's raster, which the test can change."""

    client: httpx2.Client
    raster: Path
    state: Path

    def order(self, process: str, inputs: dict[str, Any], **headers: str) -> httpx2.Response:
        return self.client.post(f"/processes/{process}/execution", json={"inputs": inputs}, headers=headers)

    def european(self, **headers: str) -> httpx2.Response:
        return self.order("european-product", {"product": "Raster"}, **headers)

    def job(self, answer: httpx2.Response) -> dict[str, Any]:
        """Return the job that an answer names."""
        address = answer.headers.get("location") or answer.links["monitor"]["url"]
        job: dict[str, Any] = self.client.get(address).raise_for_status().json()
        return job

    def runs(self, answer: httpx2.Response) -> int:
        """Return how often the job was started."""
        with closing(StoredJobs(self.state / "orders.sqlite")) as store:
            job = store.get(self.job(answer)["jobID"])
        assert job is not None
        return job.attempt


@pytest.fixture(scope="module")
def shop(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    raster = folder / "europe.tif"
    shutil.copy(ROOT / "sample" / "clcplus_2023_parks.tif", raster)
    config = folder / "config.yml"
    config.write_text(_configuration(raster, sample))
    state, arguments = folder / "state", ("--config", str(config))
    with serving(state, folder / "server.log", *arguments, LANDCAST_JOBS_PARALLEL="2") as client:
        yield Shop(client, raster, state)


def _configuration(raster: Path, sample: Path) -> str:
    text = (ROOT / "pygeoapi-config.yml").read_text()
    text = text.replace("sample/clcplus_2023_parks.tif", str(raster)).replace("${LANDCAST_STATE_DIR:-var}", str(sample))
    return text.replace("data: products/", f"data: {ROOT}/products/")


def test_europe_is_the_source_itself_then_answered_at_once(shop: Shop) -> None:
    first = shop.european()
    assert first.status_code == 200, first.text
    assert first.content == shop.raster.read_bytes()
    assert first.headers["content-disposition"] == f'attachment; filename="{EUROPE}"'
    assert first.headers["content-type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
    assert shop.runs(first) == 1
    [file] = (shop.state / "results" / "house").glob(f"*/{EUROPE}")
    assert (file.stat().st_ino, file.is_symlink()) == (shop.raster.stat().st_ino, False)

    second = shop.european()
    assert (second.status_code, second.headers["etag"]) == (200, first.headers["etag"])
    assert second.content == first.content
    assert shop.runs(second) == 0, "what is there already needs no run"
    ordered = shop.european(Prefer="respond-async")
    assert (ordered.status_code, ordered.json()["status"], ordered.json()["progress"]) == (201, "successful", 100)
    link = shop.client.get(f"{ordered.headers['location']}/results", params={"f": "json"}).json()["result"]
    assert link["title"] == EUROPE
    part = shop.client.get(link["href"], headers={"Range": "bytes=0-3", "If-Range": first.headers["etag"]})
    assert (part.status_code, part.content) == (206, first.content[:4])


def test_a_removed_job_keeps_the_file_for_the_next(shop: Shop) -> None:
    content = shop.european().content
    job = shop.job(shop.european())
    assert shop.client.delete(f"/jobs/{job['jobID']}").status_code == 200
    time.sleep(0.5)
    assert shop.european().content == content


def test_a_changed_source_is_made_again_and_the_old_result_stays(shop: Shop) -> None:
    before = shop.european()
    address = f"/jobs/{shop.job(before)['jobID']}/results"
    draft = shop.raster.with_suffix(".draft")
    draft.write_bytes(shop.raster.read_bytes() + b"\0" * 16)
    draft.replace(shop.raster)
    after = shop.european()
    assert shop.runs(after) == 1
    assert after.content == shop.raster.read_bytes() != before.content
    assert shop.client.get(address).content == before.content
    os.utime(shop.raster)
    assert shop.client.get(f"/jobs/{shop.job(after)['jobID']}/results").status_code == 410, "changed where it lies"
    assert shop.european().status_code == 200


def test_two_concurrent_orders_are_made_once(shop: Shop) -> None:
    os.utime(shop.raster)
    earlier = set((shop.state / "results" / "house").iterdir())
    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(lambda _: shop.european(), range(2))
    assert one.content == two.content == shop.raster.read_bytes()
    assert len(set((shop.state / "results" / "house").iterdir()) - earlier) == 1


def test_a_nation_is_made_on_the_first_order_and_answered_at_once_from_then_on(shop: Shop) -> None:
    for kind, name in (
        ("Raster", "CLMS_CLCplus_RASTER_2023_010m_cz_05514_V1_1"),
        ("Vector", "CLMS_CLCplus_VECTOR_2023_CZ_05514_V1_1"),
    ):
        first = shop.order("national-product", {"product": kind, "nation": "Czech Republic"})
        assert first.status_code == 200, first.text
        assert first.headers["content-disposition"] == f'attachment; filename="{name}.zip"'
        with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
            assert archive.testzip() is None
            assert {member.partition(".")[0] for member in archive.namelist()} == {name}
        second = shop.order("national-product", {"product": kind, "nation": "czech republic"})
        assert (shop.runs(first), shop.runs(second)) == (1, 0)
        assert second.content == first.content
        [folder] = [path.parent for path in (shop.state / "results" / "house").glob(f"*/{name}.zip")]
        assert {path.name for path in folder.iterdir()} == {".lock", ".turn", f"{name}.zip", f"{name}.zip.json"}


def test_two_concurrent_orders_of_a_nation_are_made_once(shop: Shop) -> None:
    inputs = {"product": "Raster", "nation": "SLOVAKIA"}
    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(lambda _: shop.order("national-product", inputs), range(2))
    assert (one.status_code, two.status_code) == (200, 200)
    assert one.content == two.content
    assert len(list((shop.state / "results" / "house").glob("*/*_sk_05514_*.zip"))) == 1


_WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("european-product", {}, "product", "is missing; allowed"),
    ("european-product", {"product": "Vector"}, "product", '"Vector"; allowed: "Raster"'),
    ("european-product", {"product": None}, "product", 'null; allowed: "Raster"'),
    ("european-product", {"product": "Raster", "year": 1900}, "year", "allowed: 2023"),
    ("european-product", {"product": "Raster", "year": "2023"}, "year", "allowed: a whole number"),
    ("european-product", {"product": "Raster", "series": "x"}, "series", "allowed: clcplus"),
    ("european-product", {"product": "Raster", "nation": "Poland"}, "nation", "unknown; allowed: product"),
    ("european-product", {"product": "Raster", "project": 1}, "project", "allowed: a string"),
    ("european-product", {"product": "Raster", "test": "yes"}, "test", "allowed: true or false"),
    ("european-product", {"product": "Raster", "send_mail": 1}, "send_mail", "allowed: true or false"),
    ("national-product", {"nation": "Poland"}, "product", "is missing; allowed"),
    ("national-product", {"product": "raster", "nation": "Poland"}, "product", 'allowed: "Raster", "Vector"'),
    ("national-product", {"product": "Raster"}, "nation", "is missing; allowed"),
    ("national-product", {"product": "Raster", "nation": ""}, "nation", "allowed: a string"),
    ("national-product", {"product": "Raster", "nation": 1}, "nation", "allowed: a string"),
    ("national-product", {"product": "Raster", "nation": ["Poland"]}, "nation", "allowed: a string"),
    ("national-product", {"product": "Raster", "nation": "Atlantis"}, "nation", "allowed: Albania, Austria"),
    ("national-product", {"product": "Raster", "nation": "PL_2180"}, "nation", "allowed: Albania, Austria"),
    ("national-product", {"product": "Raster", "nation": "france"}, "nation", "in France; allowed: a nation that has"),
    ("national-product", {"product": "Vector", "nation": "Turkey"}, "nation", "(Vector) in Turkey; allowed"),
    ("national-product", {"product": "Raster", "nation": "Poland", "year": 1}, "year", "allowed: 2023"),
    ("national-product", {"product": "Raster", "nation": "Poland", "aoi": 1}, "aoi", "unknown; allowed: product"),
    ("national-product", {"product": "Raster", "nation": "Poland", "test": 1}, "test", "allowed: true or false"),
]


@pytest.mark.parametrize(("process", "inputs", "name", "expected"), _WRONG)
def test_an_invalid_input_is_400_by_name(
    shop: Shop, process: str, inputs: dict[str, Any], name: str, expected: str
) -> None:
    answer = shop.order(process, inputs)
    assert (answer.status_code, answer.json()["input"]) == (400, name), answer.text
    assert expected in answer.json()["detail"]


def test_a_missing_source_is_503_and_stores_no_order(shop: Shop) -> None:
    count = shop.client.get("/jobs").json()["numberMatched"]
    hidden = shop.raster.rename(shop.raster.with_suffix(".hidden"))
    try:
        answer = shop.european()
    finally:
        hidden.rename(shop.raster)
    assert answer.status_code == 503, answer.text
    assert shop.client.get("/jobs").json()["numberMatched"] == count
