"""A request enters few files: the bounds of `bench.walks` for the most frequent requests."""

import re
import subprocess
import sys

import pytest

from bench.walks import MOST_CHANGES, MOST_FILES, MOST_OPENED

pytestmark = pytest.mark.long

BOUND = ("items", "item", "coverage", "map", "execution", "results")


@pytest.fixture(scope="module")
def walks() -> dict[str, tuple[int, ...]]:
    """Return files, changes and opened sources of each request, from a separate process."""
    done = subprocess.run([sys.executable, "-m", "bench", "walks"], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^(\S[^\n]*?) +(\d+) +(\d+) +(\d+)$", done, re.MULTILINE)
    return {title: tuple(map(int, numbers)) for title, *numbers in rows}


@pytest.mark.parametrize("title", BOUND)
def test_a_request_enters_few_files_and_opens_its_source_once(walks: dict[str, tuple[int, ...]], title: str) -> None:
    files, changes, opened = walks[title]
    assert files <= MOST_FILES
    assert changes <= MOST_CHANGES
    assert opened <= MOST_OPENED
