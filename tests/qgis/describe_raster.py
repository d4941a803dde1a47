"""Print how QGIS reads a raster and the style beside it: `/usr/bin/python3 describe_raster.py FILE.tif`."""

import json
import sys

from qgis.core import QgsApplication, QgsRasterLayer

application = QgsApplication([], False)  # noqa: FBT003 -- Qt has no name for it
application.initQgis()
layer = QgsRasterLayer(sys.argv[1], "product")
message, loaded = layer.loadNamedStyle(sys.argv[1].removesuffix(".tif") + ".qml")
renderer = layer.renderer()
provider = layer.dataProvider()
sys.stdout.write(
    json.dumps(
        {
            "valid": layer.isValid(),
            "style": loaded,
            "message": message,
            "crs": layer.crs().authid(),
            "renderer": renderer.type(),
            "size": [layer.width(), layer.height()],
            "nodata": provider.sourceNoDataValue(1),
            "classes": {str(int(entry.value)): [entry.label, entry.color.name()] for entry in renderer.classes()},
        }
    )
)
del layer, renderer, provider
application.exitQgis()
