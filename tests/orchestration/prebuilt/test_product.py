"""A prebuilt file is made once, complete and from the current source, and outlives its jobs."""

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestration.errors import ResultMissing
from orchestration.files.results import ResultFiles
from orchestration.files.usage import allocated
from orchestration.housekeeping import spare_prebuilt, sweep_drafts, sweep_prebuilt
from orchestration.job import Order, ResultFile
from orchestration.pools import pools_on_this_machine
from orchestration.prebuilt.product import PrebuiltProduct, PrebuiltProducts, manifest_of
from orchestration.reconcile import Reconciler
from orchestration.runners.embedded import EmbeddedRunner
from orchestration.store.jobs import StoredJobs
from products.catalogue import Product
from products.errors import BrokenSource, UnknownProduct
from products.nations import find_nation
from products.progress import Report, unheard
from products.whole import link

MakeStore = Callable[..., StoredJobs]


class Workshop:
    """A product, a folder of prebuilt files, and the number of files made."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "source.tif"
        self.source.write_bytes(b"pixels")
        self.product = Product("p", "A product", 2023, self.source, None, "Copernicus")
        self.files = ResultFiles(folder / "results")
        self.stage = self.files.root / "job" / "1" / "1"
        self.stage.mkdir(parents=True)
        self.prebuilt_files = PrebuiltProducts(self.files.root)
        self.made = 0

    @property
    def prebuilt(self) -> PrebuiltProduct:
        return PrebuiltProduct(self.product, "Raster", find_nation("Poland"))

    def write(self, target: Path, _report: Report) -> None:
        self.made += 1
        target.write_bytes(b"made of " + self.source.read_bytes())

    def provide(self, prebuilt: PrebuiltProduct | None = None, report: Report = unheard) -> ResultFile:
        return self.prebuilt_files.provide(prebuilt or self.prebuilt, self.write, self.stage, report)

    def change(self) -> None:
        self.source.write_bytes(b"other pixels")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_a_product_is_made_once_and_then_ready(workshop: Workshop) -> None:
    assert workshop.prebuilt_files.ready(workshop.prebuilt) is None
    file = workshop.provide()
    assert file.name == "CLMS_CLCplus_RASTER_2023_010m_pl_02180_V1_1.zip"
    content = workshop.files.path_of(file).read_bytes()
    assert content == b"made of pixels"
    assert (file.sha256, file.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert workshop.provide() == file
    assert workshop.prebuilt_files.ready(workshop.prebuilt) == manifest_of(file)
    assert workshop.made == 1
    assert list(workshop.stage.iterdir()) == []


def test_every_edition_has_a_file_of_its_own(workshop: Workshop) -> None:
    product = replace(workshop.product, vector=workshop.source)
    editions = [
        PrebuiltProduct(product, "Raster"),
        *(
            PrebuiltProduct(product, kind, find_nation(name))
            for kind in ("Raster", "Vector")
            for name in ("Poland", "Serbia")
        ),
        PrebuiltProduct(replace(product, version="V2"), "Raster"),
        PrebuiltProduct(replace(product, licence="another"), "Raster"),
    ]
    assert len({workshop.provide(prebuilt).path for prebuilt in editions}) == workshop.made == len(editions)


def test_a_product_of_a_changed_source_is_made_again(workshop: Workshop) -> None:
    before = workshop.provide()
    workshop.change()
    assert workshop.prebuilt_files.ready(workshop.prebuilt) is None
    after = workshop.provide()
    assert after.path != before.path
    assert workshop.files.path_of(before).read_bytes() == b"made of pixels"
    assert workshop.files.path_of(after).read_bytes() == b"made of other pixels"


def test_a_source_that_changes_while_it_is_read_makes_no_product(workshop: Workshop) -> None:
    def write(target: Path, report: Report) -> None:
        workshop.write(target, report)
        workshop.change()

    with pytest.raises(BrokenSource, match="was changed"):
        workshop.prebuilt_files.provide(workshop.prebuilt, write, workshop.stage, unheard)
    assert workshop.prebuilt_files.ready(workshop.prebuilt) is None


def test_a_missing_source_is_named(workshop: Workshop) -> None:
    workshop.source.unlink()
    with pytest.raises(BrokenSource):
        workshop.prebuilt_files.ready(workshop.prebuilt)
    with pytest.raises(UnknownProduct, match="no Vector"):
        workshop.prebuilt_files.ready(replace(workshop.prebuilt, kind="Vector"))


def test_files_of_a_killed_process_are_not_complete(workshop: Workshop) -> None:
    file = workshop.provide()
    path = workshop.files.path_of(file)
    path.with_name(f"{path.name}.json").unlink()
    path.write_bytes(b"made")
    assert workshop.prebuilt_files.ready(workshop.prebuilt) is None
    assert workshop.provide() == file
    assert workshop.made == 2


def test_the_second_of_two_concurrent_orders_waits_for_the_first(workshop: Workshop) -> None:
    begun, go_on, waits = threading.Event(), threading.Event(), threading.Event()
    files: list[ResultFile] = []
    reports: list[str] = []

    def slow(target: Path, report: Report) -> None:
        begun.set()
        assert go_on.wait(60)
        workshop.write(target, report)

    def hear(_fraction: float, message: str) -> None:
        reports.append(message)
        waits.set()

    first = threading.Thread(
        target=lambda: files.append(workshop.prebuilt_files.provide(workshop.prebuilt, slow, workshop.stage, unheard))
    )
    second = threading.Thread(target=lambda: files.append(workshop.provide(report=hear)))
    first.start()
    assert begun.wait(60)
    second.start()
    assert waits.wait(60)
    go_on.set()
    first.join()
    second.join()
    assert set(reports) == {"waits for the same product, which another order is making"}
    assert files[0] == files[1]
    assert workshop.made == 1


def _linked(workshop: Workshop) -> ResultFile:
    def write(target: Path, _report: Report) -> None:
        link(workshop.source, target)

    return workshop.prebuilt_files.provide(PrebuiltProduct(workshop.product, "Raster"), write, workshop.stage, unheard)


def test_the_european_file_is_the_source_itself(workshop: Workshop) -> None:
    path = workshop.files.path_of(_linked(workshop))
    assert path.name == "CLMS_CLCplus_RASTER_2023_010m_eu_03035_V1_1.tif"
    assert path.samefile(workshop.source)
    assert not path.is_symlink()


def test_a_symbolic_link_is_used_if_no_hard_link_is_possible(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    file = _linked(workshop)
    path = workshop.files.path_of(file)
    assert path.is_symlink()
    assert path.read_bytes() == b"pixels"
    os.utime(workshop.source, ns=(0, 0))
    with pytest.raises(ResultMissing, match="changed"):
        workshop.files.path_of(file)


def test_only_complete_prebuilt_files_may_link_to_a_source(workshop: Workshop, tmp_path: Path) -> None:
    """Attack: read any file of the machine by a link in the results folder or a path with `..`."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    root = workshop.files.root
    (root / "house" / "key").mkdir(parents=True)
    (root / "house" / "key" / "secret").symlink_to(secret)
    (root / "house" / "out").symlink_to(tmp_path)
    (root / "job" / "secret").symlink_to(secret)
    for path in (
        "house/key/secret",
        "house/out/secret",
        "house/../../secret",
        "house/key/../../../secret",
        "job/../house/key/secret",
        "./house/key/secret",
        "job/secret",
        "house",
        "house/secret",
    ):
        with pytest.raises(ResultMissing):
            workshop.files.path_of(ResultFile("secret", path, "text/plain", 1, ""))


