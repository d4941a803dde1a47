"""What an answer with pixels says of its place and time."""

from collections.abc import Mapping
from typing import Any

from plugins.crs import Box
from routes.query.datetime import extent_of


def content_headers(box: Box, collection: Mapping[str, Any]) -> dict[str, str]:
    """Return Content-Crs, Content-Bbox in the order of its axes and, where it is known, Content-Datetime.

    OGC API Coverages /req/core/response-headers, OGC API Maps /req/core/map-response.
    """
    headers = {"Content-Crs": f"<{box.crs.uri}>", "Content-Bbox": ",".join(map(str, box.as_written))}
    begin, end = extent_of(collection)
    return {**headers, "Content-Datetime": f"{_written(begin)}/{_written(end)}"} if begin or end else headers


def _written(instant: Any) -> str:
    return instant.isoformat().replace("+00:00", "Z") if instant else ".."
