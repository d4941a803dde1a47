"""Read the polygons of an uploaded file: a separate program with limited time and memory and without a network.

`python -m products.vector.upload FILE UNPACKED` writes a line of JSON: a Feature in longitude and latitude, or
`{"status": …, "detail": …}`, the refusal. UNPACKED is how many bytes an archive may have. It needs `landcast[load]` for
all but GeoJSON. Nothing of the caller names a file: what is read has a name of ours, in the folder of FILE.
"""

import ctypes
import json
import platform
import resource
import struct
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.errors import ShapelyError

from products.area import Area, area_of
from products.errors import InvalidArea
from products.limits import MAX_VERTICES
from products.outline import Outline, outline

FORMS = "GeoJSON, GeoPackage, KML, KMZ, or a ZIP with one Shapefile (.shp, .shx, .dbf, .prj)"
_SECONDS = 20
_MEMORY = 2 * 1024**3
_MOST_ENTRIES = 200
_MOST_LAYERS = 100
_DIGITS = 7
"""Of a degree: a centimetre."""
_DRIVERS = frozenset({"ESRI Shapefile", "GPKG", "KML"})
_BESIDE = (".shx", ".dbf", ".prj", ".cpg")
_NAMES: Mapping[int, str] = {0: "points", 1: "lines", 2: "lines", 4: "points", 5: "lines"}
"""The geometry types that are ignored."""
_SOCKETS: Mapping[str, tuple[int, int]] = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""By machine: its number in the kernel's audits, and that of the system call `socket`."""


class RefusedFile(Exception):
    """A refused file; the message is for the caller."""

    def __init__(self, detail: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(detail)
        self.status = status


def main(path: str, unpacked: str) -> int:
    """Write the Feature or the refusal, and return the exit status."""
    limit_process(int(unpacked))
    warnings.simplefilter("ignore")  # of GDAL, about what is left out
    try:
        answer = read(Path(path), int(unpacked))
    except (RefusedFile, InvalidArea) as error:
        answer = {"status": getattr(error, "status", HTTPStatus.BAD_REQUEST), "detail": str(error)}
    except (MemoryError, RecursionError):
        detail = "Reading the file takes too much memory. Simplify its polygons, or send fewer."
        answer = {"status": HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "detail": detail}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def limit_process(unpacked: int) -> None:
    """Limit the resources of this process, and forbid it to open connections."""
    for what, most in (
        (resource.RLIMIT_CPU, _SECONDS),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, unpacked),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    if platform.machine() in _SOCKETS:
        _refuse_sockets(*_SOCKETS[platform.machine()])


def _refuse_sockets(machine: int, call: int) -> None:
    """Make the kernel answer `socket` with EACCES from now on (seccomp), if it supports this."""
    steps = (
        (0x20, 0, 0, 4),  # load the machine
        (0x15, 1, 0, machine),
        (0x06, 0, 0, 0x80000000),  # another one: end the process
        (0x20, 0, 0, 0),  # load the number of the call
        (0x15, 0, 1, call),
        (0x06, 0, 0, 0x00050000 | 13),
        (0x06, 0, 0, 0x7FFF0000),  # allow
    )
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    described = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(program)))
    libc = ctypes.CDLL(None)
    no_new_privileges, seccomp, by_filter = 38, 22, 2
    libc.prctl(no_new_privileges, 1, 0, 0, 0)
    libc.prctl(seccomp, by_filter, described, 0, 0)


def read(path: Path, unpacked: int) -> dict[str, Any]:
    """Return the polygons of a file as a Feature. Raises RefusedFile, InvalidArea."""
    with path.open("rb") as file:
        head = file.read(4_096)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        path = _from_archive(path, unpacked)
        with path.open("rb") as file:
            head = file.read(4_096)
    if not head.strip():
        raise RefusedFile("The file is empty.")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return _feature(area_of(_of_json(path)), ())
    ending = _ending_of(path, head)
    if path.suffix != ending:
        path = path.rename(path.with_suffix(ending))
    return _by_gdal(path)


