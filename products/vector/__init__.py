"""The vector product: a GeoPackage with a polygon for each connected area of equal class."""
