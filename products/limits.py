"""What one request or order may ask for, so that its cost is bounded before it starts."""

MAX_ORDER_KM2 = 5_000_000
"""Square kilometres on the ellipsoid that one order covers at most."""

MAX_PIXELS = 16_777_216
"""Pixels that one coverage or map request answers at most (4096 x 4096: 16 MiB)."""

MAX_FEATURES = 10_000
"""Features that one items request answers at most."""

MAX_VERTICES = 200_000
"""Vertices of an area that is ordered, at most: what checking it costs can grow with their square."""

MAX_OUTLINE_DEGREES = 5_000
"""Length of an area's outline in degrees at most; the outline of Norway's mainland is about 1,500."""

MAX_COUNTED_PIXELS = 1_000_000_000
"""Pixels of full resolution that statistics count at most (100,000 km2 at 10 m); above, an overview is counted."""

MAX_PLACES = 100
"""Features that one order of statistics covers at most."""
