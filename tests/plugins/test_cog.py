from pathlib import Path

import pytest
import rasterio
from pygeoapi.api.collection import gen_collection
from pygeoapi.plugin import load_plugin
from pygeoapi.provider.base import ProviderConnectionError

from plugins.cog import CogProvider
from plugins.crs import CRS84, Box, crs_of
from products.classes import CLASSES
from products.errors import RequestTooLarge

SOURCE = Path(__file__).parents[2] / "sample" / "clcplus_2023_parks.tif"


def provider(path: Path = SOURCE) -> CogProvider:
    made = load_plugin("provider", {"type": "coverage", "name": "plugins.cog.CogProvider", "data": str(path)})
    assert isinstance(made, CogProvider)
    return made


def test_pygeoapi_calls_this_function() -> None:
    """`_coverage_properties` is for it alone."""
    assert "_coverage_properties" in gen_collection.__code__.co_names


def test_it_knows_its_grid() -> None:
    cog = provider()
    with rasterio.open(SOURCE) as source:
        assert (cog.grid.width, cog.grid.height) == (source.width, source.height)
        assert cog.whole.bbox == tuple(source.bounds)
    assert cog.native == crs_of(3035)
    assert cog.storage_crs_uri == "http://www.opengis.net/def/crs/EPSG/0/3035"
    assert cog.crs_list[0] == cog.storage_crs_uri
    assert CRS84.uri in cog.crs_list


def test_its_field_has_codes_and_names() -> None:
    classes = provider().fields["class"]["oneOf"]
    assert [(entry["const"], entry["title"]) for entry in classes] == [(entry.value, entry.name) for entry in CLASSES]


@pytest.mark.parametrize("content", [None, b"", b"II*\0 not quite a GeoTIFF"])
def test_a_broken_file_is_noticed_when_it_is_used(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.tif"
    if content is not None:
        path.write_bytes(content)
    cog = provider(path)
    with pytest.raises(ProviderConnectionError):
        cog.get_fields()
    with pytest.raises(ProviderConnectionError):
        cog.read(Box((0, 0, 1, 1), CRS84), (1, 1))


def test_a_size_is_about_the_sources_own() -> None:
    cog = provider()
    assert cog.size_of(cog.whole) == (cog.grid.width, cog.grid.height)
    width, height = cog.size_of(cog.whole.to(CRS84))
    assert width == pytest.approx(65_000, rel=0.05)
    assert height == pytest.approx(54_000, rel=0.05)
    mercator = cog.size_of(cog.whole.to(crs_of(3857)))
    assert mercator == pytest.approx((width, height), rel=0.02)


def test_a_box_snaps_outwards_to_whole_pixels() -> None:
    cog = provider()
    assert cog.snap(Box((5_006_003, 2_986_001, 5_006_017, 2_986_008), cog.native)).bbox == (
        5_006_000,
        2_986_000,
        5_006_020,
        2_986_010,
    )
    exact = Box((5_006_000, 2_986_000, 5_006_010, 2_986_010), cog.native)
    assert cog.snap(exact) == exact


def test_more_than_the_bound_is_never_read() -> None:
    cog = provider()
    with pytest.raises(RequestTooLarge):
        cog.read(cog.whole, (cog.grid.width, cog.grid.height))
