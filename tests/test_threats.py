"""Every test that the threat model names exists, and each table names one for each threat."""

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path("tests")
DOCUMENT = Path("docs/threats.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", DOCUMENT)


@cache
def functions_of(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_named_test_exists() -> None:
    assert len(NAMED) > 60
    missing = [f"{file}::{name}" for file, name in NAMED if name not in functions_of(TESTS / file)]
    assert not missing


def test_every_threat_has_its_test() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.count(" | ") == 2 and not line.startswith("threat | ")]
    assert len(rows) > 40
    assert [row for row in rows if re.search(r"`[\w/]+\.py::test_\w+`$", row) is None] == []
