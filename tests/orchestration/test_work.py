import errno
import os
import sqlite3
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from orchestration.ending import read_ending, write_ending
from orchestration.errors import NoSpaceLeft, StoreUnavailable, WorkFailed
from orchestration.job import Manifest, Order, Output, Status
from orchestration.net.fetch import Fetched
from orchestration.runners import Done, Failed, RunState
from orchestration.store.jobs import StoredJobs
from orchestration.work import JobContext, Part, Piece, Work
from orchestration.work.attempt import Progress, attempt
from products.errors import BrokenSource, NothingInside
from products.progress import unheard
from tests.registry import OURS, work_of

MakeBench = Callable[..., JobContext]

_DOCUMENTS = {
    "https://x.example/object": Fetched("https://x.example/object", b'{"property1": "a"}', "application/json"),
    "https://x.example/wkt": Fetched("https://x.example/wkt", b"POINT(1 2)", "text/plain"),
    "https://x.example/nan": Fetched("https://x.example/nan", b"NaN", "application/json"),
    "https://x.example/image": Fetched("https://x.example/image", b"\x89PNG", "image/png"),
}


@pytest.fixture
def make_context(tmp_path: Path) -> MakeBench:
    def make(inputs: Mapping[str, Any] | None = None, **members: Any) -> JobContext:
        folder = tmp_path / "job" / "1" / "1"
        folder.mkdir(parents=True, exist_ok=True)
        order = Order("echo", inputs or {}, "local", outputs=members.pop("outputs", None))
        config = Path("pygeoapi-config.yml")
        return JobContext(
            "job", order, tmp_path, folder, config, _DOCUMENTS.__getitem__, members.pop("report", unheard)
        )

    return make


def _ending(context: JobContext, work: Callable[[], Work]) -> Done | Failed | None:
    attempt(work, context)
    return read_ending(context.folder)


