"""Vanilla pygeoapi and our server, in separate processes, get the same requests; each difference is listed."""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.plugins.beside import Asked, Kind, Request, configuration, differences, read_list, write_data
from tests.plugins.vanilla import ROOT, serve_vanilla
from tests.server.served import eventually, serving

pytestmark = pytest.mark.long

LIST = Path(__file__).with_name("beside_vanilla.txt")
PLUGINS = {"PYTHONPATH": str(Path(__file__).parent)}
"""Where both servers find `soundings`."""
EVERYWHERE, REQUESTS, KINDS = read_list(LIST.read_text())


class WmsAsStandIn(BaseHTTPRequestHandler):
    """Answers with the text of the request, or with a few bytes in place of an archive."""

    def do_GET(self) -> None:
        body = b"archive" if self.path.endswith(".zip") else f"a map of {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    do_HEAD = do_GET  # noqa: N815 - the name that the standard library calls

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def wms_as_stand_in() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), WmsAsStandIn) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Answers(NamedTuple):
    """The compared parts of both answers."""

    vanilla: Mapping[str, str]
    ours: Mapping[str, str]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Answers]:
    """Send the requests in order, as some use the job of an earlier one."""
    folder = tmp_path_factory.mktemp("beside")
    write_data(folder)
    state, log = folder / "state", folder / "ours.log"
    state.mkdir()
    with wms_as_stand_in() as elsewhere:
        same = configuration(folder, elsewhere)
        (folder / "ours.yml").write_text(yaml.safe_dump(same, sort_keys=False))
        with (
            serve_vanilla(folder, same, **PLUGINS) as vanilla,
            serving(state, log, "--config", str(folder / "ours.yml"), **PLUGINS) as ours,
        ):
            return _asked(Asked(vanilla), Asked(ours))


def _asked(vanilla: Asked, ours: Asked) -> Sequence[Answers]:
    found = []
    for request in REQUESTS:
        found.append(Answers(vanilla.ask(request), ours.ask(request)))
        eventually(lambda: not (vanilla.is_at_work() or ours.is_at_work()))
    return found


@pytest.mark.parametrize("place", range(len(REQUESTS)), ids=[f"{n} {each.line}" for n, each in enumerate(REQUESTS)])
def test_every_difference_is_in_the_list(answers: Sequence[Answers], place: int) -> None:
    request, answered = REQUESTS[place], answers[place]
    found = differences(answered.vanilla, answered.ours)
    kinds = [kind for name in (*request.differences, *EVERYWHERE) for kind in KINDS[name]]
    assert [each for each in found if not any(kind.is_of(each) for kind in kinds)] == []
    named = [name for name in request.differences if not any(kind.is_of(d) for kind in KINDS[name] for d in found)]
    assert named == [], "there is no such difference"


def test_every_pattern_of_the_list_is_a_difference(answers: Sequence[Answers]) -> None:
    unused = [kind for kinds in KINDS.values() for kind in kinds]
    for request, answered in zip(REQUESTS, answers, strict=True):
        names = {*request.differences, *EVERYWHERE}
        found = differences(answered.vanilla, answered.ours)
        unused = [kind for kind in unused if kind.name not in names or not any(map(kind.is_of, found))]
    assert unused == []


def test_most_answers_have_something_to_compare(answers: Sequence[Answers]) -> None:
    same = sum(len(set(vanilla.items()) & set(ours.items())) for vanilla, ours in answers)
    different = sum(len(differences(vanilla, ours)) for vanilla, ours in answers)
    assert len(REQUESTS) >= 120
    assert same > 3 * different
    assert sum(vanilla["status"] == ours["status"] == "200" for vanilla, ours in answers) >= 120


def test_the_document_gives_a_reason_for_each_kind() -> None:
    section = (ROOT / "docs" / "pygeoapi.md").read_text().partition("\n## The same request to both\n")[2]
    rows = re.findall(r"^`([a-z-]+)` \| .+ \| .+ \| .+$", section.partition("\n## ")[0], re.MULTILINE)
    assert rows == list(KINDS)


def test_the_list_is_parsed_correctly() -> None:
    text = (
        "everywhere: a\na | status | 200 | 40?\n# x\nGET /b?c=d e -H Accept: text/csv\nPOST /f -- {}\n    a b\n    c\n"
    )
    with pytest.raises(ValueError, match="unpack"):
        read_list(text)
    everywhere, requests, kinds = read_list(text.replace(" e ", " "))
    first = Request("GET /b?c=d -H Accept: text/csv", "GET", "/b?c=d", {"Accept": "text/csv"}, None, ())
    second = Request("POST /f -- {}", "POST", "/f", {"Content-Type": "application/json"}, "{}", ("a", "b", "c"))
    assert (everywhere, requests, kinds) == (["a"], [first, second], {"a": [Kind("a", "status", "200", "40?")]})
