"""The vector product: a GeoPackage of polygons, one a connected area of equal class."""
