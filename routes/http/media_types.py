"""The media types of answers that several routes give."""

GEOJSON = "application/geo+json"
JSON_LD = "application/ld+json"
SCHEMA = "application/schema+json"
COVERAGE_JSON = "application/prs.coverage+json"
GEOTIFF = "image/tiff; application=geotiff"
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
