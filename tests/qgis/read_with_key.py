"""Print the data that QGIS reads from a server, with or without an API key in its authentication database.

usage: read_with_key.py URL FILE PROFILE [KEY_ID SECRET]; PROFILE is an empty folder. Prints JSON: the number of
features of `parks`, and the 64 x 64 pixels at column 33,656, row 45,127 of FILE as hexadecimal; null for missing
data.
"""

import json
import os
import sys

url, file, profile, *key = sys.argv[1:]
os.environ["QGIS_AUTH_DB_DIR_PATH"] = profile

from qgis.core import QgsApplication, QgsAuthMethodConfig, QgsRasterLayer, QgsRectangle, QgsVectorLayer  # noqa: E402 -- it reads the variable

application = QgsApplication([], False, profile)  # noqa: FBT003 - C++ takes it by position
application.initQgis()
authcfg = ""
if key:
    manager = application.authManager()
    manager.setMasterPassword("of this test", True)  # noqa: FBT003 - C++ takes it by position
    basic = QgsAuthMethodConfig("Basic")
    basic.setName("landcast")
    basic.setConfig("username", key[0])
    basic.setConfig("password", key[1])
    if not manager.storeAuthenticationConfig(basic)[0]:
        sys.exit("QGIS does not store the key")
    authcfg = f" authcfg='{basic.id()}'"

vector = QgsVectorLayer(f"url='{url}' typename='parks'{authcfg}", "parks", "OAPIF")
raster = QgsRasterLayer(f"/vsicurl/{url}{file}{authcfg}", "raster", "gdal")
pixels = None
if raster.isValid():
    west, north = raster.extent().xMinimum() + 336_560, raster.extent().yMaximum() - 451_270
    area = QgsRectangle(west, north - 640, west + 640, north)
    block = raster.dataProvider().block(1, area, 64, 64)  # kept, as its data are a view of it
    pixels = bytes(block.data()).hex()
sys.stdout.write(
    json.dumps({"features": len(list(vector.getFeatures())) if vector.isValid() else None, "pixels": pixels})
)
del vector, raster
application.exitQgis()