def _ending_of(path: Path, head: bytes) -> str:
    if head.startswith(b"SQLite format 3\0"):
        return ".gpkg"
    if path.suffix == ".shp" and head.startswith(b"\x00\x00\x27\x0a"):
        return ".shp"
    if b"<kml" in head or b":kml" in head:
        return ".kml"
    if head.startswith(b"\x00\x00\x27\x0a"):
        raise RefusedFile("This is one part of a Shapefile. Send all of them (.shp, .shx, .dbf, .prj) in one ZIP.")
    raise RefusedFile(f"The file is of no form that is read here. Allowed: {FORMS}.", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


def _from_archive(path: Path, unpacked: int) -> Path:
    """Unpack the one suitable file and the files that belong to it, under our own names. Raises RefusedFile."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _unpack(archive, path.parent, unpacked)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, zipfile.BadZipFile):
            raise RefusedFile("The ZIP cannot be unpacked: a file in it is too large.", _TOO_LARGE) from error
        said = "it needs a password" if "password" in str(error) else "it is damaged or not complete"
        raise RefusedFile(f"The ZIP cannot be read: {said}.") from error


_TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def _unpack(archive: zipfile.ZipFile, folder: Path, unpacked: int) -> Path:
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise RefusedFile(f"The ZIP has {len(entries):,} files. Allowed are {_MOST_ENTRIES}.", _TOO_LARGE)
    seen = [each for each in entries if not each.is_dir() and not each.filename.startswith("__MACOSX/")]
    data = [each for each in seen if _suffix(each) in (".shp", ".gpkg", ".kml", ".geojson", ".json")]
    if len(data) != 1:
        there = ", ".join(sorted(each.filename for each in data)[:5]) or "none"
        raise RefusedFile(f"A ZIP has one Shapefile, GeoPackage, KML or GeoJSON; this one has {there[:200]}.")
    [main_entry] = data
    stem = main_entry.filename[: -len(_suffix(main_entry))]
    beside = [
        each for each in seen
        if _suffix(main_entry) == ".shp" and _suffix(each) in _BESIDE and each.filename[:-4] == stem
    ]  # fmt: skip
    if sum(each.file_size for each in (main_entry, *beside)) > unpacked:
        said = f"The ZIP holds more than {unpacked / 1e6:,.0f} MB unpacked, which is more than is read here."
        raise RefusedFile(said, _TOO_LARGE)
    target = folder / "unpacked"
    target.mkdir()
    for each in (main_entry, *beside):
        (target / f"area{_suffix(each)}").write_bytes(archive.read(each))
    return target / f"area{_suffix(main_entry)}"


def _suffix(entry: zipfile.ZipInfo) -> str:
    return Path(entry.filename).suffix.lower()


def _of_json(path: Path) -> Outline:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise RefusedFile(f"The file begins like GeoJSON and is no JSON: {str(error)[:100]}.") from error
    if not value.get("type"):
        raise RefusedFile('This JSON is no GeoJSON: it has no "type".')
    if value["type"] == "FeatureCollection" and value.get("features") == []:
        raise RefusedFile("The file has no features.")
    return outline(value)


def _by_gdal(path: Path) -> dict[str, Any]:
    try:
        import pyogrio  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RefusedFile("This server reads GeoJSON only.", HTTPStatus.UNSUPPORTED_MEDIA_TYPE) from error
    keep_drivers(pyogrio)
    try:
        found = [_layer(pyogrio, path, str(name)) for name, _ in _layers(pyogrio, path)]
    except ShapelyError as error:
        raise RefusedFile("The file has a geometry that cannot be read, or curves.") from error
    except (RuntimeError, ValueError) as error:  # the error of pyogrio
        raise RefusedFile("The file cannot be read: it is damaged, or not what its first bytes say.") from error
    parts = [each for each in found if len(each.polygons)]
    left_out = sum((each.left_out for each in found), Counter[str]())
    others = ", ".join(f"{name} ({count:,})" for name, count in left_out.items())
    if not parts:
        raise RefusedFile(f"The file has no polygons{f', only {others}' if others else ': it is empty'}.")
    notes = [f"Left out, as they are no polygons: {others}."] if others else []
    return _feature(area_of(_together(parts)), notes)


def keep_drivers(pyogrio: Any) -> None:
    """Restrict GDAL to the needed drivers: others, such as VRT, open files that a file names."""
    gdal = ctypes.CDLL(pyogrio._ogr.__file__)  # noqa: SLF001 - it has no other name
    gdal.GDALGetDriver.restype, gdal.GDALGetDriver.argtypes = ctypes.c_void_p, [ctypes.c_int]
    gdal.GDALGetDriverShortName.restype = ctypes.c_char_p
    gdal.GDALGetDriverShortName.argtypes = gdal.GDALDeregisterDriver.argtypes = [ctypes.c_void_p]
    for driver in [gdal.GDALGetDriver(number) for number in range(gdal.GDALGetDriverCount())]:
        if gdal.GDALGetDriverShortName(driver).decode() not in _DRIVERS:
            gdal.GDALDeregisterDriver(driver)
    pyogrio.set_gdal_config_options({"SHAPE_RESTORE_SHX": True})


def _layers(pyogrio: Any, path: Path) -> Sequence[tuple[str, str | None]]:
    layers: Sequence[tuple[str, str | None]] = pyogrio.list_layers(path)
    if len(layers) > _MOST_LAYERS:
        raise RefusedFile(f"The file has {len(layers):,} layers. Allowed are {_MOST_LAYERS}.", _TOO_LARGE)
    return [(name, kind) for name, kind in layers if kind is not None]  # None: a table without geometry


class _Layer:
    """The polygons of a layer, and the other content of it."""

    def __init__(self, geometries: NDArray[Any], crs: str | None, name: str) -> None:
        while (shapely.get_type_id(geometries) > shapely.GeometryType.POLYGON).any():
            geometries = shapely.get_parts(geometries)
        kinds = shapely.get_type_id(geometries)
        is_polygon = (kinds == shapely.GeometryType.POLYGON) & ~shapely.is_empty(geometries)
        self.polygons: NDArray[Any] = geometries[is_polygon]
        self.crs, self.name = crs, name
        self.left_out = Counter(_NAMES[kind] for kind in kinds.tolist() if kind in _NAMES)


def _layer(pyogrio: Any, path: Path, name: str) -> _Layer:
    try:
        meta, _, blobs, _ = pyogrio.raw.read(path, layer=name, columns=[], force_2d=True)
    except pyogrio.errors.CRSError as error:
        raise RefusedFile(f"The coordinate system of {name[:80]!r} is not known.") from error
    return _Layer(shapely.from_wkb(blobs), meta["crs"], name)


def _together(layers: Sequence[_Layer]) -> Outline:
    """Return the polygons of layers of one CRS. Raises RefusedFile."""
    if len({each.crs for each in layers}) > 1:
        raise RefusedFile("The layers of the file are in several coordinate systems. Allowed is one.")
    crs, name = layers[0].crs, layers[0].name[:80]
    polygons = np.concatenate([each.polygons for each in layers])
    if crs is None:
        raise RefusedFile(
            f"The file does not say the coordinate system of {name!r}. Add it: a Shapefile has it in its .prj."
        )
    system = None
    with suppress(CRSError):
        system = CRS.from_user_input(crs).to_2d()
    if system is None or not (system.is_geographic or system.is_projected):
        raise RefusedFile(f"The coordinate system of {name!r} is unknown or no system of places on the ground.")
    return Outline(polygons, None if system.equals(CRS("OGC:CRS84"), ignore_axis_order=True) else system, together=True)


def _feature(area: Area, notes: Sequence[str]) -> dict[str, Any]:
    """Return the area, rounded if it stays valid. Raises RefusedFile if it has too many vertices."""
    geometry = area.geometry
    if (count := shapely.get_num_coordinates(geometry)) > MAX_VERTICES:
        fault = f"The polygons have {count:,} vertices in longitude and latitude. Allowed are {MAX_VERTICES:,}."
        raise RefusedFile(f"{fault} Simplify them.")
    rounded = shapely.set_coordinates(geometry, np.round(shapely.get_coordinates(geometry), _DIGITS))
    chosen = rounded if shapely.is_valid(rounded) else geometry
    said = [*notes, *([area.repaired] if area.repaired else [])]
    properties = {"km2": round(area.km2, 6), "notes": said}
    return {"type": "Feature", "properties": properties, "geometry": json.loads(shapely.to_geojson(chosen))}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
