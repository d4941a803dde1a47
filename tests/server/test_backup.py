"""Backups of a real store and real files, made and restored by the commands."""

import io
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile, copytree, rmtree

import pytest
from click.testing import CliRunner, Result

from orchestration.files.results import ResultFiles, results_key
from orchestration.job import Job, Order, Output, ResultFile, Status
from orchestration.prebuilt.product import PrebuiltProduct, PrebuiltProducts, manifest_of
from orchestration.store.jobs import StoredJobs
from products.catalogue import catalogue_of, read_configuration
from products.progress import unheard
from products.whole import link
from server.cli import main
from server.state import RestoreUnfinished, exclusive, in_use

pytestmark = pytest.mark.long

Members = list[tuple[tarfile.TarInfo, bytes]]
Change = Callable[[Members], object]
CONFIG = Path("pygeoapi-config.yml").absolute()


@pytest.fixture
def state(tmp_path: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a state folder with keys, orders in several states, and two results."""
    folder = tmp_path / "state"
    copytree(sample / "sample", folder / "sample")
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(folder))
    results_key(folder)
    (folder / "callbacks.key").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    with closing(StoredJobs(folder / "orders.sqlite")) as store:
        done(store, folder, b"a result" * 1000)
        done(store, folder, b"another")
        begun(store)
        store.add(Order("echo", {"stringInput": "waits"}, "iss|ann"))
    return folder


def begun(store: StoredJobs) -> Job:
    job = store.begin(store.add(Order("echo", {"stringInput": "x"}, "iss|ann"))[0].id)
    assert job is not None
    return job


def done(store: StoredJobs, state: Path, content: bytes) -> Job:
    job = begun(store)
    path = ResultFiles(state / "results").folder(job.id, 1, 1) / "ä result.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    relative = str(path.relative_to(state / "results"))
    file = ResultFile(path.name, relative, "application/zip", len(content), sha256(content).hexdigest())
    assert store.publish(job.id, 1, (Output("result", None, file.media_type, file),))
    return job


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), "--config", str(CONFIG)])


def backup(target: Path, *options: str) -> Path:
    taken = run("backup", target, *options)
    assert taken.exit_code == 0, taken.stderr
    return target


def contents(state: Path) -> dict[str, bytes]:
    """Return the content by name; the database as SQL, since its bytes change each time it is opened."""
    names = [path for path in state.rglob("*") if path.is_file() and path.parent.name != "sample"]
    found = {str(path.relative_to(state)): path.read_bytes() for path in names if not path.name.startswith("orders.")}
    found = {name: content for name, content in found.items() if not name.endswith(".lock")}
    if (state / "orders.sqlite").exists():
        with closing(sqlite3.connect(state / "orders.sqlite")) as connection:
            found["orders"] = "\n".join(connection.iterdump()).encode()
    return found


def test_a_destroyed_state_is_restored_unchanged(state: Path, tmp_path: Path) -> None:
    before = contents(state)
    archive = backup(tmp_path / "backup.tar")
    rmtree(state)
    restored = run("restore", archive)
    assert restored.exit_code == 0, restored.stderr
    copytree(tmp_path / "state", tmp_path / "copy")
    assert contents(state) == before
    assert sorted(path.name for path in state.iterdir()) == [
        *("callbacks.key", "orders.sqlite", "results", "results.key", "state.lock", "work.lock")
    ]


def test_only_its_owner_may_read_a_backup(state: Path, tmp_path: Path) -> None:
    archive = backup(tmp_path / "backup.tar")
    assert archive.stat().st_mode & 0o777 == 0o600
    rmtree(state)
    run("restore", archive)
    assert {(state / name).stat().st_mode & 0o777 for name in ("results.key", "orders.sqlite")} == {0o600}
    assert list(tmp_path.glob(".*")) == []


def test_a_backup_replaces_no_file(state: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    refused = run("backup", tmp_path / "precious")
    assert (refused.exit_code, (tmp_path / "precious").read_text()) == (1, "mine")
    assert "exists already" in refused.stderr
    assert state.exists()


def test_a_missing_folder_for_the_backup_is_named(state: Path, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    for folder in (tmp_path / "no such folder", tmp_path / "no" / "such", tmp_path / "a file"):
        refused = run("backup", folder / "b.tar")
        assert refused.exit_code == 1
        assert f"{folder}: no such folder; create it first" in refused.stderr
    assert state.exists()


def test_a_backup_that_fails_leaves_nothing(state: Path, tmp_path: Path) -> None:
    assert run("backup", tmp_path / "nowhere" / "backup.tar").exit_code == 1
    with closing(StoredJobs(state / "orders.sqlite")) as store:
        done(store, state, b"0" * 500_000)
    refused = subprocess.run(
        [
            "sh",
            "-c",
            'ulimit -f 400; exec "$@"',
            "sh",
            sys.executable,
            "-m",
            "server.cli",
            "backup",
            tmp_path / "b.tar",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "File too large" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


def test_a_backup_without_orders_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_STATE_DIR", str(tmp_path / "nowhere"))
    refused = run("backup", tmp_path / "backup.tar")
    assert (refused.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert "does not exist: no orders yet" in refused.stderr


def test_free_space_is_checked_before_anything_is_written(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = backup(tmp_path / "backup.tar")
    before = contents(state)
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("server.backup.take.shutil.disk_usage", lambda _folder: full)
    for refused in (run("backup", tmp_path / "second.tar"), run("restore", archive, "--force")):
        assert refused.exit_code == 1
        assert "1,000 are free" in refused.stderr
    assert contents(state) == before
    assert not (tmp_path / "second.tar").exists()


def test_orders_restored_without_results_are_gone(state: Path, tmp_path: Path) -> None:
    archive = backup(tmp_path / "backup.tar", "--without-results")
    with tarfile.open(archive) as tar:
        assert not [name for name in tar.getnames() if name.startswith("results/")]
    rmtree(state)
    restored = run("restore", archive)
    assert "2 orders have no result files" in restored.stderr
    with closing(StoredJobs(state / "orders.sqlite")) as store:
        assert store.named_files() == ()
        jobs = [job for job in map(store.get, ids(state)) if job and job.status is Status.SUCCESSFUL]
    assert [job.expired for job in jobs] == [True, True]


def ids(state: Path) -> list[str]:
    with closing(sqlite3.connect(state / "orders.sqlite")) as connection:
        return [row[0] for row in connection.execute("select id from jobs order by number")]


def test_products_are_included_on_request(state: Path, tmp_path: Path) -> None:
    (state / "products").mkdir()
    (state / "products" / "mine.tif").write_bytes(b"raster")
    os.utime(state / "products" / "mine.tif", ns=(1, 1_700_000_000_123_456_789))
    without = backup(tmp_path / "without.tar")
    archive = backup(tmp_path / "with.tar", "--with-products")
    with tarfile.open(without) as tar:
        assert "products/mine.tif" not in tar.getnames()
    rmtree(state)
    assert run("restore", archive).exit_code == 0
    assert (state / "products" / "mine.tif").read_bytes() == b"raster"
    assert (state / "products" / "mine.tif").stat().st_mtime_ns == 1_700_000_000_123_456_789


def european(state: Path) -> Path:
    """Execute an order of the European raster like the worker; return its prebuilt file."""
    product = catalogue_of(read_configuration(CONFIG)).default
    stage = state / "results" / "stage"
    stage.mkdir()
    prebuilt = PrebuiltProduct(product, "Raster")
    write: Callable[[Path, object], None] = lambda target, _report: link(prebuilt.source, target)  # noqa: E731 - one line
    file = PrebuiltProducts(state / "results").provide(prebuilt, write, stage, unheard)
    stage.rmdir()
    with closing(StoredJobs(state / "orders.sqlite")) as store:
        store.add(Order("european-product", {}, "iss|ann"), manifest_of(file))
    return state / "results" / file.path


def test_the_european_raster_is_linked_again_not_copied(state: Path, tmp_path: Path) -> None:
    prebuilt_files = european(state)
    source = catalogue_of(read_configuration(CONFIG)).default.raster
    archive = backup(tmp_path / "backup.tar")
    assert archive.stat().st_size < source.stat().st_size
    rmtree(state)
    restored = run("restore", archive)
    assert "no result" not in restored.stderr
    assert prebuilt_files.samefile(source)


def test_a_european_raster_of_a_changed_source_must_be_ordered_again(state: Path, tmp_path: Path) -> None:
    prebuilt_files = european(state)
    archive = backup(tmp_path / "backup.tar")
    rmtree(state)
    other = tmp_path / "other.yml"
    other.write_text(CONFIG.read_text().replace("sample/clcplus_2023_parks.tif", "other.tif"))
    copyfile("sample/clcplus_2023_parks.tif", tmp_path / "other.tif")
    restored = CliRunner().invoke(main, ["restore", str(archive), "--config", str(other)])
    assert "1 orders have no result" in restored.stderr
    assert "differs and is kept" in restored.stderr
    assert not prebuilt_files.exists()
    assert (state / "restored-configuration.yml").read_bytes() == CONFIG.read_bytes()


def test_a_missing_configuration_is_restored(state: Path, tmp_path: Path) -> None:
    archive = backup(tmp_path / "backup.tar")
    rmtree(state)
    target = tmp_path / "etc" / "landcast.yml"
    restored = CliRunner().invoke(main, ["restore", str(archive), "--config", str(target)])
    assert restored.exit_code == 0
    assert target.read_bytes() == CONFIG.read_bytes()


def test_existing_state_is_moved_aside_only_on_request(state: Path, tmp_path: Path) -> None:
    archive = backup(tmp_path / "backup.tar")
    with closing(StoredJobs(state / "orders.sqlite")) as store:
        done(store, state, b"later")
    later = contents(state)
    refused = run("restore", archive)
    assert refused.exit_code == 1
    assert "--force moves the old state aside" in refused.stderr
    assert contents(state) == later
    forced = run("restore", archive, "--force")
    assert forced.exit_code == 0, forced.stderr
    (aside,) = state.glob("before-restore-*")
    assert contents(aside) == later
    assert len(ids(state)) == len(ids(aside)) - 1
    assert str(aside) in forced.stderr


@pytest.fixture
def archive(state: Path, tmp_path: Path) -> Path:
    assert state.exists()
    return backup(tmp_path / "backup.tar")


def rewritten(archive: Path, change: Change) -> Path:
    """Write the archive again with changed members."""
    with tarfile.open(archive) as tar:
        members = [(info, stream.read() if (stream := tar.extractfile(info)) else b"") for info in tar]
    change(members)
    target = archive.with_name("tampered.tar")
    with tarfile.open(target, "w") as tar:
        for info, content in members:
            info.size = len(content) if info.type == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content))
    return target


def added(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Change:
    def change(members: Members) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        members.insert(2, (info, b"" if kind != tarfile.REGTYPE else b"x"))

    return change


def manifest_with(**changed: object) -> Change:
    def change(members: Members) -> None:
        members[0] = (members[0][0], json.dumps({**json.loads(members[0][1]), **changed}).encode())

    return change


def with_other_bytes(members: Members) -> None:
    members[1] = (members[1][0], members[1][1][:-1] + b"!")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_other_bytes, "'orders.sqlite' is damaged"),
        (lambda members: members.pop(), "is truncated"),
        (lambda members: members.pop(1), "is missing in the archive or in its manifest"),
        (lambda members: members.append(members[1]), "has data after its end"),
        (lambda members: members.insert(2, members[1]), "occurs twice"),
        (lambda members: members.pop(0), "not a backup of this program"),
        (added("results/extra.zip"), "is missing in the archive or in its manifest"),
        (added("/etc/landcast"), "does not belong in a backup"),
        (added("results/../../escaped"), "does not belong in a backup"),
        (added("results/./x"), "does not belong in a backup"),
        (added("results.key.pub"), "does not belong in a backup"),
        (added("results/link", tarfile.SYMTYPE, "/etc"), "no plain file|is a link"),
        (added("results/link", tarfile.LNKTYPE, "orders.sqlite"), "not a regular file"),
        (added("results/device", tarfile.CHRTYPE), "not a regular file|is a special file"),
        (added("results/folder", tarfile.DIRTYPE), "not a regular file"),
        (manifest_with(schema=99), f"install {version('landcast')} or newer"),
        (manifest_with(format=2), "format 2"),
        (manifest_with(store="postgresql"), "store postgresql"),
        (manifest_with(more=1), "not a backup of this program, or is damaged"),
        (manifest_with(size=1 << 60), "are free"),
    ],
)
def test_a_tampered_archive_is_refused_and_changes_nothing(
    archive: Path, state: Path, change: Change, said: str
) -> None:
    before = contents(state)
    refused = run("restore", rewritten(archive, change), "--force")
    assert refused.exit_code == 1
    assert any(expected in refused.stderr for expected in said.split("|")), refused.stderr
    said_besides = [line for line in refused.stderr.splitlines() if not line.startswith("reading the backup: ")]
    assert len([line for line in said_besides if line.strip()]) == 1  # the reason
    assert contents(state) == before
    assert not (state / ".restoring").exists()
    assert not (state.parent / "escaped").exists()


@pytest.mark.parametrize("place", ["nothing", "about", "database", "result", "manifest", "the end of the manifest"])
def test_a_truncated_archive_is_refused(archive: Path, state: Path, place: str) -> None:
    before = contents(state)
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    about, database, result, manifest = (members[number].offset_data for number in (0, 1, -2, -1))
    places = {"nothing": -10, "about": about, "database": database, "result": result, "manifest": manifest}
    cut = places.get(place, manifest + members[-1].size - 15) + 10
    archive.write_bytes(archive.read_bytes()[:cut])
    refused = run("restore", archive, "--force")
    assert refused.exit_code == 1
    assert contents(state) == before


def test_a_foreign_file_is_refused(state: Path) -> None:
    refused = run("restore", CONFIG, "--force")
    assert refused.exit_code == 1
    assert "is not a backup" in refused.stderr
    assert state.exists()


def with_database(change: Callable[[Path], object], folder: Path) -> Change:
    """Change the database in the archive, and the manifest with it."""

    def changed(members: Members) -> None:
        path = folder / "changed.sqlite"
        path.write_bytes(members[1][1])
        change(path)
        content = path.read_bytes()
        entries = json.loads(members[-1][1])
        entries[0] |= {"size": len(content), "sha256": sha256(content).hexdigest()}
        members[1] = (members[1][0], content)
        members[-1] = (members[-1][0], json.dumps(entries).encode())

    return changed


def executing(script: str) -> Callable[[Path], object]:
    def execute(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)

    return execute


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (executing("pragma user_version = 99"), "the schema has version 99"),
        (lambda path: path.write_bytes(b"no database" * 1000), "not a database"),
        (lambda path: path.write_bytes(path.read_bytes()[:-8192]), "malformed"),
    ],
)
def test_an_unusable_database_is_refused_before_anything_changes(
    archive: Path, state: Path, change: Callable[[Path], object], said: str
) -> None:
    before = contents(state)
    refused = run("restore", rewritten(archive, with_database(change, archive.parent)), "--force")
    assert refused.exit_code == 1
    assert said in refused.stderr
    assert contents(state) == before
    assert not (state / ".restoring").exists()


def test_an_older_schema_is_migrated(archive: Path, state: Path) -> None:
    newer = "drop trigger units_ordered; drop trigger units_changed; drop table units; drop index jobs_unit; "
    names = ("fault", "notices", "backend", "bytes", "km2", "unit", "task", "trace")
    columns = "".join(f"alter table jobs drop column {name}; " for name in names)
    older = executing(f"{newer}drop index jobs_used; {columns}pragma user_version = 1;")
    restored = run("restore", rewritten(archive, with_database(older, archive.parent)), "--force")
    assert restored.exit_code == 0, restored.stderr
    with closing(StoredJobs(state / "orders.sqlite")) as store:
        assert len(store.unfinished()) == 2


def test_a_state_in_use_is_not_restored(archive: Path, state: Path) -> None:
    with in_use(state):
        refused = run("restore", archive, "--force")
        assert backup(archive.with_name("meanwhile.tar")).exists()
    assert refused.exit_code == 1
    assert "is in use: stop the server" in refused.stderr
    with exclusive(state):
        assert "a restore is running" in run("backup", archive.with_name("second.tar")).stderr
        assert "a restore is running" in run("work").stderr


def killed_at(step: int, command: list[str], state: Path) -> bool:
    """Run the command in a fork that is killed before rename number `step`; return whether it was killed."""
    if (child := os.fork()) == 0:
        left = iter(range(step))
        for name in ("mkdir", "rename", "replace", "unlink", "hardlink_to"):
            setattr(Path, name, _until(left, getattr(Path, name)))
        done = CliRunner().invoke(main, command, env={"LANDCAST_STATE_DIR": str(state)})
        os._exit(done.exit_code)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _until(left: Iterator[int], act: Callable[..., object]) -> Callable[..., object]:
    def step(*arguments: object, **named: object) -> object:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments, **named)

    return step


def test_a_restore_killed_at_any_step_is_undone_or_completed(state: Path, tmp_path: Path) -> None:
    european(state)
    wanted = contents(state)
    archive = backup(tmp_path / "backup.tar")
    with closing(StoredJobs(state / "orders.sqlite")) as store:
        done(store, state, b"later")
    old = contents(state)
    command = ["restore", str(archive), "--force", "--config", str(CONFIG)]
    interrupted = whole = 0
    for step in itertools.count():
        trial = copytree(state, tmp_path / str(step), symlinks=True)
        if not killed_at(step, command, trial):
            break
        found = contents(trial)
        if (trial / ".restoring" / "journal.json").exists():
            interrupted += 1
            with pytest.raises(RestoreUnfinished, match="run the same `landcast restore` again"), in_use(trial):
                pass
        else:
            whole += 1
            assert settled(found) in (old, wanted)
        again = CliRunner().invoke(main, command, env={"LANDCAST_STATE_DIR": str(trial)})
        assert again.exit_code == 0, again.stderr
        assert settled(contents(trial)) == wanted
        assert not (trial / ".restoring").exists()
        assert old in [contents(aside) for aside in trial.glob("before-restore-*")]
        rmtree(trial)
    assert min(interrupted, whole) > 5


def settled(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if not name.startswith((".restoring", "before-"))}


def test_a_server_does_not_start_on_a_half_restored_state(state: Path) -> None:
    (state / ".restoring").mkdir()
    (state / ".restoring" / "journal.json").write_text("{}")
    for command in ("serve", "check", "work"):
        refused = CliRunner().invoke(main, [command], env={"LANDCAST_AUTH_OPEN": "yes"})
        assert refused.exit_code == 1
        assert "LANDCAST_STATE_DIR: " in refused.stderr
        assert "run the same `landcast restore` again" in refused.stderr
