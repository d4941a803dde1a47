"""An order of the real product for a real park, executed by the worker of `landcast work`."""

import hashlib
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.job import Job, Order, Status, status_info
from orchestration.runners.embedded import WORK
from orchestration.store.jobs import StoredJobs

_ROOT = Path(__file__).parents[2]


def _smallest_park() -> object:
    parks = json.loads((_ROOT / "sample" / "parks.geojson").read_text())["features"]
    return min((park["geometry"] for park in parks), key=lambda geometry: len(json.dumps(geometry)))


@pytest.mark.parametrize(("kind", "suffix"), [("Raster", ".tif"), ("Vector", ".gpkg")])
def test_an_order_of_a_park_is_delivered(  # noqa: PLR0917  fixtures
    make_store: Callable[..., StoredJobs],
    start_worker: Callable[..., object],
    finished: Callable[..., Job],
    state_dir: Path,
    sample: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    suffix: str,
) -> None:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(sample))
    test = kind == "Vector"
    inputs = {"product": kind, "aoi": {"value": _smallest_park()}, "project": "x", "test": test, "send_mail": False}
    job, _ = make_store().add(Order("extract-product", inputs, "local"))
    start_worker(work=list(WORK))
    end = finished(job, seconds=60)
    assert end.status is Status.SUCCESSFUL, end.message
    (output,) = end.manifest
    assert (output.id, output.media_type) == ("result", "application/zip")
    assert output.file is not None
    assert output.file.name == f"{kind}_{job.id}.zip"
    path = state_dir / "results" / output.file.path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == output.file.sha256
    with zipfile.ZipFile(path) as package:
        names = package.namelist()
        assert ("(test order)" in package.read(f"{kind}_{job.id}.xml").decode()) is test
    assert status_info(end, "")["message"].startswith("Test order: ") is test
    assert f"{kind}_{job.id}{suffix}" in names
    assert {name.split(".", 1)[0] for name in names} == {f"{kind}_{job.id}"}
    assert [entry for entry in (state_dir / "results" / job.id).rglob("*") if entry.is_file()] == [path]


@pytest.mark.parametrize(
    ("process", "inputs"),
    [
        ("extract-product", {"product": "Raster", "aoi": {"bbox": [15, 49, 24.2, 54.5]}}),
        ("extract-product", {"product": "Vector", "aoi": {"bbox": [19.6, 49, 21, 50.5]}}),
        ("area-statistics", {"collection": "parks", "bbox": {"bbox": [15, 49, 24.2, 54.5]}, "series": "clcplus"}),
    ],
    ids=["raster", "vector", "statistics"],
)
def test_progress_never_decreases(  # noqa: PLR0917  fixtures
    make_store: Callable[..., StoredJobs],
    start_worker: Callable[..., object],
    finished: Callable[..., Job],
    sample: Path,
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    process: str,
    inputs: dict[str, object],
) -> None:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(sample))
    store = make_store()
    start_worker(work=list(WORK))
    first, _ = store.add(Order("echo", {}, "local"))
    finished(first)  # what children are forked from has begun
    job, _ = store.add(Order(process, inputs, "local"))
    seen: list[tuple[float, int, str]] = []

    def is_over() -> bool:
        now = store.get(job.id)
        assert now is not None
        if now.status is Status.RUNNING:
            seen.append((time.monotonic(), now.progress, now.message))
        return now.finished is not None

    until(is_over, seconds=120)
    percents = [percent for _, percent, _ in seen]
    assert percents == sorted(percents)
    expected = next(moment for moment, _, message in seen if message)
    begun, over = seen[0][0], seen[-1][0]
    assert expected - begun < max(4, 0.5 * (over - begun)), "it began to tell soon"
    stood = max(percents.count(percent) for percent in percents) / len(percents)
    assert stood < 0.7 or over - begun < 5, "it moved, where it took longer than to look twice"


def test_an_area_without_land_cover_fails_with_the_reason(
    make_store: Callable[..., StoredJobs],
    start_worker: Callable[..., object],
    finished: Callable[..., Job],
) -> None:
    sea = "POLYGON((4 56, 4.1 56, 4.1 56.1, 4 56.1, 4 56))"
    job, _ = make_store().add(Order("extract-product", {"product": "Raster", "aoi": sea}, "local"))
    start_worker(work=list(WORK))
    end = finished(job)
    assert end.status is Status.FAILED
    assert "operator" not in end.message, "a reason of the product, not of the program"
