"""The components of Landcast with their licences: the packages of the lock file, and the programs beside it."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

ALLOWED = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD", "CC0-1.0", "CNRI-Python", "HPND", "ISC"),
        *("LGPL", "LGPL-3.0-or-later", "MIT", "MIT-0"),
        *("MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
    }
)
"""The licences that are allowed: none asks for the source of what only imports it."""
PROGRAMS = (
    ("PostgreSQL, PostGIS", "database of orders", "PostgreSQL, GPL-2.0-or-later", "https://www.postgresql.org"),
    ("Apache Airflow", "workflows", "Apache-2.0", "https://airflow.apache.org"),
    ("Keycloak", "sign-in", "Apache-2.0", "https://www.keycloak.org"),
    ("OpenBao", "secrets", "MPL-2.0", "https://openbao.org"),
    ("RabbitMQ", "log and messages", "MPL-2.0", "https://www.rabbitmq.com"),
    ("nginx", "proxy with TLS", "BSD-2-Clause", "https://nginx.org"),
    ("Prometheus", "metrics and alerts", "Apache-2.0", "https://prometheus.io"),
)
"""Programs that run beside Landcast: name, use, licence, address. None is part of it; all are free."""
_WORDS = {
    "apache": "Apache-2.0", "mit license": "MIT", "mit": "MIT", "bsd 3": "BSD-3-Clause", "3-clause": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause", "bsd-2": "BSD-2-Clause", "2-clause": "BSD-2-Clause", "bsd": "BSD", "mozilla": "MPL-2.0",
    "lesser general public": "LGPL", "lgpl": "LGPL", "isc": "ISC", "python software foundation": "PSF-2.0",
    "psf": "PSF-2.0", "unlicense": "Unlicense", "public domain": "CC0-1.0", "historical permission": "HPND",
}  # fmt: skip
"""What packages without an expression of SPDX say, and what it means."""


@dataclass(frozen=True, slots=True)
class Component:
    """A package, its licences as SPDX names them, and its address."""

    name: str
    version: str
    licence: str
    link: str

    @property
    def refused(self) -> list[str]:
        """The parts of its licence that are not allowed; of alternatives one is enough."""
        wanted = [part.strip(" ()") for part in re.split(r"\bAND\b", self.licence)]
        return [part for part in wanted if not {each.strip(" ()") for each in part.split(" OR ")} & ALLOWED]


def locked_components(lock: Path) -> Iterator[Component]:
    """Yield the packages that an installation has, by name; one that this machine does not need is left out."""
    packages = {each["name"]: each for each in tomllib.loads(lock.read_text())["package"]}
    wanted, seen = ["landcast"], set[str]()
    while wanted:
        name = wanted.pop()
        if name not in seen and name in packages:
            seen.add(name)
            wanted += [each["name"] for each in packages[name].get("dependencies", ())]
    for name in sorted(seen - {"landcast"}):
        try:
            yield _component(name, packages[name])
        except PackageNotFoundError:
            continue


def _component(name: str, locked: Mapping[str, Any]) -> Component:
    told = metadata(name)
    return Component(name, str(locked.get("version", "")), _licence(told), f"https://pypi.org/project/{name}/")


def _licence(told: Any) -> str:
    """Return the expression of SPDX, or what the classifiers or the text mean."""
    if expression := told.get("License-Expression"):
        return str(expression)
    classifiers = [
        text.rpartition(" :: ")[2] for text in told.get_all("Classifier", []) if text.startswith("License ::")
    ]
    for text in (*classifiers, str(told.get("License", "")).strip().partition("\n")[0]):
        for word, licence in _WORDS.items():
            if re.search(rf"\b{re.escape(word)}", text.lower()):
                return licence
    return "unknown"


def components_page(lock: Path) -> str:
    """Return the list of all components as a page of Markdown."""
    rows = [f"{each.name} | {each.version} | {each.licence} | <{each.link}>" for each in locked_components(lock)]
    programs = [f"{name} | {use} | {licence} | free | <{link}>" for name, use, licence, link in PROGRAMS]
    return "\n".join(
        [
            "# Components",
            "",
            "Made by `python -m server.components` of the lock file. All are free software.",
            "",
            "## Packages",
            "",
            "name | version | licence | link",
            "---|---|---|---",
            *rows,
            "",
            "## Programs beside it",
            "",
            "name | use | licence | free or proprietary | link",
            "---|---|---|---|---",
            *programs,
            "",
        ]
    )


if __name__ == "__main__":
    print(components_page(Path("uv.lock")), end="")  # noqa: T201  what it is for
