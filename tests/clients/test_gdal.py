"""GDAL with a key or a token, on a server that requires one.

The system's GDAL is Debian's (3.6 or newer); the one in rasterio is 3.12.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tests.clients.conftest import FILE, Guarded, run, run_python

SOURCE = Path(__file__).parents[2] / "sample" / "clcplus_2023_parks.tif"
WINDOW = rasterio.windows.Window(33_656, 45_127, 64, 64)
_READ = """
import sys, rasterio
with rasterio.open(sys.argv[1]) as remote, open(sys.argv[2], "wb") as file:
    file.write(remote.read(1, window=rasterio.windows.Window(33_656, 45_127, 64, 64)).tobytes())
"""
Way = Callable[[Guarded, Path], dict[str, str]]


def header_file(guarded: Guarded, folder: Path) -> dict[str, str]:
    (folder / "headers").write_text(f"X-Api-Key: {guarded.key}\n")
    return {"GDAL_HTTP_HEADER_FILE": str(folder / "headers")}


WAYS: dict[str, Way] = {
    "user and password": lambda guarded, _: {
        "GDAL_HTTP_AUTH": "BASIC",
        "GDAL_HTTP_USERPWD": f"{guarded.key_id}:{guarded.secret}",
    },
    "the whole key as password": lambda guarded, _: {"GDAL_HTTP_USERPWD": f"quinn:{guarded.key}"},
    "header": lambda guarded, _: {"GDAL_HTTP_HEADERS": f"X-Api-Key: {guarded.key}"},
    "header file": header_file,
    "token": lambda guarded, _: {"GDAL_HTTP_HEADERS": f"Authorization: Bearer {guarded.token()}"},
}
CHALLENGED: Way = lambda guarded, _: {**WAYS["user and password"](guarded, _), "GDAL_HTTP_AUTH": "ANY"}  # noqa: E731 -- beside its like
BEARER: Way = lambda guarded, _: {"GDAL_HTTP_AUTH": "BEARER", "GDAL_HTTP_BEARER": guarded.token()}  # noqa: E731 -- beside its like


def expected() -> np.ndarray:
    with rasterio.open(SOURCE) as local:
        pixels: np.ndarray = local.read(1, window=WINDOW)
    assert len(np.unique(pixels)) > 1
    return pixels


@pytest.mark.parametrize("way", [*WAYS.values(), CHALLENGED], ids=[*WAYS, "user and password after the challenge"])
def test_the_file_is_read_in_place(guarded: Guarded, tmp_path: Path, way: Way) -> None:
    window = ["-srcwin", "33656", "45127", "64", "64"]
    address = f"/vsicurl/{guarded.url}{FILE}"
    done = run("gdal_translate", *window, address, str(tmp_path / "x.tif"), **way(guarded, tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    with rasterio.open(tmp_path / "x.tif") as read:
        assert np.array_equal(read.read(1), expected())


@pytest.mark.parametrize("way", [*WAYS.values(), BEARER], ids=[*WAYS, "token by GDAL_HTTP_BEARER"])
def test_a_newer_gdal_reads_it_too(guarded: Guarded, tmp_path: Path, way: Way) -> None:
    settings = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", **way(guarded, tmp_path)}
    done = run_python(_READ, f"/vsicurl/{guarded.url}{FILE}", str(tmp_path / "pixels"), **settings)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pixels").read_bytes() == expected().tobytes()


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_features_are_read(guarded: Guarded, tmp_path: Path, way: Way) -> None:
    done = run("ogrinfo", "-ro", "-q", f"OAPIF:{guarded.url}", "parks", **way(guarded, tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("OGRFeature(parks)") == 9


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_coverage_is_read(guarded: Guarded, tmp_path: Path, way: Way) -> None:
    address = f"OGCAPI:{guarded.url}/collections/clcplus-raster"
    command = ["gdal_translate", "-oo", "API=COVERAGE", "-outsize", "64", "64", address, str(tmp_path / "x.tif")]
    done = run(*command, **way(guarded, tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    with rasterio.open(tmp_path / "x.tif") as read:
        assert len(np.unique(read.read(1))) > 2
        west, south, east, north = read.bounds
    assert (west < 15.6, south < 49.2, east > 23.9, north > 53.9) == (True, True, True, True)


def test_without_a_key_gdal_reports_401_or_404(guarded: Guarded) -> None:
    """A discoverable file is 401, a hidden one 404.

    The coverage's pieces are refused one by one, and GDAL continues without them.
    """
    done = run("gdalinfo", f"/vsicurl/{guarded.url}{FILE}")
    assert (done.returncode, "HTTP response code: 401" in done.stderr) == (1, True)
    done = run("gdalinfo", "-oo", "API=COVERAGE", f"OGCAPI:{guarded.url}/collections/clcplus-raster")
    assert "read-coverage of clcplus-raster needs role user" in done.stderr
    done = run("ogrinfo", "-ro", f"OAPIF:{guarded.url}/collections/parks")
    assert (done.returncode, "there is no collection 'parks'" in done.stderr) == (1, True), done.stderr


def test_with_a_wrong_key_gdal_reports_it(guarded: Guarded) -> None:
    wrong = {"GDAL_HTTP_USERPWD": f"{guarded.key_id}:{guarded.secret[:-9]}"}
    done = run("gdalinfo", f"/vsicurl/{guarded.url}{FILE}", **wrong)
    assert (done.returncode, "HTTP response code: 401" in done.stderr) == (1, True)
    done = run("ogrinfo", "-ro", f"OAPIF:{guarded.url}", **wrong)
    assert (done.returncode, "this is not an API key" in done.stderr) == (1, True), done.stderr
