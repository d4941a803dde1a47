"""The styles of the vector product: a QGIS style and an SLD by class, and the names of the classes."""

from collections.abc import Iterable
from xml.sax.saxutils import escape

from products.classes import Classes, LandCoverClass

COLUMN = "class_code"
"""The attribute that the styles use."""

_OPAQUE = "255"


def qml(classes: Classes) -> str:
    """Return the QGIS style: a category for each class."""
    categories = _each(
        '<category symbol="{n}" value="{value}" label="{name}" render="true" type="long"/>', enumerate(classes)
    )
    symbols = _each(
        '<symbol name="{n}" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">'
        '<layer class="SimpleFill" enabled="1" locked="0" pass="0">'
        '<prop k="color" v="{rgba}"/><prop k="outline_style" v="no"/><prop k="style" v="solid"/>'
        "</layer></symbol>",
        enumerate(classes),
    )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22" styleCategories="Symbology">\n'
        f'<renderer-v2 type="categorizedSymbol" attr="{COLUMN}" symbollevels="0" enableorderby="0" forceraster="0">\n'
        f"<categories>\n{categories}\n</categories>\n<symbols>\n{symbols}\n</symbols>\n"
        "</renderer-v2>\n<layerGeometryType>2</layerGeometryType>\n</qgis>\n"
    )


def sld(layer: str, classes: Classes) -> str:
    """Return the Styled Layer Descriptor 1.0: a rule for each class."""
    rules = _each(
        "<Rule><Name>{name}</Name><Title>{name}</Title>"
        "<ogc:Filter><ogc:PropertyIsEqualTo>"
        f"<ogc:PropertyName>{COLUMN}</ogc:PropertyName><ogc:Literal>{{value}}</ogc:Literal>"
        "</ogc:PropertyIsEqualTo></ogc:Filter>"
        '<PolygonSymbolizer><Fill><CssParameter name="fill">{hex}</CssParameter></Fill></PolygonSymbolizer></Rule>',
        enumerate(classes),
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<StyledLayerDescriptor version="1.0.0" xmlns="http://www.opengis.net/sld"'
        ' xmlns:ogc="http://www.opengis.net/ogc">\n'
        f"<NamedLayer><Name>{escape(layer)}</Name><UserStyle><Title>Land cover</Title><FeatureTypeStyle>\n"
        f"{rules}\n"
        "</FeatureTypeStyle></UserStyle></NamedLayer>\n</StyledLayerDescriptor>\n"
    )


def legend(classes: Classes) -> str:
    """Return the classes as text, one on each line: code, tab, name."""
    return "".join(f"{land_cover.value}\t{land_cover.name}\n" for land_cover in classes)


def _each(template: str, numbered: Iterable[tuple[int, LandCoverClass]]) -> str:
    return "\n".join(
        template.format(
            n=n,
            value=land_cover.value,
            name=escape(land_cover.name, {'"': "&quot;"}),
            hex=land_cover.hex,
            rgba=",".join(map(str, (*land_cover.rgb, _OPAQUE))),
        )
        for n, land_cover in numbered
    )
