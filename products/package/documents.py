"""The documents beside a delivered file: ISO 19139 XML (ISO 19115 and 19119, as INSPIRE uses it), a STAC 1.1.0 item."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import shapely

from products.classes import Classes
from products.outline import Polygonal
from products.package.metadata import Metadata

_NAMESPACES = {
    "gmd": "http://www.isotc211.org/2005/gmd",
    "gco": "http://www.isotc211.org/2005/gco",
    "gml": "http://www.opengis.net/gml/3.2",
    "xlink": "http://www.w3.org/1999/xlink",
}
_CODES = "http://standards.iso.org/iso/19139/resources/gmxCodelists.xml"
_CRS = "http://www.opengis.net/def/crs/EPSG/0/"
for _prefix, _address in _NAMESPACES.items():
    ET.register_namespace(_prefix, _address)


def write_metadata(metadata: Metadata, folder: Path) -> tuple[Path, ...]:
    """Write `{name}.xml` (ISO 19139) and `{name}.json` (a STAC item)."""
    xml, item = folder / f"{metadata.name}.xml", folder / f"{metadata.name}.json"
    xml.write_bytes(iso_document(metadata))
    item.write_text(_as_json(stac_item(metadata)))
    return xml, item


def _as_json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def iso_document(metadata: Metadata) -> bytes:
    """Return the document in UTF-8."""
    day = metadata.created.date().isoformat()
    root = _element(
        "gmd:MD_Metadata",
        _text("gmd:fileIdentifier", metadata.name),
        _element("gmd:language", _code("gmd:LanguageCode", "eng")),
        _element("gmd:characterSet", _code("gmd:MD_CharacterSetCode", "utf8")),
        _element("gmd:hierarchyLevel", _code("gmd:MD_ScopeCode", "dataset")),
        _element("gmd:contact", _party(metadata.source)),
        _element("gmd:dateStamp", _leaf("gco:Date", day)),
        _text("gmd:metadataStandardName", "ISO 19115:2003/19139"),
        _text("gmd:metadataStandardVersion", "1.0"),
        _element("gmd:referenceSystemInfo", _reference_system(metadata.epsg)),
        _element("gmd:identificationInfo", _identification(metadata, day)),
        _element("gmd:distributionInfo", _distribution(metadata)),
        _element("gmd:dataQualityInfo", _quality(metadata)),
    )
    ET.indent(root, " ")
    return bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True)) + b"\n"


def _identification(metadata: Metadata, day: str) -> ET.Element:
    kind = "vector" if metadata.resolution is None else "grid"
    return _element(
        "gmd:MD_DataIdentification",
        _element("gmd:citation", _citation(metadata, day)),
        _text("gmd:abstract", metadata.abstract),
        _element("gmd:pointOfContact", _party(metadata.source)),
        _element("gmd:resourceConstraints", _constraints(metadata)),
        _element("gmd:spatialRepresentationType", _code("gmd:MD_SpatialRepresentationTypeCode", kind)),
        *_resolution(metadata.resolution),
        _element("gmd:language", _code("gmd:LanguageCode", "eng")),
        _element("gmd:topicCategory", _leaf("gmd:MD_TopicCategoryCode", "imageryBaseMapsEarthCover")),
        _element("gmd:extent", _extent(metadata)),
        *_supplement(metadata),
    )


def _supplement(metadata: Metadata) -> list[ET.Element]:
    known = f"SHA-256 of {metadata.file}: {metadata.sha256}"
    return [_text("gmd:supplementalInformation", known)] if metadata.sha256 else []


def _citation(metadata: Metadata, day: str) -> ET.Element:
    return _element(
        "gmd:CI_Citation",
        _text("gmd:title", metadata.title),
        _element(
            "gmd:date",
            _element(
                "gmd:CI_Date",
                _element("gmd:date", _leaf("gco:Date", day)),
                _element("gmd:dateType", _code("gmd:CI_DateTypeCode", "creation")),
            ),
        ),
        _element("gmd:identifier", _element("gmd:MD_Identifier", _text("gmd:code", metadata.name))),
    )


def _constraints(metadata: Metadata) -> ET.Element:
    return _element(
        "gmd:MD_LegalConstraints",
        _text("gmd:useLimitation", metadata.attribution),
        _element("gmd:accessConstraints", _code("gmd:MD_RestrictionCode", "otherRestrictions")),
        _element("gmd:useConstraints", _code("gmd:MD_RestrictionCode", "license")),
        _text("gmd:otherConstraints", metadata.licence or "not stated"),
    )


def _resolution(metres: float | None) -> list[ET.Element]:
    if metres is None:
        return []
    distance = _element("gmd:distance", _leaf("gco:Distance", f"{metres:g}", uom="m"))
    return [_element("gmd:spatialResolution", _element("gmd:MD_Resolution", distance))]


def _extent(metadata: Metadata) -> ET.Element:
    west, south, east, north = metadata.geometry.bounds
    sides = {"westBoundLongitude": west, "eastBoundLongitude": east}
    sides |= {"southBoundLatitude": south, "northBoundLatitude": north}
    box = [_element(f"gmd:{name}", _leaf("gco:Decimal", f"{value:.7f}")) for name, value in sides.items()]
    period = _element(
        "gml:TimePeriod",
        _leaf("gml:beginPosition", f"{metadata.year}-01-01"),
        _leaf("gml:endPosition", f"{metadata.year}-12-31"),
    )
    period.set(_name("gml:id"), "period")
    temporal = _element("gmd:EX_TemporalExtent", _element("gmd:extent", period))
    return _element(
        "gmd:EX_Extent",
        _element("gmd:geographicElement", _element("gmd:EX_GeographicBoundingBox", *box)),
        _element("gmd:temporalElement", temporal),
    )


def _distribution(metadata: Metadata) -> ET.Element:
    name, version = ("GeoTIFF", "1.1") if metadata.resolution is not None else ("GeoPackage", "1.3")
    file_format = _element("gmd:MD_Format", _text("gmd:name", name), _text("gmd:version", version))
    size = _element("gmd:transferSize", _leaf("gco:Real", f"{metadata.size / 1e6:.6f}"))
    return _element(
        "gmd:MD_Distribution",
        _element("gmd:distributionFormat", file_format),
        _element("gmd:transferOptions", _element("gmd:MD_DigitalTransferOptions", size)),
    )


def _quality(metadata: Metadata) -> ET.Element:
    scope = _element("gmd:DQ_Scope", _element("gmd:level", _code("gmd:MD_ScopeCode", "dataset")))
    step = f"Coordinate operation: {metadata.operation}; accuracy {metadata.accuracy:g} m."
    lineage = _element(
        "gmd:LI_Lineage",
        _text("gmd:statement", metadata.lineage),
        _element("gmd:processStep", _element("gmd:LI_ProcessStep", _text("gmd:description", step))),
        _element("gmd:source", _element("gmd:LI_Source", _text("gmd:description", metadata.source))),
    )
    return _element("gmd:DQ_DataQuality", _element("gmd:scope", scope), _element("gmd:lineage", lineage))


def _reference_system(epsg: int) -> ET.Element:
    code = _element("gmd:RS_Identifier", _text("gmd:code", f"{_CRS}{epsg}"), _text("gmd:codeSpace", "EPSG"))
    return _element("gmd:MD_ReferenceSystem", _element("gmd:referenceSystemIdentifier", code))


def _party(organisation: str) -> ET.Element:
    return _element(
        "gmd:CI_ResponsibleParty",
        _text("gmd:organisationName", organisation),
        _element("gmd:role", _code("gmd:CI_RoleCode", "pointOfContact")),
    )


def _name(qualified: str) -> str:
    prefix, _, local = qualified.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


def _element(name: str, *children: ET.Element) -> ET.Element:
    element = ET.Element(_name(name))
    element.extend(children)
    return element


def _leaf(name: str, text: str, **attributes: str) -> ET.Element:
    element = ET.Element(_name(name), attributes)
    element.text = text
    return element


def _text(name: str, text: str) -> ET.Element:
    return _element(name, _leaf("gco:CharacterString", text))


def _code(name: str, value: str) -> ET.Element:
    return _leaf(name, value, codeList=f"{_CODES}#{name.partition(':')[2]}", codeListValue=value)


PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
_EXTENSIONS = (PROJECTION, FILE, CLASSIFICATION)
_MOST_POINTS = 2_000
_FIRST_TOLERANCE, _LAST_TOLERANCE = 1e-4, 10.0
_SHA256 = "1220"
"""What a multihash of SHA-256 begins with: its code and its length in bytes."""


def stac_item(metadata: Metadata) -> dict[str, Any]:
    """Return the item; its one asset is the file, beside which it lies. A long outline is simplified."""
    geometry = _light(metadata.geometry)
    licence = [{"rel": "license", "href": metadata.licence}] if metadata.licence else []
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": metadata.name,
        "geometry": shapely.geometry.mapping(geometry),
        "bbox": list(geometry.bounds),
        "properties": _properties(metadata),
        "links": licence,
        "assets": {"data": _asset(metadata)},
    }


def _properties(metadata: Metadata) -> dict[str, Any]:
    resolution = {} if metadata.resolution is None else {"gsd": metadata.resolution}
    return {
        "datetime": None,
        "start_datetime": f"{metadata.year}-01-01T00:00:00Z",
        "end_datetime": f"{metadata.year}-12-31T23:59:59Z",
        "created": metadata.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "title": metadata.title,
        "description": metadata.abstract,
        "license": "other",
        "attribution": metadata.attribution,
        "source": metadata.source,
        "lineage": metadata.lineage,
        "operation": metadata.operation,
        "operation_accuracy": metadata.accuracy,
        "proj:code": f"EPSG:{metadata.epsg}",
        **resolution,
    }


def _asset(metadata: Metadata) -> dict[str, Any]:
    return {
        "href": f"./{metadata.file}",
        "type": metadata.media_type,
        "title": metadata.title,
        "roles": ["data"],
        "file:size": metadata.size,
        "file:checksum": _SHA256 + metadata.sha256,
        "classification:classes": stac_classes(metadata.classes),
    }


def stac_classes(classes: Classes) -> list[dict[str, Any]]:
    """Return classes as the classification extension has them; `name` has ASCII letters, digits and `-` only."""
    return [
        {
            "value": each.value,
            "name": "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in each.name.lower()),
            "title": each.name,
            "color_hint": each.hex[1:].upper(),
        }
        for each in classes
    ]


def _light(geometry: Polygonal) -> Polygonal:
    """Return an outline of few points; of many parts, which no tolerance makes few, what lies around them."""
    tolerance, light = _FIRST_TOLERANCE, geometry
    while shapely.get_num_coordinates(light) > _MOST_POINTS and tolerance < _LAST_TOLERANCE:
        light = shapely.simplify(light, tolerance)
        tolerance *= 4
    if shapely.get_num_coordinates(light) <= _MOST_POINTS:
        return light
    around: Polygonal = shapely.simplify(shapely.convex_hull(geometry), _FIRST_TOLERANCE)
    return around if shapely.get_num_coordinates(around) <= _MOST_POINTS else shapely.box(*geometry.bounds)
