"""The committed scripts of pages equal those built from their sources."""

import shutil
import subprocess
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[3] / "routes" / "pages"
MADE = (
    *("api.js", "api.js.map", "base.json", "licenses.txt", "map.css", "map.js", "map.js.map", "page.js", "page.js.map"),
    *("vendor/swagger-ui-bundle.js", "vendor/swagger-ui.css"),
)


@pytest.mark.full
def test_the_bundles_match_their_sources(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    shutil.copytree(PAGES / "scripts", scripts, ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "static").mkdir()
    for command in (["npm", "ci", "--ignore-scripts"], ["npm", "run", "build"]):
        done = subprocess.run(command, cwd=scripts, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    for name in MADE:
        assert (tmp_path / "static" / name).read_bytes() == (PAGES / "static" / name).read_bytes(), name


def test_scripts_are_small_and_licensed() -> None:
    own = sum(path.stat().st_size for path in (PAGES / "scripts").glob("*.js"))
    assert own < 100_000
    licences = (PAGES / "static" / "licenses.txt").read_text()
    assert {"ol ", "rbush ", "swagger-ui-dist ", "world-atlas "} <= {
        line[: line.find(" ") + 1] for line in licences.splitlines()
    }
