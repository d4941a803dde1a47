"""Write GeoPackages as QGIS does: `write_layers.py FOLDER`; points.gpkg and, in a custom CRS, own.gpkg."""

import sys
from pathlib import Path

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsGeometry,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

folder = Path(sys.argv[1])
application = QgsApplication([], False)  # noqa: FBT003 - C++ takes it by position
application.initQgis()
own = QgsCoordinateReferenceSystem.fromProj("+proj=laea +lat_0=52.2 +lon_0=21 +x_0=0 +y_0=0 +ellps=GRS80 +units=m")
fields = "field=name:string&field=limit:integer&field=f:string&field=day:date&field=truth:boolean"
for name, crs, outlines in (
    ("points", QgsCoordinateReferenceSystem("EPSG:4326"), ("PointZ (21 52.2 100)", None)),
    ("own", own, ("CurvePolygon (CircularString (-100 0, 100 0, -100 0))", "Polygon ((0 0, 9 0, 9 9, 0 0))")),
):
    layer = QgsVectorLayer(f"{'PointZ' if name == 'points' else 'CurvePolygon'}?{fields}", name, "memory")
    layer.setCrs(crs)
    made = []
    for number, outline in enumerate(outlines, 1):
        feature = QgsFeature(layer.fields())
        feature.setAttributes([f"no {number}", number, "x", f"2023-0{number}-01", number == 1])
        if outline:
            feature.setGeometry(QgsGeometry.fromWkt(outline))
        made.append(feature)
    layer.dataProvider().addFeatures(made)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.layerName = "GPKG", name
    error = QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, str(folder / f"{name}.gpkg"), QgsCoordinateTransformContext(), options
    )
    if error[0] != QgsVectorFileWriter.NoError:
        sys.exit(str(error))
    del layer
application.exitQgis()
