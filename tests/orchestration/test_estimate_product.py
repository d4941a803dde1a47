"""Estimates compared with deliveries, and their use of past orders, of which they reveal nothing else."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from orchestration.ending import read_ending
from orchestration.estimate import amounts
from orchestration.estimate.amounts import Amount, PastAmounts, amount_of
from orchestration.estimate.cost import RULES
from orchestration.job import QUOTAS, Order, Output, ResultFile
from orchestration.runners import Done
from orchestration.store.jobs import StoredJobs
from orchestration.store.past import PastOrder, past_orders
from orchestration.work import REFUSED, JobContext
from orchestration.work.attempt import attempt
from products.area import read_area
from products.catalogue import Catalogue, catalogue_of, read_configuration
from products.progress import unheard
from products.raster.extract import extract_raster
from products.vector.census import PolygonCounts
from tests.registry import OURS, work_of

ROOT = Path(__file__).parents[2]
PARK = {"bbox": [23.80, 52.68, 23.90, 52.75]}
LARGE = {"bbox": [19.4, 49.3, 20.8, 50.2]}
WHOLE = {"bbox": [15.40, 49.30, 24.00, 53.20]}
LONDON = "POLYGON((-0.2 51.4, 0.1 51.4, 0.1 51.6, -0.2 51.6, -0.2 51.4))"
EARTH = {"bbox": [-180, -90, 180, 90]}

Estimate = Callable[..., dict[str, Any]]


@pytest.fixture
def estimate(tmp_path: Path, sample: Path, monkeypatch: pytest.MonkeyPatch, state_dir: Path) -> Estimate:
    """Return the result of the work for these inputs."""
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(sample))
    monkeypatch.setattr("orchestration.work.estimate_product._COUNTING", 60)

    def ask(aoi: Any, product: str = "Raster", **inputs: Any) -> dict[str, Any]:
        order = Order("estimate-product", {"product": product, "aoi": aoi, **inputs}, "me")
        folder = tmp_path / "results" / "job" / "1" / "1"
        folder.mkdir(parents=True, exist_ok=True)
        config = ROOT / "pygeoapi-config.yml"
        orders = state_dir / "orders.sqlite"
        context = JobContext("job", order, tmp_path / "results", folder, config, str, unheard, orders, processes=OURS)  # type: ignore[arg-type]
        attempt(lambda: work_of("estimate-product"), context)
        ending = read_ending(folder)
        assert isinstance(ending, Done), ending
        (output,) = ending.manifest
        assert (output.id, output.media_type) == ("result", "application/json")
        said: dict[str, Any] = output.value
        return said

    return ask


@pytest.fixture
def catalogue(sample: Path, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(sample))
    return catalogue_of(read_configuration(ROOT / "pygeoapi-config.yml"))


def order(store: StoredJobs, size: int, aoi: Any = PARK, product: str = "Raster") -> None:
    """Store a finished order of another owner, with a file of this size."""
    asked = Order("extract-product", {"product": product, "aoi": aoi}, "https://issuer.example|somebody")
    job = store.begin(store.add(asked)[0].id)
    assert job is not None
    file = ResultFile("Raster.zip", "job/1/1/Raster.zip", "application/zip", size, "ab" * 32)
    assert store.publish(job.id, 1, (Output("result", None, "application/zip", file),))


def by_class(counts: Mapping[str, Any]) -> dict[int, int]:
    return {row["value"]: row["count"] for row in counts["classes"]}


@pytest.mark.parametrize("aoi", [PARK, LARGE])
def test_exact_pixel_counts_match_the_delivery(
    estimate: Estimate, catalogue: Catalogue, tmp_path: Path, aoi: Any
) -> None:
    area = read_area(aoi)
    said = estimate(aoi)
    delivered = extract_raster(catalogue.default.raster, area, tmp_path, name="x", report=unheard)[0]
    with rasterio.open(delivered) as raster:
        values, counts = np.unique(raster.read(1), return_counts=True)
    pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
    pixels.pop(255, None)
    assert said["pixels"]["exact"] is True
    assert by_class(said["pixels"]) == pixels
    assert said["pixels"]["total"] == sum(pixels.values()) > 100_000
    assert said["area"]["km2"] == pytest.approx(area.km2, abs=0.001)
    assert said["area"]["bbox"] == pytest.approx(aoi["bbox"])
    assert {row["name"] for row in said["pixels"]["classes"]} >= {"Sealed", "Water"}


def test_estimated_pixel_counts_are_within_their_margin(catalogue: Catalogue) -> None:
    exact = amount_of(catalogue.default, "Raster", read_area(WHOLE))
    coarse = amounts.Effort(pixels=2_000_000, checked=64, nodes=200)
    rough = amount_of(catalogue.default, "Raster", read_area(WHOLE), effort=coarse)
    assert exact is not None
    assert rough is not None
    assert exact.margin == 0 < rough.margin
    assert (exact.exact, rough.exact) == (True, False)
    assert rough.margins is not None
    assert abs(rough.total - exact.total) <= rough.margin
    assert "times as wide" in rough.how


def test_polygons_of_a_large_area_are_estimated(estimate: Estimate) -> None:
    said = estimate(LARGE, "Vector")["polygons"]
    assert said["exact"] is False
    assert 0 < said["margin"] < said["total"] / 10
    assert said["total"] == pytest.approx(57_364, abs=1.5 * said["margin"])
    small = estimate(PARK, "Vector")["polygons"]
    assert (small["exact"], small["margin"], sum(by_class(small).values())) == (True, 0, small["total"])


def test_an_empty_sample_is_not_called_exact(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amounts, "count_polygons", lambda *_, **__: PolygonCounts({}, margin=1.0))
    found = amount_of(catalogue.default, "Vector", read_area(PARK))
    assert found is not None
    assert (found.total, found.margin, found.exact) == (0, 0, False)


def test_without_past_orders_the_range_is_wide(estimate: Estimate) -> None:
    for product in ("Raster", "Vector"):
        said = estimate(PARK, product)
        assert said["accepted"] is True
        assert "reason" not in said
        assert said["basis"]["orders"] == 0
        assert "fewer than 5 past orders" in said["basis"]["text"]
        for cost, unit in (("size", "byte"), ("time", "second")):
            assert said[cost]["unit"] == unit
            assert 4 < said[cost]["high"] / said[cost]["low"] < 20
        assert "waiting" not in said, "there is no database"


@pytest.mark.parametrize("product", ["Raster", "Vector"])
def test_past_orders_of_the_same_kind_are_the_basis(
    estimate: Estimate, make_store: Callable[..., StoredJobs], product: str
) -> None:
    store, alone = make_store(), estimate(PARK, product)
    expected = alone["size"]["expected"]
    for share in (0.5, 2, 2, 2, 2, 8):
        order(store, round(expected * share), product=product)
    said = estimate(PARK, product)
    assert said["basis"]["orders"] == 6
    assert said["basis"]["text"].startswith("6 past orders")
    assert said["size"]["expected"] == pytest.approx(2 * expected, rel=0.01)
    assert said["size"]["low"] < expected < said["size"]["expected"] < said["size"]["high"]
    assert said["time"]["high"] < alone["time"]["low"], "they took no time at all"
    other = estimate(PARK, "Vector" if product == "Raster" else "Raster")
    assert other["basis"]["orders"] == 0


def test_the_cost_of_orders_of_another_size_is_scaled(
    estimate: Estimate, make_store: Callable[..., StoredJobs], catalogue: Catalogue
) -> None:
    amount = amount_of(catalogue.default, "Raster", read_area(PARK))
    assert amount is not None
    for _ in range(5):
        order(make_store(), round(RULES["Raster"].size.at(amount.total)))
    said = estimate(LARGE)
    assert said["size"]["expected"] == pytest.approx(RULES["Raster"].size.at(said["pixels"]["total"]), rel=0.01)
    far = estimate(WHOLE)
    assert "so the range is wider" in far["basis"]["text"]
    assert "wider" not in said["basis"]["text"]


def test_four_past_orders_do_not_change_the_estimate(
    estimate: Estimate, make_store: Callable[..., StoredJobs], tmp_path: Path
) -> None:
    """Attack: infer from an estimate the orders of few others."""
    store = make_store()
    before = estimate(PARK)
    for _ in range(4):
        order(store, 123_456_789)
    assert estimate(PARK) == before
    assert not (tmp_path / "amounts.json").exists()
    order(store, 123_456_789)
    assert estimate(PARK) != before


def test_nothing_but_numbers_of_other_orders_is_revealed(
    estimate: Estimate, make_store: Callable[..., StoredJobs], tmp_path: Path, state_dir: Path
) -> None:
    """Attack: find another caller's place, name or order in an estimate or in its files."""
    store = make_store()
    for _ in range(6):
        order(store, 123_456_789, LARGE)
    said = json.dumps(estimate(PARK))
    kept = (tmp_path / "amounts.json").read_text()
    for secret in ("somebody", "19.4", "49.3", "20.8", "50.2", "10099", "123456789"):
        assert secret not in said
        assert secret not in kept
    for past in past_orders(state_dir / "orders.sqlite", process="extract-product", kind="Raster", series="clcplus"):
        assert past.id not in said


