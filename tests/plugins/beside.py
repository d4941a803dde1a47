"""A configuration for vanilla pygeoapi and for our server, the requests to both, and how answers are compared."""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import numpy as np
import rasterio
from rasterio.transform import from_bounds

from tests.odd.geopackages import by_gdal
from tests.odd.rasters import classes, gdal_cog

ABSENT = "-"
HEADERS = ("Location", "Content-Crs", "Content-Language", "Content-Disposition", "Link", "Allow", "Preference-Applied")
MOMENTS = {"timeStamp", "created", "started", "finished", "updated"}
_CRS = "http://www.opengis.net/def/crs"
SYSTEMS = [f"{_CRS}/OGC/1.3/CRS84", *(f"{_CRS}/EPSG/0/{code}" for code in (4326, 3857, 3035, 2180))]
_WORLD = {"bbox": [-180, -90, 180, 90], "crs": SYSTEMS[0]}
_GEOTIFF = {"name": "GTiff", "mimetype": "image/tiff; application=geotiff"}
_PNG = {"name": "png", "mimetype": "image/png"}
_MVT = {"name": "pbf", "mimetype": "application/vnd.mapbox-vector-tile"}

GAUGES = """id,gauge,seen,level,lat,long
11,7,2011-03-04T05:06:07Z,1.5,50.25,19.5
12,7,2012-03-04T05:06:07Z,2.5,50.25,19.5
13,8,2013-03-04T05:06:07Z,3.5,51.5,20.75
14,9,2014-03-04T05:06:07Z,,49,22
15,8,2015-03-04T05:06:07Z,5.25,51.5,20.75
"""
SHAPES: Sequence[tuple[str, Any]] = (
    ("Point", [19, 50]),
    ("LineString", [[19, 50], [20, 51], [21, 50]]),
    ("Polygon", [[[19, 50], [20, 50], [20, 51], [19, 50]]]),
    ("MultiPoint", [[19, 50], [20, 51]]),
    ("MultiLineString", [[[19, 50], [20, 51]], [[21, 50], [22, 51]]]),
    ("MultiPolygon", [[[[19, 50], [20, 50], [20, 51], [19, 50]]], [[[21, 50], [22, 50], [22, 51], [21, 50]]]]),
)


def _collection(title: str, *providers: Mapping[str, Any], kind: str = "collection", **members: Any) -> dict[str, Any]:
    described = {"title": title, "description": f"{title}, for a test", "keywords": ["water"]}
    return {"type": kind, **described, "extents": {"spatial": _WORLD}, "providers": list(providers), **members}


def _lake(number: int) -> dict[str, Any]:
    west, south = 19 + number / 10, 50 + number / 20
    corners = [[west, south], [west + 0.05, south], [west + 0.05, south + 0.05], [west, south]]
    properties = {"name": f"Jezioro <{number}>", "rank": number % 3, "depth": number * 1.5 if number else None}
    geometry = {"type": "Polygon", "coordinates": [corners]}
    return {"type": "Feature", "id": str(number), "properties": properties, "geometry": geometry}


def _town(number: int) -> dict[str, Any]:
    properties = {"code": f"T{number:02d}", "name": ["Łódź", "O'Hara", "Sącz"][number % 3], "people": number * 1000}
    properties["founded"] = f"20{number:02d}-05-06"
    geometry = {"type": "Point", "coordinates": [18 + number / 10, 50 + number % 4 / 10]}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def _write_json(path: Path, document: Any) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(document))


def write_data(folder: Path) -> None:
    """Write a file of each kind that the configuration names."""
    (folder / "outputs").mkdir()
    (folder / "gauges.csv").write_text(GAUGES)
    _write_json(folder / "lakes.geojson", {"type": "FeatureCollection", "features": [_lake(n) for n in range(25)]})
    shapes = [
        {"type": "Feature", "id": str(n), "properties": {"kind": kind}, "geometry": {"type": kind, "coordinates": at}}
        for n, (kind, at) in enumerate(SHAPES)
    ]
    _write_json(folder / "shapes.geojson", {"type": "FeatureCollection", "features": shapes})
    records = {}
    for number, title in enumerate(("Land cover", "Forests of Poland", "Rivers")):
        members = {"title": title, "description": f"{title}!", "externalId": f"r{number}", "type": "dataset"}
        records[str(number)] = {
            "id": f"r{number}",
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [19 + number, 50]},
            "properties": {**members, "recordCreated": f"202{number}-01-02T03:04:05Z"},
        }  # fmt: skip
    _write_json(folder / "records.tinydb", {"_default": records})
    metadata = {"name": "lakes", "bounds": "19,50,22,52", "minzoom": "0", "maxzoom": "1", "format": "pbf"}
    _write_json(folder / "tiles" / "metadata.json", {**metadata, "json": json.dumps({"vector_layers": []})})
    (folder / "tiles" / "0" / "0").mkdir(parents=True)
    (folder / "tiles" / "0" / "0" / "0.pbf").write_bytes(b"\x1a\x02\x0a\x00")
    by_gdal(folder / "towns.gpkg", [_town(n) for n in range(1, 25)], "-t_srs", "EPSG:2180")
    gdal_cog(folder / "cover.tif", classes(512, 512), 4326)
    values = np.arange(90 * 120, dtype="float32").reshape(90, 120)
    size = {"width": 120, "height": 90, "count": 2, "dtype": "float32", "nodata": -1}
    place = {"crs": "EPSG:4326", "transform": from_bounds(10, 40, 22, 49, 120, 90)}
    with rasterio.open(folder / "heat.tif", "w", driver="GTiff", **size, **place) as target:
        target.write(np.stack([values, values + 0.5]))
    _write_stac(folder)


