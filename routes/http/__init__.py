"""HTTP: headers, bodies, ranges, problems; independent of land cover."""
