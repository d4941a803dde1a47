"""OGC API Features: items and one item."""
