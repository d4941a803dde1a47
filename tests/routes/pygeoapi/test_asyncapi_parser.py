"""The document of `/asyncapi` by AsyncAPI's own parser: valid, and nothing to remark."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.conftest import MakeApp

TOOL = Path(__file__).parents[3] / "deploy" / "tools" / "asyncapi"
BROKERS: list[dict[str, Any]] = [
    {"name": "HTTP", "broker": {"url": "https://me:password@broker.example/x", "channel": "land"}},
    {"name": "RabbitMQ", "broker": {"url": "amqps://me:password@broker.example:5671/a%2Fb", "channel": "land"}},
]


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asyncapi") / "tool"
    shutil.copytree(TOOL, folder, ignore=shutil.ignore_patterns("node_modules"))
    done = subprocess.run(["npm", "ci"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "check.mjs"


def _said(parser: Path, document: str) -> list[dict[str, Any]]:
    done = subprocess.run(["node", parser], input=document, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return [each for each in said if each.get("code") != "asyncapi-latest-version"]  # the document is of 3.0.0


@pytest.mark.full
@pytest.mark.parametrize("broker", BROKERS, ids=["http", "rabbitmq"])
def test_the_parser_of_asyncapi_takes_the_document(
    parser: Path, make_app: MakeApp, configuration: dict[str, Any], broker: dict[str, Any]
) -> None:
    configuration["resources"]["a b/c"] = configuration["resources"]["parks"]
    configuration["resources"]["echo-again"] = configuration["resources"]["echo"]
    with TestClient(make_app({**configuration, "pubsub": broker}), headers={"accept": "*/*"}) as client:
        document = client.get("/asyncapi").text
    (said,) = _said(parser, document)
    assert said["level"] == "document"
    named = set(said["channels"])
    assert {"notify-echo", "notify-echo-again", "notify-echo-downloads", "notify-parks", "notify-nations"} <= named
    assert said["operations"] == 2 * len(named)


@pytest.mark.full
def test_the_parser_finds_a_channel_that_is_not_there(parser: Path) -> None:
    document = {
        "asyncapi": "3.0.0",
        "info": {"title": "x", "version": "1"},
        "operations": {"o": {"action": "send", "channel": {"$ref": "#/channels/none"}}},
    }
    assert "error" in {each["level"] for each in _said(parser, json.dumps(document))}
