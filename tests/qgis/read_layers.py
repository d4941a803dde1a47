"""Print the layers of a server in QGIS as JSON: name -> [[attributes by name, WKT or null], …], null if missing.

usage: read_layers.py URL PROFILE LAYER…; PROFILE is an empty folder.
"""

import json
import sys

from qgis.core import QgsApplication, QgsVectorLayer

url, profile, *names = sys.argv[1:]
application = QgsApplication([], False, profile)  # noqa: FBT003 - C++ takes it by position
application.initQgis()


def plain(value):  # noqa: ANN001, ANN201 -- the system's Python runs it, with no types of ours
    if hasattr(value, "toPyDate"):
        value = value.toPyDate()
    return value if value is None or isinstance(value, (int, float, str, bool)) else str(value)


found = {}
for name in names:
    layer = QgsVectorLayer(f"url='{url}' typename='{name}'", name, "OAPIF")
    found[name] = None
    if layer.isValid():
        fields = layer.fields().names()
        found[name] = [
            [
                dict(zip(fields, map(plain, feature.attributes()))),  # noqa: B905 -- Debian's Python may be older
                feature.geometry().asWkt(3) if feature.hasGeometry() else None,
            ]
            for feature in layer.getFeatures()
        ]
    del layer
sys.stdout.write(json.dumps(found))
application.exitQgis()
