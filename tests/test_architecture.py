"""Each folder imports only the folders that the architecture allows."""

import ast
import importlib.metadata
import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

OURS = ("auth", "orchestration", "plugins", "processes", "products", "routes", "server", "sql")
MAY_IMPORT = {
    "products": set(),
    "sql": set(),
    "auth": {"products", "sql"},
    "orchestration": {"products", "sql"},
    "plugins": {"products", "orchestration", "auth", "sql"},
    "processes": {"plugins", "products", "orchestration", "auth"},
    "routes": {"plugins", "processes", "orchestration", "products", "auth", "sql"},
    "server": set(OURS),
}
LONGEST_MODULE = 400
LONGER = {"deploy/grafana/figures.py", "routes/features/items.py"}
"""A table of data, and a module whose request would enter more files if it were divided."""
WITHOUT_PYGEOAPI = ("products", "sql", "auth", "orchestration")


def imports_of(folder: str) -> dict[str, set[str]]:
    """Return the top-level packages that each module of the folder imports, also inside functions."""
    found: dict[str, set[str]] = {}
    for path in Path(folder).rglob("*.py"):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
        found[str(path)] = names
    return found


@pytest.mark.parametrize("folder", OURS)
def test_a_folder_imports_only_what_it_may(folder: str) -> None:
    modules = imports_of(folder)
    assert modules
    for path, names in modules.items():
        assert names & set(OURS) <= MAY_IMPORT[folder] | {folder}, path
        if folder in WITHOUT_PYGEOAPI:
            assert "pygeoapi" not in names, path


def test_no_two_public_classes_have_one_name() -> None:
    paths = [path for folder in OURS for path in Path(folder).rglob("*.py")]
    nodes = [node for path in paths for node in ast.parse(path.read_text()).body]
    names = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_is_longer_than_a_topic() -> None:
    """A test's module may be longer: its cases are independent of each other."""
    folders = [*OURS, "bench", "deploy", "docs"]
    lines = {str(path): len(path.read_text().splitlines()) for folder in folders for path in Path(folder).rglob("*.py")}
    assert len(lines) > len(folders)
    assert {path: count for path, count in lines.items() if count > LONGEST_MODULE}.keys() <= LONGER


def test_the_work_does_not_load_pygeoapi() -> None:
    code = "import sys, orchestration.work; sys.exit('pygeoapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("package", OURS)
def test_every_package_name_resolves_to_ours(package: str) -> None:
    """The names are generic: a foreign package of the same name would hide ours."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == Path(package, "__init__.py").resolve()
    assert importlib.metadata.version("landcast")


def test_the_architecture_page_names_every_folder() -> None:
    page = Path("docs/architecture.md").read_text().partition("folder | topic")[2]
    named = [line.partition(" | ")[0] for line in page.splitlines() if " | " in line]
    there = {str(path.parent) for folder in OURS for path in Path(folder).rglob("__init__.py")}
    assert sorted(named) == sorted(there)
