"""HTTP itself: headers, bodies, ranges, problems. Nothing here knows of land cover."""
