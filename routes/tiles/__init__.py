"""OGC API Tiles: map tiles of coverages in the colours of their classes, styles, legends; WMTS 1.0.0."""
