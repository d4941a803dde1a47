"""Class rasters as other makers write them: each function makes one kind of file from the same pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rio_cogeo.cogeo import cog_translate
from rio_cogeo.profiles import cog_profiles

Values = NDArray[Any]

PLACES = {
    3035: (10.0, 4_900_000.0, 3_100_000.0),
    4326: (1 / 12_000, 19.5, 50.1),
    3857: (10.0, 2_170_000.0, 6_400_000.0),
    2180: (10.0, 500_000.0, 600_000.0),
    25832: (20.0, 500_000.0, 5_500_000.0),
    2263: (30.0, 900_000.0, 250_000.0),
    4258: (8.333333333333425e-05, 10.0, 50.0),
    3832: (1_000.0, 2_800_000.0, 1_000_000.0),
}
"""By EPSG code: side of a pixel, west, north. Metres, degrees, feet; northing first and easting first; one at 180 E."""


_COG = {"driver": "COG", "blocksize": 512, "overview_resampling": "mode", "nodata": 255, "compress": "deflate"}


def place_of(epsg: int) -> Affine:
    """Return the position of the rasters of a CRS."""
    side, west, north = PLACES[epsg]
    return Affine(side, 0, west, 0, -side, north)


def classes(height: int, width: int, *, seed: int = 1) -> NDArray[np.uint8]:
    """Return pixels of the classes 1 to 11 in patches of 4 x 4."""
    patches = np.random.default_rng(seed).integers(1, 12, (-(-height // 4), -(-width // 4)), np.uint8)
    return np.kron(patches, np.ones((4, 4), np.uint8))[:height, :width]


def plain(path: Path, values: Values, epsg: int | None = 3035, **profile: Any) -> Path:
    """Write a striped GeoTIFF without overviews; each keyword is an option of GDAL, `mask` a mask inside the file."""
    height, width = values.shape
    mask, scales = profile.pop("mask", None), profile.pop("scaled", None)
    given = {"driver": "GTiff", "dtype": values.dtype.name, "crs": epsg and f"EPSG:{epsg}", "count": 1, **profile}
    given.setdefault("transform", place_of(epsg if epsg in PLACES else 3035))
    inside = {"GDAL_TIFF_INTERNAL_MASK": "YES"}
    with (
        rasterio.Env(**inside),
        rasterio.open(path, "w", width=width, height=height, **given) as target,
    ):
        for band in range(1, given["count"] + 1):
            target.write(values, band)
        if mask is not None:
            target.write_mask(mask)
        if scales is not None:
            target.scales, target.offsets = [scales[0]], [scales[1]]
    return path


def masked_beside(path: Path, values: Values, mask: Values) -> Path:
    """Write a GeoTIFF with its mask in a separate file, `.msk`."""
    plain(path, values)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="NO"), rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    return path


def with_alpha(path: Path, values: Values, alpha: Values) -> Path:
    """Write a GeoTIFF of two bands, the second of which is a mask."""
    height, width = values.shape
    given = {"driver": "GTiff", "crs": "EPSG:3035", "dtype": "uint8", "count": 2, "alpha": "UNSPECIFIED"}
    with rasterio.open(path, "w", width=width, height=height, transform=place_of(3035), **given) as target:
        target.colorinterp = [ColorInterp.gray, ColorInterp.alpha]  # first: what is written may fix the header
        target.write(values, 1)
        target.write(alpha, 2)
    return path


def gdal_cog(path: Path, values: Values, epsg: int = 3035, **options: Any) -> Path:
    """Write a file with GDAL's driver COG."""
    return plain(path, values, epsg, **{**_COG, **options})


def rio_cog(path: Path, values: Values, epsg: int = 3035, **options: Any) -> Path:
    """Write a file with rio-cogeo: blocks of 512, or 256 with `blockxsize`; a mask with `add_mask`."""
    source = plain(path.with_suffix(".plain.tif"), values, epsg, **options.pop("source", {}))
    profile = {**cog_profiles.get("deflate"), **options.pop("profile", {})}
    cog_translate(source, path, profile, overview_resampling="mode", quiet=True, in_memory=True, **options)
    source.unlink()
    return path


def with_overviews_beside(path: Path, values: Values, epsg: int = 3035, **profile: Any) -> Path:
    """Write a tiled GeoTIFF with its overviews in a separate file, `.ovr`."""
    plain(path, values, epsg, tiled=True, blockxsize=256, blockysize=256, nodata=255, **profile)
    with rasterio.Env(TIFF_USE_OVR="YES"), rasterio.open(path, "r+") as target:
        target.build_overviews([2, 4], Resampling.mode)
    return path


_BLOCKS: dict[str, Any] = {"blockxsize": 128, "blockysize": 128}


def surface(bands: int, dtype: str, height: int = 300, width: int = 411) -> Values:
    """Return values that change smoothly, of shape (bands, rows, columns)."""
    rows, columns = np.mgrid[:height, :width]
    values = np.array([rows * (band + 1) / 7 + columns / 5 for band in range(bands)])
    return (values if dtype.startswith("f") else np.rint(values) % 120).astype(dtype)


def written(path: Path, values: Values, **given: Any) -> Path:
    """Write a tiled GeoTIFF of values with averaged overviews, 20 m a pixel; `mask` is a mask inside the file."""
    bands, height, width = values.shape
    profile = {"driver": "GTiff", "dtype": values.dtype.name, "crs": "EPSG:3035", "tiled": True, **given}
    profile.setdefault("transform", Affine(20, 0, 4_900_000, 0, -20, 3_100_000))
    mask = profile.pop("mask", None)
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"),
        rasterio.open(
            path, "w", width=width, height=height, count=bands, blockxsize=128, blockysize=128, **profile
        ) as file,
    ):
        file.write(values)
        if mask is not None:
            file.write_mask(mask)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], Resampling.average)
    return path
