#!/usr/bin/env python3
"""Write the list of components to docs/components.md: `make components`.

The packages are those of uv.lock, with the licences that their installed metadata declare. What the pages load is in
routes/pages/static/licenses.txt. The images are those that deploy/ names.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from packaging.markers import Marker

ALLOWED = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD", "CC0-1.0", "CNRI-Python", "HPND", "ISC"),
        *("LGPL", "LGPL-3.0-or-later", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense"),
        *("W3C", "Zlib"),
    }
)
"""The licences of packages: none asks for the source of what only imports it. All are free."""
ALLOWED_BESIDE = ALLOWED | {"AGPL-3.0-only", "GPL-2.0-or-later", "LicenseRef-DFSG", "PostgreSQL"}
"""Those of programs that run beside Landcast unchanged. All are free; LicenseRef-DFSG: by Debian's guidelines."""
LINUX = {"sys_platform": "linux", "python_full_version": "3.12.0", "platform_python_implementation": "CPython"}
"""What the list is made for, so that it is the same on each machine."""
_WITHOUT_METADATA = {
    "axe-playwright-python": "MIT AND MPL-2.0",
    "backports-zstd": "PSF-2.0",
    "geoalchemy": "MIT",
    "geoalchemy2": "MIT",
    "geopandas": "BSD-3-Clause",
    "pandas": "BSD-3-Clause",
    "pygeoapi-plugins": "MIT",
    "rdflib": "BSD-3-Clause",
    "redis": "MIT",
    "sparqlwrapper": "W3C",
}
"""The licences of packages whose metadata say none, or that are not installed for the tests."""
_IMAGES = {
    "docker.io/grafana/alloy": ("Grafana Alloy", "Apache-2.0", "https://github.com/grafana/alloy"),
    "docker.io/grafana/grafana": ("Grafana", "AGPL-3.0-only", "https://github.com/grafana/grafana"),
    "docker.io/grafana/loki": ("Grafana Loki", "AGPL-3.0-only", "https://github.com/grafana/loki"),
    "docker.io/library/debian": ("Debian", "LicenseRef-DFSG", "https://www.debian.org"),
    "docker.io/library/rabbitmq": ("RabbitMQ", "MPL-2.0", "https://www.rabbitmq.com"),
    "docker.io/library/traefik": ("Traefik", "MIT", "https://traefik.io/traefik"),
    "docker.io/postgis/postgis": ("PostgreSQL, PostGIS", "PostgreSQL AND GPL-2.0-or-later", "https://postgis.net"),
    "docker.io/prom/blackbox-exporter": (
        *("Prometheus blackbox exporter", "Apache-2.0", "https://github.com/prometheus/blackbox_exporter"),
    ),
    "docker.io/prom/node-exporter": (
        *("Prometheus node exporter", "Apache-2.0", "https://github.com/prometheus/node_exporter"),
    ),
    "docker.io/prom/prometheus": ("Prometheus", "Apache-2.0", "https://prometheus.io"),
    "gcr.io/cadvisor/cadvisor": ("cAdvisor", "Apache-2.0", "https://github.com/google/cadvisor"),
    "quay.io/keycloak/keycloak": ("Keycloak", "Apache-2.0", "https://www.keycloak.org"),
}
"""Technology, licence and address of an image; images whose name begins with `landcast` are our own."""
_PROGRAMS = (
    ("Caddy", "any", "Apache-2.0", "https://caddyserver.com"),
    ("nginx", "any", "BSD-2-Clause", "https://nginx.org"),
    ("OpenBao", "any", "MPL-2.0", "https://openbao.org"),
)
"""Programs of deploy/ that are in no image: technology, version, licence, address."""
_WORDS = {
    "apache": "Apache-2.0", "mit license": "MIT", "mit": "MIT", "bsd 3": "BSD-3-Clause", "3-clause": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause", "bsd-2": "BSD-2-Clause", "2-clause": "BSD-2-Clause", "bsd": "BSD", "mozilla": "MPL-2.0",
    "lesser general public": "LGPL", "lgpl": "LGPL", "isc": "ISC", "python software foundation": "PSF-2.0",
    "psf": "PSF-2.0", "unlicense": "Unlicense", "public domain": "CC0-1.0", "historical permission": "HPND",
}  # fmt: skip
"""What packages without an expression of SPDX say, and what it means."""
_BUNDLED = re.compile(r"^((?:@[\w.-]+/)?[\w.-]+) (\d+\.[\w.-]+), \S+:", re.MULTILINE)
_IMAGE = re.compile(
    r"(?:\bimage: *|\bFROM +|\brepository: *|^ARG BASE=)([\w.-]+(?:/[\w.-]+)*)(?::([\w.-]+))?", re.MULTILINE
)
_STAGE = re.compile(r"^FROM .* AS (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Component:
    """A technology, its version, its licences as SPDX names them, and its address."""

    name: str
    version: str
    licence: str
    link: str

    def refused(self, allowed: frozenset[str] = ALLOWED) -> list[str]:
        """Return the parts of its licence that are not allowed; of alternatives one is enough."""
        wanted = [part.strip(" ()") for part in re.split(r"\bAND\b", self.licence)]
        return [part for part in wanted if not {each.strip(" ()") for each in part.split(" OR ")} & allowed]


def locked_names(lock: Path, environment: Mapping[str, str], *, extras: bool, tests: bool) -> dict[str, str]:
    """Return the versions by name of the packages that `uv sync` installs in an environment."""
    packages = {each["name"]: each for each in tomllib.loads(lock.read_text())["package"]}
    root = packages["landcast"]
    wanted = [*root["dependencies"]]
    wanted += [each for group in root["optional-dependencies"].values() for each in group] if extras else []
    wanted += root["dev-dependencies"]["dev"] if tests else []
    seen = set[tuple[str, str]]()
    while wanted:
        each = wanted.pop()
        if "marker" in each and not Marker(each["marker"]).evaluate(dict(environment)):
            continue
        package = packages[each["name"]]
        for extra in ("", *each.get("extra", ())):
            if (each["name"], extra) not in seen:
                seen.add((each["name"], extra))
                of_extras = package.get("optional-dependencies", {})
                wanted += of_extras.get(extra, ()) if extra else package.get("dependencies", ())
    return {name: str(packages[name]["version"]) for name, _ in sorted(seen)}


def locked_components(versions: Mapping[str, str]) -> Iterator[Component]:
    """Yield the packages with their licences."""
    for name, version in versions.items():
        yield Component(name, version, _licence(name), f"https://pypi.org/project/{name}/")


def _licence(name: str) -> str:
    """Return the expression of SPDX, or what the classifiers or the text mean."""
    try:
        found: Any = metadata(name)
    except PackageNotFoundError:
        return _WITHOUT_METADATA.get(name, "unknown")
    if expression := found.get("License-Expression"):
        return str(expression)
    classifiers = [
        text.rpartition(" :: ")[2] for text in found.get_all("Classifier", []) if text.startswith("License ::")
    ]
    for text in (*classifiers, str(found.get("License", "")).strip().partition("\n")[0]):
        for word, licence in _WORDS.items():
            if re.search(rf"\b{re.escape(word)}", text.lower()):
                return licence
    return _WITHOUT_METADATA.get(name, "unknown")


def page_components(pages: Path) -> Iterator[Component]:
    """Yield the packages of npm that the pages load."""
    packages = json.loads((pages / "scripts/package-lock.json").read_text())["packages"]
    for name, version in _BUNDLED.findall((pages / "static/licenses.txt").read_text()):
        locked = packages[f"node_modules/{name}"]
        if locked["version"] != version:
            raise ValueError(f"{name}: {version} is bundled, {locked['version']} is locked")
        yield Component(name, version, locked["license"], f"https://www.npmjs.com/package/{name}")


def images(deploy: Path) -> dict[str, str]:
    """Return the tags by name of the images that the files of deploy/ name, without our own."""
    paths = sorted(path for folder in ("chart", "compose", "container") for path in (deploy / folder).rglob("*"))
    texts = [path.read_text() for path in paths if path.is_file() and "secrets" not in path.parts]
    found = {name: tag for text in texts for name, tag in _IMAGE.findall(text)}
    own = {stage for text in texts for stage in _STAGE.findall(text)}
    others = sorted(name for name in found.keys() - own if not name.rpartition("/")[2].startswith("landcast"))
    return {name: found[name] for name in others}


def programs(deploy: Path) -> Iterator[Component]:
    """Yield the images and programs that run beside Landcast. An image without a licence here raises KeyError."""
    for image, tag in images(deploy).items():
        name, licence, link = _IMAGES[image]
        yield Component(name, tag, licence, link)
    airflow = (deploy / "airflow/requirements.in").read_text().rpartition("==")[2].strip()
    yield Component("Apache Airflow", airflow, "Apache-2.0", "https://airflow.apache.org")
    for program in _PROGRAMS:
        yield Component(*program)


def components_page(root: Path) -> str:
    """Return the list of all components as a page of Markdown."""
    lock = root / "uv.lock"
    own = locked_names(lock, LINUX, extras=False, tests=False)
    extras = locked_names(lock, LINUX, extras=True, tests=False)
    tests = locked_names(lock, LINUX, extras=True, tests=True)
    sections: dict[str, Iterable[Component]] = {
        "Packages of Landcast": locked_components(own),
        "Packages of its extras `plugins`, `load` and `traces`": locked_components(_without(extras, own)),
        "Packages of the tests": locked_components(_without(tests, extras)),
        "In the pages": page_components(root / "routes/pages"),
        "Images and programs beside it": programs(root / "deploy"),
    }
    head = (
        "# Components\n\nAll are free software. `make components` writes this page from `uv.lock`, the bundle of the\n"
        "pages and the images of `deploy/`. A test compares it and refuses a licence that is not allowed.\n"
    )
    return head + "".join(f"\n## {title}\n\n{_table(each)}" for title, each in sections.items())


def _without(names: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    return {name: version for name, version in names.items() if name not in others}


def _table(components: Iterable[Component]) -> str:
    rows = [f"{each.name} | {each.version} | {each.licence} | {_freedom(each)} | <{each.link}>" for each in components]
    head = "technology | version | licence | free or proprietary | link"
    return "\n".join([head, "---|---|---|---|---", *sorted(rows, key=str.lower), ""])


def _freedom(component: Component) -> str:
    return "not judged" if component.refused(ALLOWED_BESIDE) else "free"


if __name__ == "__main__":
    Path("docs/components.md").write_text(components_page(Path()))