def test_waiting_orders_are_counted_without_quick_processes(
    estimate: Estimate, make_store: Callable[..., StoredJobs]
) -> None:
    store = make_store()
    for process in ("extract-product", "national-product", "echo", "estimate-product"):
        store.add(Order(process, {}, "somebody"))
    assert estimate(PARK)["waiting"] == {"orders": 2}


def test_without_the_database_the_estimate_has_no_past_orders(estimate: Estimate, state_dir: Path) -> None:
    (state_dir / "orders.sqlite").write_bytes(b"no database" * 100)
    said = estimate(PARK)
    assert said["basis"]["orders"] == 0
    assert "waiting" not in said


@pytest.mark.parametrize("product", ["Raster", "Vector"])
def test_a_refused_estimate_has_the_reason_and_all_known_figures(estimate: Estimate, product: str) -> None:
    said = estimate(LONDON, product, **{REFUSED: "there is nothing"})
    assert (said["accepted"], said["reason"]) == (False, "there is nothing")
    assert said["area"]["km2"] > 100
    assert said["pixels" if product == "Raster" else "polygons"]["total"] == 0
    assert not {"size", "time", "basis"} & said.keys()
    large = estimate(EARTH, product, **{REFUSED: "too large"})
    assert large["area"]["km2"] == pytest.approx(510_065_622, rel=1e-6)
    assert large["limit"] == {"km2": 5_000_000}
    assert large["size"]["low"] > 0
    nowhere = estimate({"bbox": [-172, -54, -168, -50]}, product, **{REFUSED: "there is nothing"})
    assert nowhere["area"]["km2"] > 100_000


