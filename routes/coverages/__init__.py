"""OGC API Coverages and Maps: coverage, map and the file of a collection."""