def test_the_work_does_not_import_pygeoapi_nor_start_slowly() -> None:
    program = (
        "import sys, time, orchestration.work.__main__, orchestration.work.echo\n"
        "assert time.process_time() < 2, '0.15 s on an idle machine'\n"
        "print('\\n'.join(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "orchestration.work" in loaded
    heavy = {"pygeoapi", "rasterio", "numpy", "shapely", "pyproj", "pydantic", "starlette", "httpx"}
    assert not heavy & set(loaded)


@pytest.mark.parametrize("name", ["extract-product", "echo"])
def test_no_work_imports_pygeoapi(name: str) -> None:
    module = OURS[name].work
    program = f"import sys, {module}; print('pygeoapi' in sys.modules, {module}.WORK is None)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False False\n"


_LIKE_A_LINK = {"property1": "a", "property5": True, "href": "x"}
_LIKE_A_QUALIFIED = {"value": "<script>", "mediaType": "text/html\r\nX-Evil: 1"}


@pytest.mark.parametrize(
    ("name", "given", "value", "media_type"),
    [
        ("stringInput", "é < &", "é < &", "application/json"),
        ("numberInput", 2.5, 2.5, "application/json"),
        ("booleanInput", False, False, "application/json"),
        ("arrayInput", [1, 2], [1, 2], "application/json"),
        ("boundingBoxInput", {"bbox": [1, 2, 3, 4]}, {"bbox": [1, 2, 3, 4]}, "application/json"),
        ("complexObjectInput", {"property1": "a", "value": 1}, {"property1": "a", "value": 1}, "application/json"),
        ("complexObjectInput", _LIKE_A_LINK, _LIKE_A_LINK, "application/json"),
        ("mixedInput", _LIKE_A_QUALIFIED, _LIKE_A_QUALIFIED, "application/json"),
        ("complexObjectInput", {"href": "https://x.example/object"}, {"property1": "a"}, "application/json"),
        ("geometryInput", {"href": "https://x.example/wkt"}, "POINT(1 2)", "application/json"),
        ("geometryInput", {"href": "https://x.example/nan"}, "NaN", "application/json"),
        ("mixedInput", {"href": "https://x.example/image"}, {"href": "https://x.example/image"}, "application/json"),
        ("imagesInput", ["aGk=", "aG8="], ["aGk=", "aG8="], "application/json"),
    ],
)
def test_echo_returns_its_inputs(make_context: MakeBench, name: str, given: Any, value: Any, media_type: str) -> None:
    ending = _ending(make_context({name: given}), lambda: work_of("echo"))
    assert ending == Done((Output(name.replace("Input", "Output"), value, media_type),))


def test_echo_fetches_images_from_their_addresses(make_context: MakeBench) -> None:
    context = make_context({"imagesInput": ["aGk=", {"href": "https://x.example/image"}]})
    ending = _ending(context, lambda: work_of("echo"))
    image = {"value": b64encode(b"\x89PNG").decode(), "encoding": "base64", "mediaType": "image/png"}
    assert ending == Done((Output("imagesOutput", ["aGk=", image]),))


def test_echo_reports_a_document_that_is_not_text(make_context: MakeBench) -> None:
    ending = _ending(make_context({"geometryInput": {"href": "https://x.example/image"}}), lambda: work_of("echo"))
    assert ending == Failed("https://x.example/image: not text in UTF-8", fault="WorkFailed")


def test_echo_pauses_and_reports_it(make_context: MakeBench) -> None:
    reports: list[float] = []
    begin = time.monotonic()
    context = make_context({"pause": 0.5}, report=lambda fraction, _message: reports.append(fraction))
    assert _ending(context, lambda: work_of("echo")) == Done(())
    assert time.monotonic() - begin >= 0.5
    assert reports == sorted(reports)
    assert len(reports) > 1


def test_only_the_requested_outputs_are_returned(make_context: MakeBench) -> None:
    inputs = {"stringInput": "a", "numberInput": 1}
    ending = _ending(make_context(inputs, outputs={"numberOutput": {}}), lambda: work_of("echo"))
    assert ending == Done((Output("numberOutput", 1),))


def _work(
    make: Callable[[Part, JobContext], Piece], assemble: Callable[[Sequence[Piece], JobContext], Manifest]
) -> Work:
    return Work(lambda _context: [{"n": 0}, {"n": 1}], make, assemble)


def _raising(error: Exception) -> Work:
    def make(_part: Part, _context: JobContext) -> Piece:
        raise error

    return _work(make, lambda *_: ())


def _full_database() -> sqlite3.Error:
    """Return SQLite's error when it cannot write another page."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("pragma max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("create table full (it)")
    return caught.value


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NothingInside("nothing but sea"), "nothing but sea"),
        (StoreUnavailable("locked"), "locked"),
        (MemoryError(), "memory"),
        (KeyError("secret"), "unexpected error"),
    ],
)
def test_a_failure_has_a_readable_reason(make_context: MakeBench, error: Exception, reason: str) -> None:
    ending = _ending(make_context(), lambda: _raising(error))
    assert isinstance(ending, Failed)
    assert reason in ending.reason
    assert "secret" not in ending.reason


def _wrapped(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


_FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    "error",
    [
        _FULL,
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        _full_database(),
        _wrapped(StoreUnavailable("the database"), _full_database()),
        _wrapped(BrokenSource("it cannot be written"), _FULL),
        RuntimeError("TIFFAppendToStrip: write error: No space left on device"),
    ],
)
def test_a_full_disk_does_not_end_an_order(make_context: MakeBench, error: Exception) -> None:
    context = make_context()
    with pytest.raises(NoSpaceLeft):
        attempt(lambda: _raising(error), context)
    assert list(context.folder.iterdir()) == []


def test_a_full_disk_is_detected_despite_the_error_of_a_library(
    make_context: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.work.attempt.free_bytes", lambda _folder: 1000)
    with pytest.raises(NoSpaceLeft):
        attempt(lambda: _raising(RuntimeError("write error")), make_context())
    assert _ending(make_context(), lambda: _raising(NothingInside("sea"))) == Failed("sea", fault="NothingInside")


def test_the_text_of_a_caller_is_not_mistaken_for_a_full_disk(make_context: MakeBench) -> None:
    """Otherwise an order with that text in its inputs would wait forever."""
    error = WorkFailed("https://x.example/No space left on device: not text")
    assert isinstance(_ending(make_context(), lambda: _raising(error)), Failed)


def test_a_missing_work_and_a_result_that_is_not_json_fail(make_context: MakeBench) -> None:
    assert isinstance(_ending(make_context(), lambda: work_of("no-such")), Failed)
    context = make_context()
    nan = _work(lambda part, _context: part, lambda *_: (Output("x", float("nan")),))
    attempt(lambda: nan, context)
    assert "not JSON compliant" in (context.folder / "failure.json").read_text()
    assert not (context.folder / "manifest.json").exists()


def test_progress_runs_from_part_to_part_to_the_assembly(make_context: MakeBench) -> None:
    reports: list[float] = []

    def make(part: Part, context: JobContext) -> Piece:
        context.report(1, "made")
        return part

    def assemble(_pieces: Sequence[Piece], context: JobContext) -> Manifest:
        context.report(1, "assembled")
        return ()

    context = make_context(report=lambda fraction, _message: reports.append(round(fraction, 3)))
    assert _ending(context, lambda: _work(make, assemble)) == Done(())
    assert reports == [0.01, 0.05, 0.1, 0.5, 0.9, 1]


def test_an_ending_is_written_atomically(make_context: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make_context()
    none: RunState | None = read_ending(context.folder)
    assert none is None
    (context.folder / "manifest.draft").write_text("[{")
    assert read_ending(context.folder) is None
    draft_only: list[bool] = []
    sync = os.fsync

    def at_sync(descriptor: int) -> None:
        draft_only.append(not (context.folder / "manifest.json").exists())
        sync(descriptor)

    monkeypatch.setattr("os.fsync", at_sync)
    write_ending(context.folder, Done((Output("x", 1),)))
    assert draft_only[0], "it has its name before it is durable"
    assert len(draft_only) == 5, "the file, and the names on the way to it"
    assert read_ending(context.folder) == Done((Output("x", 1),))


@pytest.mark.parametrize("text", ["", "[{", "\0\0"])
def test_an_ending_lost_by_a_power_failure_does_not_exist(make_context: MakeBench, text: str) -> None:
    context = make_context()
    (context.folder / "manifest.json").write_text(text)
    assert read_ending(context.folder) is None


def test_only_a_result_with_files_is_flushed_to_disk(
    make_context: MakeBench, monkeypatch: pytest.MonkeyPatch, make_output: Callable[[str], Output]
) -> None:
    """A result without files is published by a durable commit, or else made again."""
    context = make_context()
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    value = _work(lambda part, _: part, lambda _pieces, _context: (Output("x", 1),))
    assert isinstance(_ending(context, lambda: value), Done)
    assert synced == []
    file = _work(lambda part, _: part, lambda _pieces, _context: (make_output("a.zip"),))
    assert isinstance(_ending(context, lambda: file), Done)
    assert len(synced) == 5


@pytest.mark.parametrize("text", ["[1]", '[{"id": "x", "no": 1, "file": null}]', "null"])
def test_an_unreadable_ending_is_a_failure(make_context: MakeBench, text: str) -> None:
    context = make_context()
    (context.folder / "manifest.json").write_text(text)
    assert isinstance(read_ending(context.folder), Failed)


def test_a_reason_with_any_content_can_be_stored(make_context: MakeBench) -> None:
    context = make_context()
    (context.folder / "failure.json").write_text('{"reason": "\\ud800 lone", "detail": "\\u0000"}')
    assert read_ending(context.folder) == Failed("? lone", "?")


def test_progress_is_stored_in_per_cent_and_not_too_often(make_store: Callable[..., StoredJobs]) -> None:
    store = make_store()
    job = store.begin(store.add(Order("echo", {}, "local"))[0].id)
    assert job is not None
    assert job.status is Status.RUNNING
    store.changed()
    progress = Progress(store.report, job.id, job.attempt)
    progress(0.419, "cutting")
    found = store.get(job.id)
    assert found is not None
    assert (found.progress, found.message) == (41, "cutting")
    store.changed()
    for step in range(1000):
        progress(0.5 + step / 5000, "cutting")
    assert not store.changed(), "within half a second nothing more is told"
    time.sleep(0.55)
    progress(1, "packing")
    last = store.get(job.id)
    assert last is not None
    assert last.progress == 99, "100 is said when it is published"


def test_an_unavailable_store_does_not_stop_the_work(make_store: Callable[..., StoredJobs], state_dir: Path) -> None:
    store = make_store(busy_seconds=0.1)
    job = store.begin(store.add(Order("echo", {}, "local"))[0].id)
    assert job is not None
    progress = Progress(store.report, job.id, job.attempt)
    with closing(sqlite3.connect(state_dir / "orders.sqlite", isolation_level=None)) as other:
        other.execute("begin immediate")
        begin = time.monotonic()
        progress(0.5, "cutting")
        progress(0.6, "cutting")
        assert time.monotonic() - begin < 20
