"""Pixels as NetCDF-4 with the CF conventions: a variable for each field, its coordinates, and the CRS."""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import IO, Any

import numpy as np
from pyproj import CRS

from plugins.coverages import Band, Pixels
from products.classes import Classes

HAS_NETCDF = find_spec("h5netcdf") is not None and find_spec("h5py") is not None
"""Whether `landcast[netcdf]` is installed."""
_CONVENTIONS = "CF-1.11"
_CHUNK = 512
"""Side of a block of the file in pixels."""
_LEVEL = 1
_GRID_MAPPING = "crs"
_NO_LETTER = re.compile(r"[^A-Za-z0-9_.+@-]+")
_AXES: Mapping[bool, Mapping[str, str]] = {True: {"X": "lon", "Y": "lat"}, False: {"X": "x", "Y": "y"}}
"""Names of the coordinates of a geographic CRS, or of a projected one."""


def write_netcdf(target: IO[bytes], pixels: Pixels) -> None:
    """Write the file; one row of its blocks is in memory at a time.

    It needs `landcast[netcdf]`. Raises OSError, and the errors of `pixels.rows`.
    """
    import h5netcdf  # noqa: PLC0415 - of an extra, and only those who ask for the format need it

    width, height = pixels.size
    names = _AXES[pixels.crs.geographic]
    blocks = min(height, _CHUNK), min(width, _CHUNK)
    with h5netcdf.File(target, "w") as file:
        file.attrs["Conventions"] = _CONVENTIONS
        file.dimensions = {names["Y"]: height, names["X"]: width}
        _write_coordinates(file, pixels)
        _write_grid_mapping(file, pixels)
        variables = []
        for band in pixels.bands:
            variable = file.create_variable(
                _name(band, names),
                (names["Y"], names["X"]),
                pixels.dtype,
                fillvalue=None if pixels.nodata is None else pixels.dtype.type(pixels.nodata),
                chunks=blocks,
                compression="gzip",
                compression_opts=_LEVEL,
                shuffle=pixels.dtype.itemsize > 1,
            )
            variable.attrs.update(_about(band, pixels))
            variables.append(variable)
        for top in range(0, height, _CHUNK):
            values = pixels.rows(top, min(height, top + _CHUNK))
            for variable, rows in zip(variables, values, strict=True):
                variable[top : top + len(rows), :] = rows
    target.seek(0, 2)


def _name(band: Band, axes: Mapping[str, str]) -> str:
    return f"{band.name}_" if band.name in {*axes.values(), _GRID_MAPPING} else band.name


def _about(band: Band, pixels: Pixels) -> dict[str, Any]:
    """Return the attributes of a field."""
    attributes: dict[str, Any] = {"grid_mapping": _GRID_MAPPING, "long_name": band.title}
    if band.unit:
        attributes["units"] = band.unit
    if pixels.classes:
        attributes["flag_values"] = np.array([each.value for each in pixels.classes], pixels.dtype)
        attributes["flag_meanings"] = " ".join(flag_meanings(pixels.classes))
        attributes["flag_colors"] = " ".join(each.hex for each in pixels.classes)
    return attributes


def flag_meanings(classes: Classes) -> list[str]:
    """Return the names of classes as single words, each once (CF 3.5)."""
    meanings: list[str] = []
    for each in classes:
        word = _NO_LETTER.sub("_", each.name).strip("_") or f"class_{each.value}"
        meanings.append(f"{word}_{each.value}" if word in meanings else word)
    return meanings


def _write_coordinates(file: Any, pixels: Pixels) -> None:
    """Write the centres of columns and rows."""
    width, height = pixels.size
    place, names = pixels.transform, _AXES[pixels.crs.geographic]
    centres = {
        "X": place.c + place.a * (np.arange(width) + 0.5),
        "Y": place.f + place.e * (np.arange(height) + 0.5),
    }
    for axis in _crs_of(pixels.crs.epsg).cs_to_cf():
        name = names[axis["axis"]]
        variable = file.create_variable(name, (name,), "f8", data=centres[axis["axis"]])
        variable.attrs.update(axis)


def _write_grid_mapping(file: Any, pixels: Pixels) -> None:
    """Write the CRS as CF has it, and as GDAL reads it."""
    crs, place = _crs_of(pixels.crs.epsg), pixels.transform
    described = {name: value for name, value in crs.to_cf().items() if value is not None}
    steps = " ".join(repr(float(each)) for each in place.to_gdal())
    variable = file.create_variable(_GRID_MAPPING, (), "i4", data=0)
    variable.attrs.update({**described, "spatial_ref": described["crs_wkt"], "GeoTransform": steps})


@lru_cache(64)
def _crs_of(epsg: int) -> CRS:
    return CRS.from_epsg(epsg)