def test_an_estimate_has_what_is_left_of_the_quotas(estimate: Estimate) -> None:
    left = [{"km2-a-day": {"allowed": 10.0, "used": 4.5, "remaining": 5.5}, "until": "2026-12-01T00:00:00Z"}]
    assert estimate(PARK, **{QUOTAS: left})["quotas"] == left
    assert "quotas" not in estimate(PARK)


def _past(count: int) -> list[PastOrder]:
    inputs = {"product": "Raster", "aoi": PARK, "series": "clcplus", "year": 2023}
    return [PastOrder(f"job{number}", inputs, 1, 1.0) for number in range(count)]


def test_a_value_without_a_class_is_named_as_such(estimate: Estimate, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Amount({2: 5, 77: 3}, "every pixel was counted")
    monkeypatch.setattr("orchestration.work.estimate_product.amount_of", lambda *_: found)
    names = [row["name"] for row in estimate(PARK)["pixels"]["classes"]]
    assert names == ["Woody needle leaved trees", "Value 77, no class"]


def test_past_orders_are_counted_once(tmp_path: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    count = amounts.amount_of

    def watched(*given: Any, **more: Any) -> Any:
        counted.append(given)
        return count(*given, **more)

    monkeypatch.setattr(amounts, "amount_of", watched)
    path = tmp_path / "amounts.json"
    first = PastAmounts(path, catalogue).of(_past(2), seconds=60)
    assert PastAmounts(path, catalogue).of(_past(3), seconds=60) == {**first, "job2": first["job0"]}
    assert len(counted) == 3
    assert first["job0"] > 100_000
    path.write_text("[")
    assert PastAmounts(path, catalogue).of(_past(2), seconds=60) == first


def test_counting_stops_in_time_and_continues_with_the_next_estimate(tmp_path: Path, catalogue: Catalogue) -> None:
    amounts_ = PastAmounts(tmp_path / "amounts.json", catalogue)
    assert amounts_.of(_past(3), seconds=0) == {}
    assert len(amounts_.of(_past(50), seconds=1e-9)) <= 1
    assert len(amounts_.of(_past(2), seconds=60)) == 2


@pytest.mark.parametrize(
    "inputs",
    [
        {"product": "Raster", "aoi": PARK, "series": "clcplus", "year": 1999},
        {"product": "Raster", "aoi": PARK, "series": "snow"},
        {"product": "Raster", "aoi": LONDON},
        {"product": "Raster", "aoi": "POLYGON"},
    ],
)
def test_an_uncountable_past_order_is_left_out(tmp_path: Path, catalogue: Catalogue, inputs: Any) -> None:
    assert PastAmounts(tmp_path / "a.json", catalogue).of([PastOrder("job", inputs, 1, 1.0)], seconds=60) == {}
    assert json.loads((tmp_path / "a.json").read_text()) == {"job": 0.0}, "nor tried again"


def test_a_read_only_folder_only_prevents_caching(tmp_path: Path, catalogue: Catalogue) -> None:
    (tmp_path / "file").write_text("")
    assert len(PastAmounts(tmp_path / "file" / "amounts.json", catalogue).of(_past(1), seconds=60)) == 1
