"""Plugins of an operator: a tile provider and an EDR provider, as the text of a module or of its end."""

TILED_AND_RETRIEVED = """
from types import SimpleNamespace
from pygeoapi.provider.base_edr import BaseEDRProvider
from pygeoapi.provider.tile import BaseTileProvider


class Tiled(BaseTileProvider):
    tile_type = "vector"

    def get_layer(self):
        return "layer"

    def get_tiling_schemes(self):
        return [SimpleNamespace(tileMatrixSet="WebMercatorQuad", tileMatrixSetURI="http://x/WebMercatorQuad", crs="c")]

    def get_tiles_service(self, baseurl=None, servicepath=None, **_):
        return {"links": [{"href": servicepath, "rel": "item", "type": "application/vnd.mapbox-vector-tile"}]}

    def get_tiles(self, layer=None, tileset=None, z=None, y=None, x=None, format_=None):
        return None if x == "9" else f"{tileset} {z} {y} {x}".encode()

    def get_metadata(self, tileset=None, **_):
        return {"tileset": tileset}


class Retrieved(BaseEDRProvider):
    made = 0

    def __init__(self, definition):
        super().__init__(definition)
        Retrieved.made += 1

    def position(self, **asked):
        return {"type": "Coverage", "at": asked["wkt"].wkt, "parameters": asked["select_properties"]}

    def get_fields(self):
        return {"t": {"type": "number", "title": "t", "x-ogc-unit": "K"}}

    @property
    def fields(self):
        return self.get_fields()
"""
