"""The classes of plugins by pygeoapi's short names and by dotted names; refused classes with the reason."""

from pathlib import Path

import pytest
from pygeoapi.plugin import PLUGINS
from pygeoapi.process.hello_world import HelloWorldProcessor
from pygeoapi.provider.csv_ import CSVProvider
from pygeoapi.pubsub.http import HTTPPubSubClient

from plugins.geopackage import GeoPackageProvider
from plugins.loading import Kind, WrongPlugin, plugin_class

BASES = {
    "provider": "a base class in pygeoapi.provider",
    "process": "pygeoapi.process.base.BaseProcessor",
    "pubsub": "pygeoapi.pubsub.base.BasePubSubClient",
}
BAD = """
import sys

NOTHING = 1


class Alone: ...


def __getattr__(name):
    if name == "Leaving":
        sys.exit("bye")
    if name == "Failing":
        raise ValueError("odd")
    raise AttributeError(f"nothing of the name {name}")
"""


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        ("provider", "CSV", CSVProvider),
        ("provider", "plugins.geopackage.GeoPackageProvider", GeoPackageProvider),
        ("process", "HelloWorld", HelloWorldProcessor),
        ("pubsub", "HTTP", HTTPPubSubClient),
        ("pubsub", "pygeoapi.pubsub.http.HTTPPubSubClient", HTTPPubSubClient),
    ],
)
def test_short_and_dotted_names_are_loaded(kind: Kind, name: str, found: type) -> None:
    assert plugin_class(kind, name) is found


@pytest.mark.parametrize("kind", ["provider", "process", "pubsub"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Pigeon", "there is no {kind} Pigeon; allowed: a dotted name, or "),
        ("", "there is no {kind} ; allowed: "),
        (".Pigeon", "there is no {kind} .Pigeon; allowed: "),
        ("no.such.Client", "No module named 'no'"),
        ("os.", "os.: module 'os' has no attribute ''"),
        ("os.path", "os.path: is not a subclass of {base}"),
        ("pathlib.Path", "is not a subclass of {base}"),
        ("bad_plugins.Alone", "is not a subclass of {base}"),
        ("bad_plugins.NOTHING", "is not a subclass of {base}"),
        ("bad_plugins.Leaving", "SystemExit: bye"),
        ("bad_plugins.Failing", "ValueError: odd"),
        ("bad_plugins.Missing", "bad_plugins.Missing: nothing of the name Missing"),
    ],
)
def test_an_invalid_plugin_is_named(
    kind: Kind, name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_plugins.py").write_text(BAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(WrongPlugin) as refused:
        plugin_class(kind, name)
    assert said.format(kind=kind, base=BASES[kind]) in str(refused.value)


def test_a_plugin_of_another_kind_is_refused() -> None:
    with pytest.raises(WrongPlugin, match=r"is not a subclass of pygeoapi\.process\.base\.BaseProcessor"):
        plugin_class("process", PLUGINS["provider"]["CSV"])
    with pytest.raises(WrongPlugin, match=r"is not a subclass of a base class in pygeoapi\.provider"):
        plugin_class("provider", PLUGINS["process"]["HelloWorld"])
