"""How GDAL opens a raster: a file here or on a server, a VRT, a tile index, or a folder of files on one grid."""

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast
from xml.sax.saxutils import escape

import rasterio
from affine import Affine
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader, MemoryFile

from products.errors import BrokenSource
from products.remote import is_remote, opener_of
from products.sources import MOST_FILES, check_local, driver_of, is_one_file, rasters_in

_OFF_GRID = 1e-3
"""Maximum offset between the files of a folder, in pixels."""
_BLOCK = 512
_TYPES = {"uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32"}
_TYPES |= {"uint64": "UInt64", "int64": "Int64", "float32": "Float32", "float64": "Float64"}
_Box = tuple[int, int, int, int]


def open_dataset(source: Path, overview: int | None = None) -> DatasetReader:
    """Open a raster, or an overview by its index. Raises rasterio's errors, BrokenSource."""
    level = {} if overview is None else {"overview_level": overview}
    if is_remote(source):
        opener = opener_of(str(source))
        return cast("DatasetReader", rasterio.open(opener.name, driver="GTiff", opener=opener, **level))
    name = source
    if not is_one_file(source):
        check_local(source)
        if source.is_dir():
            name = Path(_as_vrt(source.name, _states(source)).name)
    return cast("DatasetReader", rasterio.open(name, driver=driver_of(source), **level))


def _states(folder: Path) -> tuple[tuple[str, int, int], ...]:
    files = rasters_in(folder)
    if len(files) > MOST_FILES:
        raise BrokenSource(f"{folder.name} has {len(files):,} files, at most {MOST_FILES:,}; make a tile index of them")
    try:
        return tuple((str(path), state.st_mtime_ns, state.st_size) for path in files for state in [path.stat()])
    except OSError as error:
        raise BrokenSource(f"{folder.name} cannot be read: {error.strerror}") from error


class _File(NamedTuple):
    """The properties of a file of a folder. All files have one CRS, and one type, nodata value and names of bands."""

    path: Path
    transform: Affine
    size: tuple[int, int]
    crs: str
    dtypes: tuple[str, ...]
    nodata: str
    names: tuple[str, ...]
    overviews: tuple[int, ...]

    @property
    def kind(self) -> tuple[object, ...]:
        """What is the same of all files."""
        return self.crs, self.dtypes, self.nodata, self.names


@lru_cache(64)
def _as_vrt(name: str, states: tuple[tuple[str, int, int], ...]) -> MemoryFile:
    """Return the VRT of a folder, which has the overviews that all of its files have. Raises BrokenSource."""
    files = [_examined(Path(path)) for path, _, _ in states]
    first = files[0]
    for other in files[1:]:
        _check_like(first, other)
    side = first.transform.a
    west, north = min(each.transform.c for each in files), max(each.transform.f for each in files)
    boxes = [
        (round((each.transform.c - west) / side), round((north - each.transform.f) / side), *each.size)
        for each in files
    ]
    size = max(x + width for x, _, width, _ in boxes), max(y + height for _, y, _, height in boxes)
    xml = _xml(files, boxes, size, Affine(side, 0, west, 0, first.transform.e, north))
    return MemoryFile(xml.encode(), filename=f"{name}.vrt")


def _examined(path: Path) -> _File:
    with rasterio.open(path, driver="GTiff") as dataset:
        if MaskFlags.per_dataset in dataset.mask_flag_enums[0] or not set(dataset.dtypes) <= _TYPES.keys():
            raise BrokenSource(f"{path.parent.name}: {path.name} has a mask, or values of another type than numbers")
        return _File(
            path,
            dataset.transform,
            (dataset.width, dataset.height),
            dataset.crs.to_wkt() if dataset.crs else "",
            dataset.dtypes,
            "" if dataset.nodata is None else f"{dataset.nodata:.17g}",
            tuple(name or "" for name in dataset.descriptions),
            tuple(dataset.overviews(1)),
        )


def _check_like(first: _File, other: _File) -> None:
    """Raise BrokenSource unless two files are on one grid and of one type."""
    one, two = first.transform, other.transform
    off = [((two.c - one.c) / one.a) % 1, ((two.f - one.f) / one.e) % 1]
    is_same = all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip((one.a, one.e), (two.a, two.e), strict=True))
    if not is_same or any(min(part, 1 - part) > _OFF_GRID for part in off):
        raise BrokenSource(f"{other.path.parent.name}: {other.path.name} is not on the grid of {first.path.name}")
    if first.kind != other.kind:
        raise BrokenSource(
            f"{other.path.parent.name}: {other.path.name} differs from {first.path.name} in CRS, type, nodata or bands"
        )


def _xml(files: Sequence[_File], boxes: Sequence[_Box], size: tuple[int, int], place: Affine) -> str:
    first = files[0]
    common = set(first.overviews).intersection(*(each.overviews for each in files))
    overviews = " ".join(map(str, sorted(common)))
    bands = "".join(
        f'<VRTRasterBand dataType="{_TYPES[dtype]}" band="{band}" blockXSize="{_BLOCK}" blockYSize="{_BLOCK}">'
        f"<Description>{escape(name)}</Description>"
        + (f"<NoDataValue>{first.nodata}</NoDataValue>" if first.nodata else "")
        + "".join(_source(each, band, box) for each, box in zip(files, boxes, strict=True))
        + "</VRTRasterBand>"
        for band, (dtype, name) in enumerate(zip(first.dtypes, first.names, strict=True), 1)
    )
    listed = f'<OverviewList resampling="nearest">{overviews}</OverviewList>' if overviews else ""
    transform = ", ".join(f"{value:.17g}" for value in place.to_gdal())
    return (
        f'<VRTDataset rasterXSize="{size[0]}" rasterYSize="{size[1]}"><SRS>{escape(first.crs)}</SRS>'
        f"<GeoTransform>{transform}</GeoTransform>{bands}{listed}</VRTDataset>"
    )


def _source(file: _File, band: int, box: _Box) -> str:
    x, y, width, height = box
    here = f'xSize="{width}" ySize="{height}"'
    kind, nodata = ("ComplexSource", f"<NODATA>{file.nodata}</NODATA>") if file.nodata else ("SimpleSource", "")
    return (
        f'<{kind}><SourceFilename relativeToVRT="0">{escape(str(file.path))}</SourceFilename>'
        f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" {here}/>'
        f'<DstRect xOff="{x}" yOff="{y}" {here}/>{nodata}</{kind}>'
    )
