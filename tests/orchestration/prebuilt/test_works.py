"""The works of prebuilt files: in one or several processes, concurrent, after a crash, from a changing source."""

import json
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.ending import read_ending
from orchestration.job import Manifest, Order, ResultFile
from orchestration.runners import Done
from orchestration.work import JobContext, Piece
from orchestration.work.attempt import attempt
from products.errors import BrokenPiece, BrokenSource
from products.progress import Report, unheard
from tests.registry import work_of

ROOT = Path(__file__).parents[3]
MANY = 2
"""Workers."""

MakeBench = Callable[..., JobContext]

RASTER = {"product": "Raster", "nation": "Slovakia"}
VECTOR = {"product": "Vector", "nation": "Slovakia"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "raster.tif"
    path.write_bytes((ROOT / "sample" / "clcplus_2023_parks.tif").read_bytes())
    return path


@pytest.fixture
def config(sample: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the committed configuration, on a raster that tests can change."""
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(sample))
    path = tmp_path / "config.yml"
    text = (ROOT / "pygeoapi-config.yml").read_text().replace("sample/clcplus_2023_parks.tif", str(source))
    path.write_text(text.replace("data: products/", f"data: {ROOT}/products/"))
    return path


@pytest.fixture
def make_context(tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> MakeBench:
    """Return a factory of contexts of orders of one server, with parts so small that a park has several."""
    monkeypatch.setattr("products.raster.parts.BLOCKS", 1)
    monkeypatch.setattr("products.vector.parts.FEATURES", 50)
    results = tmp_path / "results"

    def make(job: str = "a", inputs: Mapping[str, Any] | None = None, workers: int = MANY) -> JobContext:
        folder = results / job / "1" / "1"
        folder.mkdir(parents=True)
        process = "national-product" if inputs else "european-product"
        order = Order(process, {"series": "clcplus", "year": 2023, **(inputs or {})}, "local")
        return JobContext(job, order, results, folder, config, _no_fetch, unheard, workers=workers)

    return make


def _no_fetch(url: str) -> Any:
    raise ValueError(url)


def made(context: JobContext) -> list[Piece]:
    """Do all steps before the assembly like separate processes, which exchange only JSON."""
    work = work_of(context.order.process)
    parts = json.loads(json.dumps(work.plan(context)))
    return [json.loads(json.dumps(work.make(part, context))) for part in parts]


def assembled(pieces: list[Piece], context: JobContext) -> ResultFile:
    return file_of(work_of(context.order.process).assemble(pieces, context))


def file_of(manifest: Manifest) -> ResultFile:
    (output,) = manifest
    assert output.file is not None
    return output.file


def done(context: JobContext) -> ResultFile:
    """Execute the order like a child of the embedded runner."""
    attempt(lambda: work_of(context.order.process), context)
    ending = read_ending(context.folder)
    assert isinstance(ending, Done), ending
    return file_of(ending.manifest)


def members_of(file: ResultFile, context: JobContext) -> dict[str, bytes]:
    archive = zipfile.ZipFile(context.results / file.path)
    return {Path(name).suffix: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("inputs", [RASTER, VECTOR])
def test_many_processes_make_the_same_file_as_one(make_context: MakeBench, inputs: Mapping[str, str]) -> None:
    context = make_context(inputs=inputs)
    pieces = made(context)
    assert len(pieces) > 2
    assert all((context.results / piece["path"]).parent == context.folder for piece in pieces)
    file = assembled(pieces, context)
    ours = members_of(file, context)
    (context.results / file.path).unlink()
    alone = make_context("b", inputs, workers=1)
    assert len(work_of("national-product").plan(alone)) == 1
    theirs = members_of(done(alone), alone)
    assert set(ours) == set(theirs) > {".xml", ".json"}
    if inputs is RASTER:
        assert all(ours[suffix] == theirs[suffix] for suffix in set(ours) - {".xml", ".json"})
    assert {entry.name for entry in alone.folder.iterdir()} == {"manifest.json"}, "nothing stays of the pieces"


@pytest.mark.parametrize("inputs", [RASTER, None])
def test_an_existing_file_has_no_parts(make_context: MakeBench, inputs: Mapping[str, str] | None) -> None:
    first, second = make_context("a", inputs), make_context("b", inputs)
    file = assembled(made(first), first)
    assert made(second) == []
    assert assembled([], second) == file


@pytest.mark.parametrize("inputs", [RASTER, None])
def test_a_file_removed_after_the_plan_is_made_by_the_assembly(
    make_context: MakeBench, inputs: Mapping[str, str] | None
) -> None:
    first, second = make_context("a", inputs), make_context("b", inputs)
    file = assembled(made(first), first)
    assert made(second) == []
    (second.results / file.path).unlink()
    again = assembled([], second)
    assert (again.name, again.path) == (file.name, file.path)
    assert (second.results / file.path).is_file()


def test_the_first_result_of_two_concurrent_orders_is_kept(make_context: MakeBench) -> None:
    first, second = make_context("a", RASTER), make_context("b", RASTER)
    pieces = made(first), made(second)
    assert pieces[0]
    assert len(pieces[0]) == len(pieces[1])
    file = assembled(pieces[1], second)
    status = (first.results / file.path).stat()
    assert assembled(pieces[0], first) == file
    after = (first.results / file.path).stat()
    assert (after.st_ino, after.st_mtime_ns) == (status.st_ino, status.st_mtime_ns)


@pytest.mark.parametrize("inputs", [RASTER, None])
def test_the_second_of_two_processes_waits_for_the_first(
    make_context: MakeBench, inputs: Mapping[str, str] | None
) -> None:
    begun, waits = threading.Event(), threading.Event()
    expected: list[str] = []

    def work(_fraction: float, message: str) -> None:
        if message != "Reading the order":
            begun.set()
            assert waits.wait(60)

    def hear(_fraction: float, message: str) -> None:
        expected.append(message)
        if message.startswith("waits for"):
            waits.set()

    first, second = (make_context(job, inputs, workers=1) for job in ("a", "b"))
    files: dict[str, ResultFile] = {}

    def run(context: JobContext, report: Report) -> None:
        files[context.job_id] = done(replace(context, report=report))

    threads = [threading.Thread(target=run, args=each) for each in ((first, work), (second, hear))]
    threads[0].start()
    assert begun.wait(60)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert files["a"] == files["b"]
    assert set(expected) - {"Reading the order", "Making the checksum"} == {
        "waits for the same product, which another order is making"
    }
    assert not list(second.folder.glob("piece-*"))


def test_a_missing_or_partial_piece_is_refused(make_context: MakeBench) -> None:
    context = make_context(inputs=RASTER)
    pieces = made(context)
    place = max(range(len(pieces)), key=lambda number: pieces[number]["size"])
    name = "CLMS_CLCplus_RASTER_2023_010m_sk_05514_V1_1.zip"
    refusal = f"piece {place + 1} of {len(pieces)} of {name} is missing or not whole"
    with pytest.raises(BrokenPiece, match=refusal):
        assembled([*pieces[:place], *pieces[place + 1 :]], context)
    path = context.results / pieces[place]["path"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BrokenPiece, match=refusal):
        assembled(pieces, context)
    path.unlink()
    with pytest.raises(BrokenPiece, match=refusal):
        assembled(pieces, context)


@pytest.mark.parametrize("inputs", [RASTER, VECTOR])
def test_a_piece_is_written_atomically(make_context: MakeBench, inputs: Mapping[str, str]) -> None:
    context = make_context(inputs=inputs)
    work = work_of("national-product")
    part = work.plan(context)[0]

    def stop(_fraction: float, _message: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        work.make(part, replace(context, report=stop))
    assert list(context.folder.iterdir()) == []
    assert work.make(part, context) == work.make(part, context), "who makes it again makes the same"


def test_an_interrupted_assembly_is_repeated(make_context: MakeBench) -> None:
    context = make_context(inputs=RASTER)
    pieces = made(context)

    def stop(fraction: float, _message: str) -> None:
        if fraction > 0.5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        assembled(pieces, replace(context, report=stop))
    assert (context.folder / "members").exists()
    assert (context.results / assembled(pieces, context).path).is_file()


@pytest.mark.parametrize("inputs", [RASTER, None])
def test_a_source_that_changes_between_two_steps_makes_no_product(
    make_context: MakeBench, source: Path, inputs: Mapping[str, str] | None
) -> None:
    context = make_context(inputs=inputs)
    work = work_of(context.order.process)
    parts = work.plan(context)
    pieces = [work.make(part, context) for part in parts]
    source.write_bytes(source.read_bytes() + b"\0")
    with pytest.raises(BrokenSource, match="was changed while CLMS"):
        work.make(parts[0], context)
    with pytest.raises(BrokenSource, match="was changed while CLMS"):
        work.assemble(pieces, context)
    assert not list((context.results / "house").rglob("CLMS*"))


def test_the_checksum_of_europe_is_made_as_a_part(make_context: MakeBench, source: Path) -> None:
    reports: list[str] = []
    context = replace(make_context(), report=lambda _fraction, message: reports.append(message))
    pieces = made(context)
    assert len(pieces) == 1
    assert set(reports) == {"Making the checksum"}
    reports.clear()
    file = assembled(pieces, context)
    assert reports == []
    assert file.sha256 == pieces[0]["sha256"]
    assert (context.results / file.path).samefile(source)
