import os
import re
import sqlite3
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from products.errors import BrokenSource, RequestTooLarge
from products.raster.cog import read_grid
from products.vector.blob import decode, decode_each, depth_of, encode
from products.vector.geopackage import layer_of, read_geopackage, write_geopackage
from products.vector.layer import Column, Layer, quote

LAYER = Layer("plots", 3035, (Column("name", "TEXT"), Column("height", "DOUBLE")), title='Plots "of" land')


def squares(count: int) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    x = np.arange(count) * 10.0
    return np.asarray(shapely.multipolygons(shapely.box(x, 0, x + 10, 10)[:, None]))


def write(path: Path, *, count: int = 5, style: bool = False) -> None:
    with write_geopackage(path, LAYER) as writer:
        writer.add(range(1, count + 1), squares(count), [(f"plot {n}", n / 2) for n in range(count)])
        if style:
            writer.style("plain", qml="<qgis/>", sld="<sld/>")


def schema(path: Path) -> dict[str, str]:
    """Return the SQL of the GeoPackage's own tables and triggers, without differences in spelling."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOTNULL").fetchall()
    return {name: re.sub(r"[\s;\"']+", "", sql).lower() for name, sql in rows}


@pytest.mark.parametrize("read", [layer_of, read_grid])
def test_a_pipe_is_refused_without_waiting(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BrokenSource, match="pipe is not a file"):
        read(tmp_path / "pipe")


def test_tables_and_triggers_are_those_that_gdal_writes(tmp_path: Path) -> None:
    write(tmp_path / "ours.gpkg")
    ours_and_theirs = [str(tmp_path / "gdal.gpkg"), str(tmp_path / "ours.gpkg")]
    subprocess.run(["ogr2ogr", "-f", "GPKG", *ours_and_theirs, "plots", "-lco", "GEOMETRY_NAME=geometry"], check=True)
    ours, gdal = schema(tmp_path / "ours.gpkg"), schema(tmp_path / "gdal.gpkg")
    names = {name for name in gdal if name.startswith("rtree_")} | {"gpkg_geometry_columns", "gpkg_contents"}
    assert len(names) == 12
    for name in names - {"gpkg_extensions"}:
        assert ours[name] == gdal[name]


def test_the_file_has_its_metadata(tmp_path: Path) -> None:
    write(tmp_path / "x.gpkg", style=True)
    with sqlite3.connect(tmp_path / "x.gpkg") as connection:
        values = {name: connection.execute(f"PRAGMA {name}").fetchall() for name in ("application_id", "user_version")}
        assert values == {"application_id": [(0x47504B47,)], "user_version": [(10300,)]}
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT rtreecheck('rtree_plots_geometry')").fetchall() == [("ok",)]
        srs = connection.execute("SELECT srs_id FROM gpkg_spatial_ref_sys ORDER BY 1").fetchall()
        assert srs == [(-1,), (0,), (3035,)]
        extent = connection.execute("SELECT min_x, min_y, max_x, max_y FROM gpkg_contents WHERE srs_id").fetchall()
        assert extent == [(0, 0, 50, 10)]


def test_gdal_reads_it_without_a_warning(tmp_path: Path) -> None:
    write(tmp_path / "x.gpkg", style=True)
    done = subprocess.run(["ogrinfo", "-al", tmp_path / "x.gpkg", "plots"], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert "Feature Count: 5" in done.stdout
    assert 'ID["EPSG",3035]' in done.stdout
    assert "MULTIPOLYGON (((20 0" in done.stdout.replace("30 0,30 10,20 10,", "20 0,")


def test_gdal_can_edit_it_and_the_index_follows(tmp_path: Path) -> None:
    write(tmp_path / "x.gpkg")
    for statement in ("DELETE FROM plots WHERE fid = 1", "UPDATE plots SET fid = 77 WHERE fid = 2"):
        subprocess.run(["ogrinfo", tmp_path / "x.gpkg", "-sql", statement], check=True, capture_output=True)
    with read_geopackage(tmp_path / "x.gpkg") as reader:
        keys = [key for batch in reader.features((0, 0, 100, 100)) for key in batch.keys]
    assert sorted(keys) == [3, 4, 5, 77]


def test_blobs_follow_the_specification() -> None:
    (blob,) = encode(np.array([shapely.box(1, 2, 3, 4)]), 3035)
    assert blob[:8] == b"GP\x00\x03" + (3035).to_bytes(4, "little")
    assert np.frombuffer(blob[8:40], "<f8").tolist() == [1, 3, 2, 4]
    assert shapely.from_wkb(blob[40:]).equals(shapely.box(1, 2, 3, 4))


@pytest.mark.parametrize(("flags", "envelope"), [(0b1, 0), (0b11, 32), (0b101, 48), (0b111, 48), (0b1001, 64)])
def test_blobs_of_others_are_read_with_any_envelope(flags: int, envelope: int) -> None:
    body = shapely.to_wkb(shapely.Point(1, 2))
    (point,) = decode([b"GP\x00" + bytes([flags]) + b"\x00" * (4 + envelope) + body])
    assert point == shapely.Point(1, 2)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [4, 5, 6, 7, 9, 10, 11, 12, 15, 16, 1006, 2007, 3012, 0x20000007, 0xA0000006])
def test_deeply_nested_collections_are_reported_without_a_crash(kind: int, order: str) -> None:
    head = struct.pack(f"{order}BI", order == "<", kind) + bytes(4 if kind & 0x20000000 else 0)
    body = (head + struct.pack(f"{order}I", 1)) * 100_000 + shapely.to_wkb(shapely.Point(1, 2))
    (found,) = decode_each([b"GP\0\1" + bytes(4) + body])
    assert found == "too many collections within collections"


def test_many_parts_do_not_count_as_depth() -> None:
    parts = shapely.multipolygons([shapely.box(x, 0, x + 0.5, 1) for x in range(1_000)])
    many = shapely.geometrycollections([shapely.multipolygons([shapely.box(x, 0, x + 0.5, 1)]) for x in range(300)])
    blobs = [b"GP\0\1" + bytes(4) + shapely.to_wkb(geometry) for geometry in (parts, many)]
    assert [shapely.equals_identical(*pair) for pair in zip(decode(blobs), (parts, many), strict=True)] == [True, True]


def test_the_depth_of_a_geometry_ignores_its_coordinates() -> None:
    head = int.from_bytes(bytes.fromhex("0107000000010000"), "little")
    points = np.full((2_000, 2), np.array([head], dtype="<i8").view("<f8")[0])
    nested: Any = shapely.LineString(points)
    assert bytes.fromhex("0107000000010000") in shapely.to_wkb(nested)
    for depth in range(4):
        for geometry in (nested, shapely.force_3d(nested)):
            for form in ({"flavor": "iso"}, {"byte_order": 0}, {"flavor": "extended"}):
                body = shapely.to_wkb(geometry, **form)
                assert (depth_of(body), depth_of(body[:-1])) == (depth, depth)
        nested = shapely.GeometryCollection([shapely.Point(1, 2), nested])


def test_written_features_are_read_back(tmp_path: Path) -> None:
    write(tmp_path / "x.gpkg", count=100)
    with read_geopackage(tmp_path / "x.gpkg") as reader:
        assert reader.layer == LAYER
        assert reader.count((101, 1, 149, 2)) == 5
        assert reader.extent() == (0, 0, 1000, 10)
        batches = list(reader.features((101, 1, 149, 2), size=2))
    assert [len(batch.keys) for batch in batches] == [2, 2, 1]
    found = {key: (geometry, row) for batch in batches for key, geometry, row in zip(*astuple(batch), strict=True)}
    assert sorted(found) == [11, 12, 13, 14, 15]
    assert found[11] == (squares(11)[10], ("plot 10", 5.0))


def astuple(batch: object) -> tuple[list[object], ...]:
    return tuple(list(getattr(batch, name)) for name in ("keys", "geometries", "rows"))


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "x.gpkg")
    before = (tmp_path / "x.gpkg").read_bytes()
    with pytest.raises(KeyError), write_geopackage(tmp_path / "x.gpkg", LAYER) as writer:  # noqa: PT012
        writer.add([1], squares(1), [("a", 1.0)])
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["x.gpkg"]
    assert (tmp_path / "x.gpkg").read_bytes() == before


def without_index(path: Path) -> None:
    write(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM gpkg_extensions")


def without_layer(path: Path) -> None:
    write(path)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM gpkg_geometry_columns")


@pytest.mark.parametrize(
    "break_it",
    [
        lambda _: None,
        lambda path: path.write_text("no database"),
        lambda path: path.touch(),
        lambda path: path.mkdir(),
        without_layer,
    ],
    ids=["missing", "text", "empty", "folder", "no layer"],
)
def test_a_broken_file_is_named(tmp_path: Path, break_it: object) -> None:
    assert callable(break_it)
    break_it(tmp_path / "x.gpkg")
    with pytest.raises(BrokenSource, match=r"x\.gpkg"), read_geopackage(tmp_path / "x.gpkg"):
        pass


def test_a_file_without_an_index_is_refused(tmp_path: Path) -> None:
    without_index(tmp_path / "x.gpkg")
    with read_geopackage(tmp_path / "x.gpkg") as reader:
        assert not reader.layer.indexed
        with pytest.raises(BrokenSource, match=r"x\.gpkg.*no spatial index"):
            reader.count((0, 0, 1, 1))


def test_a_damaged_geometry_is_a_broken_source(tmp_path: Path) -> None:
    write(tmp_path / "x.gpkg")
    with sqlite3.connect(tmp_path / "x.gpkg") as connection:
        connection.create_function("ST_IsEmpty", 1, lambda _: 0)
        for name in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            connection.create_function(name, 1, lambda _: 0)
        connection.execute("UPDATE plots SET geometry = x'00' WHERE fid = 1")
    with read_geopackage(tmp_path / "x.gpkg") as reader, pytest.raises(BrokenSource):
        list(reader.features((0, 0, 100, 100)))


def test_reading_never_writes(tmp_path: Path) -> None:
    write(tmp_path / "x.gpkg")
    with (
        read_geopackage(tmp_path / "x.gpkg") as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.connection.execute("DELETE FROM plots")


def test_a_query_ends_in_time(tmp_path: Path) -> None:
    write(tmp_path / "x.gpkg", count=5_000)
    with (
        read_geopackage(tmp_path / "x.gpkg", seconds=0) as reader,
        pytest.raises(RequestTooLarge, match="too long"),
    ):
        list(reader.features((0, 0, 1e9, 1e9)))


def test_a_query_is_not_too_long_because_the_machine_is_busy(tmp_path: Path) -> None:
    write(tmp_path / "x.gpkg", count=5_000)
    with read_geopackage(tmp_path / "x.gpkg", seconds=1) as reader:
        time.sleep(1.1)
        assert sum(len(batch.keys) for batch in reader.features((0, 0, 1e9, 1e9))) == 5_000


def test_a_name_cannot_leave_its_quotes() -> None:
    assert quote('a" OR 1=1 --') == '"a"" OR 1=1 --"'