def _write_stac(folder: Path) -> None:
    """Write a folder of files, a catalog of one collection with one item, and scenes to search."""
    (folder / "files" / "older").mkdir(parents=True)
    for name in ("heat.tif", "older/heat.tif"):
        (folder / "files" / name).write_bytes((folder / "heat.tif").read_bytes())
    (folder / "files" / "secret.key").write_text("a secret")
    child = {"rel": "child", "href": "./forests/collection.json", "type": "application/json"}
    _write_json(folder / "catalogs" / "catalog.json", {"links": [child]})
    extent = {"spatial": {"bbox": [[19, 50, 21, 52]]}, "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]}}
    item = {"rel": "item", "href": "./one/one.json", "type": "application/json"}
    described = {"id": "forests", "license": "CC-BY-4.0", "extent": extent, "links": [item]}
    _write_json(folder / "catalogs" / "forests" / "collection.json", described)
    members = {"stac_version": "1.0.0", "id": "one", "collection": "forests", "bbox": [20, 51, 20, 51]}
    one = {**_scene("one", 20, 51), **members, "links": [{"rel": "collection", "href": "../collection.json"}]}
    one["assets"] = {"image": {"href": "https://example.org/one.tif", "type": "image/tiff"}}
    _write_json(folder / "catalogs" / "forests" / "one" / "one.json", one)
    scenes = [_scene(f"scene-{number}", 19 + number, 50 + number) for number in range(3)]
    _write_json(folder / "scenes.geojson", {"type": "FeatureCollection", "features": scenes})


def _scene(name: str, *place: float) -> dict[str, Any]:
    properties = {"name": name, "datetime": "2020-06-01T00:00:00Z"}
    return {"type": "Feature", "id": name, "properties": properties, "geometry": _point(*place)}


def _point(*place: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": list(place)}


def configuration(folder: Path, elsewhere: str) -> dict[str, Any]:
    """Return collections of pygeoapi's providers and ours, processes, and hidden ones; `elsewhere` is a WMS."""
    gauges = {
        "type": "feature", "name": "CSV", "data": str(folder / "gauges.csv"), "id_field": "id",
        "time_field": "seen", "geometry": {"x_field": "long", "y_field": "lat"},
    }  # fmt: skip
    lakes = {"type": "feature", "name": "GeoJSON", "data": str(folder / "lakes.geojson"), "id_field": "id"}
    tiles = {"type": "tile", "name": "MVT-tippecanoe", "data": str(folder / "tiles"), "format": _MVT}
    tiles["options"] = {"zoom": {"min": 0, "max": 1}, "schemes": ["WebMercatorQuad"]}
    records = {"type": "record", "name": "TinyDBCatalogue", "data": str(folder / "records.tinydb")}
    heat = {"type": "coverage", "name": "rasterio", "data": str(folder / "heat.tif"), "format": _GEOTIFF}
    painted = {"type": "map", "name": "WMSFacade", "data": f"{elsewhere}/wms", "format": _PNG}
    painted["options"] = {"layer": "lakes", "style": "default"}
    towns = {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider", "data": str(folder / "towns.gpkg")}
    cover = {"type": "coverage", "name": "plugins.cog.CogProvider", "data": str(folder / "cover.tif")}
    drawn = {**cover, "type": "map", "name": "plugins.cog_map.CogMapProvider", "format": _PNG}
    about = {"type": "text/html", "rel": "canonical", "title": "about", "href": "https://example.org/about"}
    archive = {"type": "application/zip", "rel": "enclosure", "title": "all", "href": f"{elsewhere}/all.zip"}
    soundings = {"type": "edr", "name": "soundings.Soundings", "data": str(folder)}
    files = {"type": "stac", "name": "FileSystem", "data": str(folder / "files"), "file_types": [".tif"]}
    catalogs = {"type": "stac", "name": "Hateoas", "data": str(folder / "catalogs"), "file_types": "catalog.json"}
    scenes = {**lakes, "data": str(folder / "scenes.geojson"), "time_field": "datetime"}
    period = {
        "spatial": _WORLD,
        "temporal": {"begin": datetime(2011, 3, 4, tzinfo=UTC), "end": datetime(2015, 3, 5, tzinfo=UTC)},
    }
    hello = {"type": "process", "processor": {"name": "HelloWorld"}}
    return {
        "server": {
            "languages": ["en-US"], "limits": {"default_items": 10, "max_items": 20},
            "manager": {
                "name": "TinyDB", "connection": str(folder / "jobs.tinydb"), "output_dir": str(folder / "outputs"),
            },
        },
        "logging": {"level": "ERROR"},
        "metadata": {
            "identification": {
                "title": "Beside", "description": "Two servers", "keywords": ["water"],
                "terms_of_service": "https://example.org/terms", "url": "https://example.org",
            },
            "license": {"name": "CC-BY 4.0", "url": "https://example.org/licence"},
            "provider": {"name": "They", "url": "https://example.org"},
            "contact": {"name": "They", "email": "they@example.org"},
        },
        "resources": {
            "gauges": _collection("Gauges", gauges, extents=period),
            "lakes": _collection("Lakes", {**lakes, "crs": SYSTEMS[:3]}, tiles),
            "shapes": _collection("Shapes", {**lakes, "data": str(folder / "shapes.geojson")}),
            "by/the/sea": _collection("Slashes", gauges),
            "linked": _collection("Linked", gauges, links=[about, archive]),
            "hidden": _collection("Hidden", gauges, visibility="hidden"),
            "records": _collection("Records", {**records, "id_field": "externalId", "time_field": "recordCreated"}),
            "heat": _collection("Heat", heat),
            "painted": _collection("Painted", painted),
            "towns": _collection("Towns", {**towns, "id_field": "code", "time_field": "founded", "crs": SYSTEMS}),
            "cover": _collection("Cover", {**cover, "format": _GEOTIFF}, drawn),
            "soundings": _collection("Soundings", soundings),
            "files": _collection("Files", files, kind="stac-collection", links=[about]),
            "catalogs": _collection("Catalogs", catalogs, kind="stac-collection"),
            "scenes": _collection("Scenes", scenes, kind="stac-collection"),
            "hidden-files": _collection("Hidden files", files, kind="stac-collection", visibility="hidden"),
            "hello-world": hello,
            "hidden-hello": {**hello, "visibility": "hidden"},
            "shapely-functions": {"type": "process", "processor": {"name": "ShapelyFunctions"}},
        },
    }  # fmt: skip


class Request(NamedTuple):
    """A request of the list, and the names of its allowed differences."""

    line: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: str | None
    differences: tuple[str, ...]


class Kind(NamedTuple):
    """A kind of differences: patterns of their places, of vanilla's value and of ours."""

    name: str
    place: str
    vanilla: str
    ours: str

    def is_of(self, difference: "Difference") -> bool:
        patterns = zip((self.place, self.vanilla, self.ours), difference, strict=True)
        return all(fnmatchcase(value, pattern) for pattern, value in patterns)


class Difference(NamedTuple):
    """A place in an answer, and the values of both servers."""

    place: str
    vanilla: str
    ours: str


def read_list(text: str) -> tuple[list[str], list[Request], dict[str, list[Kind]]]:
    """Return the names of differences allowed everywhere, the requests, and the kinds of differences by name."""
    everywhere: list[str] = []
    requests: list[Request] = []
    kinds: dict[str, list[Kind]] = {}
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in lines:
        if line.startswith("everywhere: "):
            everywhere = line.split()[1:]
        elif " | " in line:
            kind = Kind(*(part.strip() for part in line.split(" | ")))
            kinds.setdefault(kind.name, []).append(kind)
        elif line[0].isspace():
            last = requests[-1]
            requests[-1] = last._replace(differences=(*last.differences, *line.split()))
        else:
            requests.append(_read_request(line))
    return everywhere, requests, kinds


def _read_request(line: str) -> Request:
    asked, _, body = line.partition(" -- ")
    target, *options = asked.split(" -H ")
    method, path = target.split(" ")
    headers = dict(option.split(": ", 1) for option in options)
    if body:
        headers.setdefault("Content-Type", "application/json")
    return Request(line.strip(), method, path, headers, body or None, ())


def flattened(value: Any, at: str = "body") -> Iterator[tuple[str, str]]:
    """Yield each value of a document with its place, named by an id if there is one, for links by relation and type."""
    if isinstance(value, Mapping) and "rel" in value and "href" in value:
        yield at, value["href"]
    elif isinstance(value, Mapping):
        if not value:
            yield at, "{}"
        for name, member in value.items():
            yield from flattened("{moment}" if name in MOMENTS and member else member, f"{at}/{name}")
    elif isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value):
        names: dict[str, int] = {}
        for number, each in enumerate(value):
            name = _name_of(each) or str(number)
            names[name] = names.get(name, 0) + 1
            yield from flattened(each, f"{at}/{name}" + (f"~{names[name]}" if names[name] > 1 else ""))
    else:
        yield at, json.dumps(value, ensure_ascii=False)


def _name_of(member: Any) -> str | None:
    if not isinstance(member, Mapping):
        return None
    if isinstance(member.get("rel"), str):
        return f"{member['rel'].rpartition('/')[2]} {member.get('type', '')}".strip()
    name = member.get("id") or member.get("jobID")
    return None if name is None else str(name)


def parts_of(answer: httpx2.Response, base: str, job: str) -> dict[str, str]:
    """Return the compared parts of an answer: status, media type, headers, and the values of its body by place."""
    parts = {"status": str(answer.status_code), "type": answer.headers.get("Content-Type", ABSENT)}
    parts |= {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    if "Allow" in parts:
        parts["Allow"] = ", ".join(sorted(parts["Allow"].split(", ")))
    media_type = parts["type"].partition(";")[0]
    if answer.status_code >= httpx2.codes.BAD_REQUEST:
        parts["body"] = "an error" if answer.content else ""
    elif media_type.endswith("openapi+json") and answer.content:
        parts["body"] = f"OpenAPI {answer.json()['openapi']}"
    elif media_type.endswith("json") and answer.content:
        parts |= dict(flattened(answer.json()))
    elif media_type == "text/html" and answer.content:
        parts["body"] = "a page"
    elif media_type.startswith("image/tiff"):
        parts |= _pixels(answer.content)
    elif media_type.startswith("image/"):
        parts["body"] = answer.content[:100].decode("latin-1")
    else:
        parts["body"] = answer.text
    return {_plain(place, base, job): _plain(value, base, job) for place, value in parts.items()}


def _pixels(content: bytes) -> dict[str, str]:
    with rasterio.open(io.BytesIO(content)) as source:
        values = source.read()
        return {
            "body/size": f"{values.shape} {values.dtype}", "body/sum": str(values.sum(dtype="float64")),
            "body/place": f"{source.crs} {[round(n, 6) for n in source.transform[:6]]}",
        }  # fmt: skip


def _plain(text: str, base: str, job: str) -> str:
    text = text.replace(base, "{url}")
    return text.replace(job, "{job}") if job else text


def differences(vanilla: Mapping[str, str], ours: Mapping[str, str]) -> list[Difference]:
    """Return the differences of two answers; if only one of them is an error, only that of their status."""
    places: Sequence[str] = [*vanilla, *(place for place in ours if place not in vanilla)]
    if vanilla["status"][0] != ours["status"][0]:
        places = ["status"]
    found = (Difference(place, vanilla.get(place, ABSENT), ours.get(place, ABSENT)) for place in places)
    return [each for each in found if each.vanilla != each.ours]


class Asked:
    """A client of one server, with the last job that it created."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client
        self._base = str(client.base_url).rstrip("/")
        self._job = self._ended = ""

    def ask(self, request: Request) -> dict[str, str]:
        """Return the parts of the answer; wait for the end of its job."""
        body = None if request.body is None else request.body.encode()
        path = request.path.replace("{job}", self._job)
        answer = self._client.request(request.method, path, headers=dict(request.headers), content=body)
        noted = answer.headers.get("Location", "") + answer.headers.get("Link", "")
        if found := re.search(r"/jobs/([0-9a-f-]{36})", noted):
            self._job = found[1]
        return parts_of(answer, self._base, self._job)

    def is_at_work(self) -> bool:
        """Return whether the last job is unfinished."""
        if self._job == self._ended:
            return False
        answer = self._client.get(f"/jobs/{self._job}?f=json")
        if answer.status_code == httpx2.codes.OK and answer.json()["status"] in {"accepted", "running"}:
            return True
        self._ended = self._job
        return False