def test_the_end_of_a_job_keeps_the_file(workshop: Workshop, make_store: MakeStore) -> None:
    file = workshop.provide()
    store = make_store()
    order = Order("national-product", {}, "local")
    for _ in range(2):
        job, _new = store.add(order, manifest_of(file))
        (workshop.files.root / job.id / "1").mkdir(parents=True)
        workshop.files.tidy(job)
        assert not (workshop.files.root / job.id).exists()
        store.dismiss(job.id)
        workshop.files.remove(job.id)
    workshop.files.sweep(store.get)
    assert workshop.files.path_of(file).is_file()


def test_an_expired_result_keeps_the_file(workshop: Workshop, make_store: MakeStore) -> None:
    file = workshop.provide()
    store = make_store(files_days=0)
    job, _ = store.add(Order("national-product", {}, "local"), manifest_of(file))
    runner = EmbeddedRunner(workshop.files.root, ())
    end = iter([False, False, True])
    reconciler = Reconciler(store, pools_on_this_machine(runner, 1, frozenset()), workshop.files, jobs_days=365)
    reconciler.run(lambda: next(end), beat=lambda: None)
    after = store.get(job.id)
    assert after is not None
    assert after.expired
    assert workshop.prebuilt_files.ready(workshop.prebuilt) == manifest_of(file)
    assert workshop.files.path_of(file).is_file()


def _sweep(workshop: Workshop, store: StoredJobs, config: Path, *, days: float = 2) -> set[str]:
    then = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    for folder in (workshop.files.root / "house").iterdir():
        os.utime(folder, (then, then))
    sweep_prebuilt(workshop.files.root, store, config)
    return {folder.name for folder in (workshop.files.root / "house").iterdir()}


def _configuration(workshop: Workshop, folder: Path) -> Path:
    path = folder / "config.yml"
    provider = f"{{type: coverage, name: x, data: {workshop.source}}}"
    path.write_text(
        "products: {p: {title: A product, year: 2023, raster: r, attribution: Copernicus}}\n"
        f"resources: {{r: {{type: collection, providers: [{provider}]}}}}\n"
    )
    return path


