"""QGIS with an API key in its authentication database reads polygons and pixels, without it none."""

import json
import os
from pathlib import Path
from typing import Any

from tests.clients.conftest import FILE, Guarded, run
from tests.clients.test_gdal import expected

PROGRAM = Path(__file__).parents[1] / "qgis" / "read_with_key.py"


def read(guarded: Guarded, profile: Path, *key: str) -> dict[str, Any]:
    """Return the layers as a newly installed QGIS reads them."""
    python = os.environ.get("QGIS_PYTHON", "/usr/bin/python3")
    profile.mkdir()
    done = run(python, str(PROGRAM), guarded.url, FILE, str(profile), *key, HOME=str(profile))
    assert done.returncode == 0, f"QGIS is needed (apt-get install python3-qgis): {done.stderr[-500:]}"
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_with_a_key_features_and_pixels_arrive(guarded: Guarded, tmp_path: Path) -> None:
    got = read(guarded, tmp_path / "profile", guarded.key_id, guarded.secret)
    assert got == {"features": 9, "pixels": expected().tobytes().hex()}


def test_without_a_key_nothing_arrives(guarded: Guarded, tmp_path: Path) -> None:
    assert read(guarded, tmp_path / "profile") == {"features": None, "pixels": None}


def test_with_a_wrong_key_nothing_arrives(guarded: Guarded, tmp_path: Path) -> None:
    assert read(guarded, tmp_path / "profile", guarded.key_id, guarded.secret[::-1]) == {
        "features": None,
        "pixels": None,
    }
