"""The small files beside a class raster with its position, colours, classes and counts for other programs."""

import struct
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from affine import Affine

from products.classes import Classes, by_value

Counts = Sequence[int]
"""Number of pixels by value, 256 of them."""

_COLUMNS = (
    ("VALUE", "N", 10),
    ("COUNT", "N", 18),
    ("CLASS", "C", 50),
    ("RED", "N", 3),
    ("GREEN", "N", 3),
    ("BLUE", "N", 3),
)
_RAT_COLUMNS = (("VALUE", 0, 5), ("COUNT", 0, 1), ("CLASS", 2, 2), ("RED", 0, 6), ("GREEN", 0, 7), ("BLUE", 0, 8))
_DBASE_3 = 3
_HEADER_END, _FILE_END, _RECORD = b"\r", b"\x1a", b" "
_EPOCH = (126, 1, 1)


def world_file(transform: Affine) -> str:
    """Return the world file: pixel size, rotation, and the centre of the upper left pixel."""
    x, y = transform @ (0.5, 0.5)
    terms = (transform.a, transform.d, transform.b, transform.e, x, y)
    return "".join(f"{term:.10f}\n" for term in terms)


def colour_map(classes: Classes) -> str:
    """Return ESRI's colour map: value, red, green, blue."""
    return "".join(f"{land_cover.value} {' '.join(map(str, land_cover.rgb))}\n" for land_cover in classes)


def qgis_style(classes: Classes) -> str:
    """Return the QGIS style: a palette of all classes with their names."""
    entries = "".join(
        f'<paletteEntry value="{land_cover.value}" color="{land_cover.hex}" alpha="255"'
        f" label={quoteattr(land_cover.name)}/>\n"
        for land_cover in classes
    )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22" styleCategories="Symbology">\n<pipe>\n'
        '<rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">\n'
        f"<rasterTransparency/>\n<colorPalette>\n{entries}</colorPalette>\n"
        "</rasterrenderer>\n</pipe>\n<blendMode>0</blendMode>\n</qgis>\n"
    )


def attribute_table(counts: Counts, classes: Classes) -> bytes:
    """Return the value attribute table as dBASE III in UTF-8: a record for each class that occurs."""
    records = [_record(row) for row in _rows(counts, classes)]
    length = 1 + sum(width for _, _, width in _COLUMNS)
    head = struct.pack(
        "<B3BIHH20x", _DBASE_3, *_EPOCH, len(records), 32 + 32 * len(_COLUMNS) + len(_HEADER_END), length
    )
    columns = [struct.pack("<11sc4xB15x", name.encode(), kind.encode(), width) for name, kind, width in _COLUMNS]
    return b"".join([head, *columns, _HEADER_END, *records, _FILE_END])


def auxiliary(counts: Counts, classes: Classes) -> str:
    """Return GDAL's `.aux.xml`: histogram, names of the values, and the attribute table."""
    known = by_value(classes)
    names = "".join(
        f"<Category>{escape(known[value].name if value in known else '')}</Category>\n" for value in range(255)
    )
    columns = "".join(
        f'<FieldDefn index="{index}"><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>\n'
        for index, (name, kind, usage) in enumerate(_RAT_COLUMNS)
    )
    rows = "".join(
        f'<Row index="{index}">{"".join(f"<F>{escape(str(value))}</F>" for value in row)}</Row>\n'
        for index, row in enumerate(_rows(counts, classes))
    )
    return (
        '<PAMDataset>\n<PAMRasterBand band="1">\n'
        "<Histograms><HistItem><HistMin>-0.5</HistMin><HistMax>255.5</HistMax><BucketCount>256</BucketCount>"
        "<IncludeOutOfRange>0</IncludeOutOfRange><Approximate>0</Approximate>"
        f"<HistCounts>{'|'.join(map(str, counts))}</HistCounts></HistItem></Histograms>\n"
        f"<CategoryNames>\n{names}</CategoryNames>\n"
        f'<GDALRasterAttributeTable tableType="thematic">\n{columns}{rows}</GDALRasterAttributeTable>\n'
        "</PAMRasterBand>\n</PAMDataset>\n"
    )


def _rows(counts: Counts, classes: Classes) -> Iterator[tuple[int, int, str, int, int, int]]:
    """Yield value, count, name and colour of each value that occurs; a value without a class is unnamed and black."""
    known = by_value(classes)
    for value, count in enumerate(counts):
        if count and (land_cover := known.get(value)):
            yield value, count, land_cover.name, *land_cover.rgb
        elif count:
            yield value, count, "", 0, 0, 0


def _record(row: Sequence[object]) -> bytes:
    cells = (
        str(value).encode()[:width].rjust(width) if kind == "N" else str(value).encode()[:width].ljust(width)
        for value, (_, kind, width) in zip(row, _COLUMNS, strict=True)
    )
    return _RECORD + b"".join(cells)
