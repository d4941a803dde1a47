import inspect
import json
import logging
from datetime import UTC, datetime

import pygeoapi.api
import pygeoapi.api.collection
import pygeoapi.api.itemtypes
import pygeoapi.api.processes
import pygeoapi.util

from plugins import patches
from plugins.patches import apply_patches, unaltered_json


def test_json_is_not_html_escaped() -> None:
    document = {"title": "a < b > c & d: Größe", "when": datetime(2026, 1, 2, tzinfo=UTC)}
    assert json.loads(unaltered_json(document))["title"] == document["title"]
    assert json.loads(unaltered_json(document, pretty=True)) == json.loads(unaltered_json(document))


def test_every_module_has_the_patched_function() -> None:
    apply_patches()
    apply_patches()
    for module in (pygeoapi.api, pygeoapi.api.itemtypes, pygeoapi.api.processes, pygeoapi.util):
        assert module.to_json is unaltered_json


def test_the_configuration_of_the_log_is_not_changed() -> None:
    apply_patches()
    before = list(logging.getLogger().handlers)
    pygeoapi.api.setup_logger({"level": "DEBUG"})
    assert logging.getLogger().handlers == before


def test_the_patched_bugs_still_exist_in_pygeoapi() -> None:
    """If this fails, pygeoapi has fixed the bug: remove the patch."""
    source = inspect.getsource(inspect.getmodule(pygeoapi.util.json_serial) or pygeoapi.util)
    assert "replace('<', '&lt;')" in source
    assert "remove when" in inspect.getsource(patches).lower()
