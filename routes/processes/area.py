"""The polygons of a file that a caller sends, as the area of an order: read by a child process."""

import json
import logging
import os
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from auth.access import Action
from routes.guard import GuardedRoute, OnProcesses
from routes.http.body import media_type_of, read_body
from routes.http.media_types import GEOJSON
from routes.http.problem import Problem
from routes.query.parameters import allow_parameters
from routes.resources import resources_of

UPLOADED = (
    "application/octet-stream",
    GEOJSON,
    "application/json",
    "application/geopackage+sqlite3",
    "application/zip",
    "application/vnd.google-earth.kml+xml",
    "application/vnd.google-earth.kmz",
)
"""The media types of a file that is sent; what it is, its first bytes say."""
_UNPACKED = 10
"""How many times the bytes of a file an archive may have unpacked."""
_SECONDS = 60
_ROOT = Path(__file__).parents[2]
"""Where the packages are, for the child."""
_LOGGER = logging.getLogger(__name__)


async def _read_file(request: Request) -> bytes:
    """Return the file. Raises Problem 415 for a media type that no file has, 413 for a large one."""
    if (media_type := media_type_of(request)) not in UPLOADED:
        detail = f"Content-Type: {media_type[:80]!r}; allowed: {', '.join(UPLOADED)}"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, headers={"Accept-Post": ", ".join(UPLOADED)})
    largest = resources_of(request).largest_upload
    try:
        return await read_body(request, largest)
    except Problem as error:
        error.detail = f"The file is larger than {largest / 1e6:,.6g} MB, which is the most that is read here."
        raise


def read_area_of_file(request: Request) -> Response:
    """Answer with the polygons of the file as one Feature in longitude and latitude, as an order takes it."""
    allow_parameters(request)
    unpacked = _UNPACKED * resources_of(request).largest_upload
    with TemporaryDirectory(prefix="landcast-upload-") as folder:
        path = Path(folder) / "area"
        path.write_bytes(request.state.body)
        answer = _child(path, unpacked)
    if "status" in answer:
        raise Problem(HTTPStatus(answer["status"]), answer["detail"])
    return Response(json.dumps(answer), media_type=GEOJSON)


def _child(path: Path, unpacked: int) -> dict[str, Any]:
    """Return what the child wrote; it gets nothing of the server's environment. Raises Problem where it failed."""
    environment = {"PATH": os.defpath, "TMPDIR": str(path.parent), "PROJ_NETWORK": "OFF", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "products.vector.upload", str(path), str(unpacked)]
    try:
        done = subprocess.run(  # noqa: S603 - a program of ours
            command, capture_output=True, cwd=_ROOT, env=environment, timeout=_SECONDS, check=True
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        said = (error.stderr or b"").decode(errors="replace")[-2_000:]
        _LOGGER.warning("a file could not be read as an area: %s %s", error, said)
        detail = "Reading the file takes too long, or too much memory. Simplify its polygons, or send fewer."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail) from error
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


routes = [
    GuardedRoute(
        "/area",
        read_area_of_file,
        needs=OnProcesses(Action.EXECUTE),
        threads="heavy",
        body=_read_file,
        methods=["POST"],
    )
]
