"""A delivered file as ISO 19139 XML (ISO 19115 and 19119 in the gmd schemas), as INSPIRE uses it."""

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
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


def iso_document(metadata: "Metadata") -> bytes:
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


def _identification(metadata: "Metadata", day: str) -> ET.Element:
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
        _text("gmd:supplementalInformation", f"SHA-256 of {metadata.file}: {metadata.sha256}"),
    )


def _citation(metadata: "Metadata", day: str) -> ET.Element:
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


def _constraints(metadata: "Metadata") -> ET.Element:
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


def _extent(metadata: "Metadata") -> ET.Element:
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


def _distribution(metadata: "Metadata") -> ET.Element:
    name, version = ("GeoTIFF", "1.1") if metadata.resolution is not None else ("GeoPackage", "1.3")
    file_format = _element("gmd:MD_Format", _text("gmd:name", name), _text("gmd:version", version))
    size = _element("gmd:transferSize", _leaf("gco:Real", f"{metadata.size / 1e6:.6f}"))
    return _element(
        "gmd:MD_Distribution",
        _element("gmd:distributionFormat", file_format),
        _element("gmd:transferOptions", _element("gmd:MD_DigitalTransferOptions", size)),
    )


def _quality(metadata: "Metadata") -> ET.Element:
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
