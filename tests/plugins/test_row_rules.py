"""Random row rules: list, item, pages, tile, values and count have the same items, with both providers."""

import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyogrio
import pytest
import shapely
from psycopg2.extensions import parse_dsn
from pygeoapi.provider.base import ProviderItemNotFoundError

from auth.access import Verdict, current_verdict
from plugins.crs import crs_of
from plugins.features import ItemQuery, TileQuery
from plugins.geopackage import GeoPackageProvider
from plugins.postgis import PostgisProvider
from products.vector.layer import Column
from tests.odd import geopackages as odd
from tests.postgres import Postgres

COLUMNS = (Column("name", "TEXT"), Column("size", "REAL"), Column("code", "INTEGER"), Column("secret", "TEXT"))
NUMBER = 40
WORLD = TileQuery((-2e7, -2e7, 2e7, 2e7), crs_of(3857), "l", 1_000)
Provider = GeoPackageProvider | PostgisProvider


def row(number: int) -> tuple[Any, ...]:
    size = None if number % 5 == 0 else number / 2
    return f"name {number % 7}", size, number, None if number % 3 == 0 else f"s{number % 4}"


@pytest.fixture(scope="module")
def providers(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> tuple[Provider, Provider]:
    """Return a provider of each kind with the same rows and a hidden column."""
    path = tmp_path_factory.mktemp("rules") / "rows.gpkg"
    points = [shapely.Point(number / 10, number / 20) for number in range(NUMBER)]
    odd.by_us(path, COLUMNS, [row(number) for number in range(NUMBER)], points=points)
    url = postgres.spatial()
    table = (
        "create table ruled (id integer primary key, name text, size float8, code integer, secret text, geom geometry)"
    )
    postgres.run(url, table)
    rows = []
    for number, point in enumerate(points):
        values = ", ".join("null" if each is None else repr(each) for each in row(number))
        rows.append(f"({number + 1}, {values}, 'SRID=4326;{point.wkt}')")
    postgres.run(url, f"insert into ruled values {', '.join(rows)}")  # noqa: S608 - our own values
    shown = {"properties": ["name", "size", "code"], "type": "feature"}
    return (
        GeoPackageProvider({**shown, "name": "plugins.geopackage.GeoPackageProvider", "data": str(path)}),
        PostgisProvider({**shown, "name": "plugins.postgis.PostgisProvider", "data": parse_dsn(url), "table": "ruled"}),
    )


def rule(chance: random.Random, depth: int = 2) -> str:
    """Return a condition in CQL2 text."""
    if depth and chance.random() < 0.6:
        parts = [rule(chance, depth - 1) for _ in range(2)]
        return chance.choice(["({} AND {})", "({} OR {})", "NOT ({} AND {})"]).format(*parts)
    number = chance.randrange(NUMBER)
    return chance.choice(
        [
            f"code < {number}", f"code >= {number}", f"size > {number / 3}", "size IS NULL",
            f"secret = 's{number % 4}'", f"code % 3 = {number % 3}",
            "secret IS NULL", f"name LIKE '%{number % 7}'", f"code IN ({number}, {number // 2})",
            f"S_INTERSECTS(geometry, BBOX(0, 0, {number / 10}, 50))",
        ]
    )  # fmt: skip


def everywhere(provider: Provider, folder: Path) -> list[list[int]]:
    """Return the codes that a caller gets in a list, one by one, in pages, as values and in a tile."""
    page = provider.find(ItemQuery(limit=1_000))
    listed = [feature["properties"]["code"] for feature in page.features]
    single: list[int] = []
    paged: list[int] = []
    query = ItemQuery(limit=7)
    for number in range(1, NUMBER + 1):
        with suppress(ProviderItemNotFoundError):
            single.append(provider.get(str(number))["properties"]["code"])
    while True:
        found = provider.find(query)
        paged += [feature["properties"]["code"] for feature in found.features]
        if found.summary.next is None:
            break
        query = ItemQuery(limit=7, after=found.summary.next)
    values = provider.get_domains(["code"])[0].get("code", [])
    counted = provider.find(ItemQuery(limit=0, counting="exact")).summary.matched
    texts, _ = provider.texts(ItemQuery(limit=1_000))
    assert counted == len(listed) == len(texts)
    return [listed, single, paged, sorted(values), drawn(provider.tile(WORLD), folder)]


def drawn(tile: bytes, folder: Path) -> list[int]:
    if not tile:
        return []
    path = folder / "tile.mvt"
    path.write_bytes(tile)
    meta, _, _, columns = pyogrio.raw.read(path)
    assert "secret" not in meta["fields"]
    codes: list[int] = columns[list(meta["fields"]).index("code")].tolist()
    return sorted(codes)


def test_rules_leave_the_same_items_everywhere(providers: tuple[Provider, Provider], tmp_path: Path) -> None:
    chance = random.Random(20261130)  # noqa: S311 - the same for each run
    seen: set[int] = set()
    for _ in range(12):
        text = rule(chance)
        spelled = {GeoPackageProvider: text, PostgisProvider: text.replace("geometry", "geom")}
        answers: list[list[int]] = []
        for provider in providers:
            reset = current_verdict.set(Verdict(allowed=True, rows=(spelled[type(provider)],)))
            try:
                answers += everywhere(provider, tmp_path)
            finally:
                current_verdict.reset(reset)
        assert all(each == answers[0] for each in answers), (text, answers)
        seen.add(len(answers[0]))
    assert len(seen) > 5
