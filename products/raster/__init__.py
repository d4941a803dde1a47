"""The raster product: a Cloud-Optimized GeoTIFF of one byte per pixel."""