def test_only_outdated_files_without_a_result_are_removed(
    workshop: Workshop, tmp_path: Path, make_store: MakeStore
) -> None:
    config, store = _configuration(workshop, tmp_path), make_store()
    workshop.product = replace(workshop.product, collections=("r",))
    stale = workshop.provide().path.split("/")[1]
    workshop.change()
    used_file = workshop.provide()
    used = used_file.path.split("/")[1]
    job, _ = store.add(Order("national-product", {}, "local"), manifest_of(used_file))
    workshop.source.write_bytes(b"the third")
    current = workshop.provide().path.split("/")[1]
    assert _sweep(workshop, store, config, days=0.5) == {stale, used, current}
    assert _sweep(workshop, store, tmp_path / "missing.yml") == {stale, used, current}
    (tmp_path / "half.yml").write_text("products: {p: {title: A product, year: 2023, raster: r, attribution: C}}")
    assert _sweep(workshop, store, tmp_path / "half.yml") == {stale, used, current}
    with (workshop.files.root / "house" / stale / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert _sweep(workshop, store, config) == {stale, used, current}
    assert _sweep(workshop, store, config) == {used, current}
    store.files_removed(job.id)
    assert _sweep(workshop, store, config) == {current}
    workshop.source.unlink()
    assert _sweep(workshop, store, config) == {current}


def _three_editions(workshop: Workshop, *, days: float = 2) -> list[ResultFile]:
    """Provide three editions of increasing size and these ages in days."""
    files = []
    for number, nation in enumerate(("Poland", "Austria", "Albania")):
        workshop.source.write_bytes(bytes(20_000 * (number + 1)))
        files.append(workshop.provide(PrebuiltProduct(workshop.product, "Raster", find_nation(nation))))
    then = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    for folder in (workshop.files.root / "house").iterdir():
        os.utime(folder, (then, then))
    return files


def _are_there(workshop: Workshop, files: list[ResultFile]) -> list[bool]:
    return [(workshop.files.root / file.path).exists() for file in files]


def test_at_the_cap_unused_prebuilt_files_are_removed(workshop: Workshop, make_store: MakeStore) -> None:
    store, files = make_store(), _three_editions(workshop)
    job, _ = store.add(Order("national-product", {}, "local"), manifest_of(files[2]))
    root = workshop.files.root
    for cap in (None, 10_000_000):
        spare_prebuilt(root, store, cap)
        assert _are_there(workshop, files) == [True, True, True]
    spare_prebuilt(root, store, allocated(root))
    assert _are_there(workshop, files) == [True, False, True]
    spare_prebuilt(root, store, 0)
    assert _are_there(workshop, files) == [False, False, True]
    store.files_removed(job.id)
    spare_prebuilt(root, store, 0)
    assert _are_there(workshop, files) == [False, False, False]
    assert workshop.provide(PrebuiltProduct(workshop.product, "Raster", find_nation("Albania"))) == files[2]


def test_at_the_cap_recent_files_stay(workshop: Workshop, make_store: MakeStore) -> None:
    files = _three_editions(workshop, days=0.5)
    spare_prebuilt(workshop.files.root, make_store(), 0)
    assert _are_there(workshop, files) == [True, True, True]


def test_abandoned_partial_files_are_removed(workshop: Workshop, make_store: MakeStore, tmp_path: Path) -> None:
    config, store = _configuration(workshop, tmp_path), make_store()
    file = workshop.provide()
    path = workshop.files.path_of(file)
    folder = path.parent
    for name in ("half.zip", "gone.zip.json", f".{path.name}.json.0123abcd.part"):
        (folder / name).touch()
    (folder.parent / "stray").touch()
    for name in (".turn", ".lock"):
        with (folder / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            sweep_prebuilt(workshop.files.root, store, config)
            assert (folder / "half.zip").exists(), name
    sweep_prebuilt(workshop.files.root, store, config)
    assert {entry.name for entry in folder.iterdir()} == {".turn", ".lock", path.name, f"{path.name}.json"}
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]
    assert workshop.prebuilt_files.find(workshop.prebuilt) == file


def test_files_of_a_killed_command_are_removed_after_a_day(tmp_path: Path) -> None:
    draft, sidecar = tmp_path / ".p.tif.0123abcd.part", tmp_path / ".p.tif.0123abcd.part-journal"
    kept = [tmp_path / ".p.tif.89abcdef.part", tmp_path / "p.tif", tmp_path / ".p.party"]
    for path in (draft, sidecar, *kept):
        path.touch()
    for path in (draft, sidecar, *kept[1:]):
        os.utime(path, (0, 0))
    sweep_drafts([tmp_path, tmp_path / "missing"])
    assert set(tmp_path.iterdir()) == set(kept)
