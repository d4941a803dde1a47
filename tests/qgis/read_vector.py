"""Print, as JSON, how QGIS shows a layer: value -> [colour, label]. Run it with the system's Python.

usage: read_vector.py LAYER [SLD]
"""

import json
import sys

from qgis.core import QgsApplication, QgsVectorLayer

application = QgsApplication([], False)  # noqa: FBT003 - C++ takes it by position
application.initQgis()
layer = QgsVectorLayer(sys.argv[1], "layer", "ogr")
if not layer.isValid():
    sys.exit("QGIS cannot open the layer")
if len(sys.argv) > 2:
    message, fine = layer.loadSldStyle(sys.argv[2])
    if not fine:
        sys.exit(message)
renderer = layer.renderer()
shown = {"type": renderer.type(), "count": layer.featureCount()}
if renderer.type() == "categorizedSymbol":
    shown["attribute"] = renderer.classAttribute()
    shown["classes"] = {
        str(category.value()): [category.symbol().color().name(), category.label()]
        for category in renderer.categories()
    }
if renderer.type() == "RuleRenderer":
    shown["classes"] = {
        rule.filterExpression(): [rule.symbol().color().name(), rule.label()] for rule in renderer.rootRule().children()
    }
sys.stdout.write(json.dumps(shown))
del renderer, layer
application.exitQgis()
