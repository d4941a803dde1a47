"""A configuration with products on rasters and polygons of its own: two years of one series, one of another."""

from pathlib import Path
from typing import Any

from affine import Affine
from starlette.testclient import TestClient

from products.catalogue import read_configuration
from products.vector.layer import Column
from tests.conftest import ROOT, URL
from tests.odd import geopackages as odd
from tests.odd.rasters import classes, gdal_cog

WHERE = {"north": (4_900_000.0, 3_100_000.0), "south": (4_900_000.0, 2_100_000.0)}
"""West and north of the rasters in EPSG:3035."""
BOXES = {"north": [18.2, 50.65, 18.31, 50.72], "south": [16.94, 41.69, 17.02, 41.77]}
WIDTH, HEIGHT = 600, 700


def _raster(folder: Path, name: str, place: str, seed: int) -> dict[str, Any]:
    west, north = WHERE[place]
    path = gdal_cog(
        folder / f"{name}.tif", classes(HEIGHT, WIDTH, seed=seed), transform=Affine(10, 0, west, 0, -10, north)
    )
    return {"type": "coverage", "name": "plugins.cog.CogProvider", "data": str(path)}


def collection(title: str, box: list[float], provider: dict[str, Any], year: int | None = None) -> dict[str, Any]:
    """Return a collection; with a year it has that time."""
    times = {"temporal": {"begin": f"{year}-01-01T00:00:00Z", "end": f"{year}-12-31T23:59:59Z"}} if year else {}
    described = {"title": title, "description": f"About {title}.", "keywords": [title.lower(), "europe"]}
    return {"type": "collection", **described, "extents": {"spatial": {"bbox": box}, **times}, "providers": [provider]}


def catalogued(folder: Path) -> dict[str, Any]:
    """Return the configuration, with its files in the folder."""
    document = read_configuration(ROOT / "pygeoapi-config.yml")
    odd.by_us(folder / "lakes.gpkg", [Column("name", "TEXT")], [("First",), ("Second",)])
    lakes = {"type": "feature", "name": "plugins.geopackage.GeoPackageProvider", "data": str(folder / "lakes.gpkg")}
    records = {"type": "record", "name": "plugins.records.RecordProvider", "data": {"collections": ["wet/lakes"]}}
    document["resources"] = {
        "cover-2018": collection("Cover 2018", BOXES["north"], _raster(folder, "cover 2018", "north", 1), 2018),
        "cover-2021": collection("Cover 2021", BOXES["north"], _raster(folder, "cover-2021", "north", 2), 2021),
        "south": collection("Southern forest", BOXES["south"], _raster(folder, "south", "south", 3), 2021),
        "wet/lakes": collection("Lakes", [20, 49, 22, 53], lakes),
        "records": collection("Catalogue", [-30, 30, 45, 72], records),
        "extract-product": {"type": "process", "processor": {"name": "processes.extract_product.ExtractProduct"}},
    }
    named = {"attribution": "Contains <data> of the Survey", "version": "V2"}
    document["products"] = {
        "cover-18": {**named, "title": "Land cover 2018", "year": 2018, "raster": "cover-2018", "series": "cover"},
        "cover-21": {
            **named,
            "title": "Land cover 2021",
            "year": 2021,
            "raster": "cover-2021",
            "series": "cover",
            "abstract": "Classes of  the ground, from Sentinel-2.",
            "licence": "https://survey.example/licence",
        },
        "forest": {
            **named,
            "title": "Forests",
            "year": 2021,
            "raster": "south",
            "series": "forest",
            "classes": [
                {"value": 1, "name": "Dense forest", "colour": "#008800"},
                {"value": 2, "name": "Open, with grass", "colour": "#88cc00"},
            ],
        },
    }
    document["metadata"] |= {
        "provider": {"name": "The Survey", "url": "https://survey.example"},
        "contact": {"name": "Ms Novak", "email": "novak@survey.example"},
        "license": {"name": "CC BY 4.0", "url": "https://creativecommons.example/by/4.0"},
    }
    return document


def get(client: TestClient, path: str, **headers: str) -> Any:
    """Return the JSON of a path or an address of ours."""
    answer = client.get(path.removeprefix(URL), headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(document: Any) -> list[str]:
    """Return the ids of its features."""
    return [each["id"] for each in document["features"]]
