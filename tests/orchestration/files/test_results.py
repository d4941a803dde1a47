import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from orchestration.errors import ResultMissing
from orchestration.files.results import BackgroundRemoval, ResultFiles, Results, results_key
from orchestration.job import Job, Order, Output, ResultFile, Status

_NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
_FILE = ResultFile("Raster ü&1.zip", "job/1/1/Raster ü&1.zip", "application/zip", 1, "00")


def _results(key: bytes = b"k" * 32) -> Results:
    return Results(Path("results"), key=key, url="https://example.org/prefix", link_days=7)


def _taken_apart(link: str) -> tuple[str, str]:
    query = parse_qs(urlsplit(link).query)
    return query["exp"][0], query["sig"][0]


def test_a_link_is_valid_until_it_expires() -> None:
    results = _results()
    link = results.link("job", _FILE, owner="ada", now=_NOW)
    assert link.startswith("https://example.org/prefix/results/job/Raster%20%C3%BC%261.zip?exp=")
    exp, sig = _taken_apart(link)
    end = _NOW + timedelta(days=7)
    assert results.verify("job", _FILE.name, exp, sig, owner="ada", now=end - timedelta(seconds=1)) == "valid"
    assert results.verify("job", _FILE.name, exp, sig, owner="ada", now=end) == "expired"


def test_a_link_expires_with_its_files() -> None:
    until = _NOW + timedelta(hours=2)
    exp, _ = _taken_apart(_results().link("job", _FILE, owner="ada", now=_NOW, until=until))
    assert int(exp) == until.timestamp()
    exp, _ = _taken_apart(_results().link("job", _FILE, owner="ada", now=_NOW, until=_NOW + timedelta(days=30)))
    assert int(exp) == (_NOW + timedelta(days=7)).timestamp()


def test_a_link_with_a_wrong_signature_is_invalid() -> None:
    results = _results()
    exp, sig = _taken_apart(results.link("job", _FILE, owner="ada", now=_NOW))
    later = str(int(exp) + 86_400)
    forged = [
        ("job", _FILE.name, later, sig),
        ("other", _FILE.name, exp, sig),
        ("job", "other.zip", exp, sig),
        ("job", _FILE.name, "0" + exp, sig),
        ("job", _FILE.name, exp, ""),
        ("job", _FILE.name, exp, sig.upper()),
        ("job", _FILE.name, exp, sig + "0"),
        ("job", _FILE.name, exp, "ü\udcff"),
        ("job", _FILE.name, "", sig),
        ("job", _FILE.name, "never", sig),
        ("job\n" + _FILE.name, "", exp, sig),
    ]
    for job, name, end, signature in forged:
        assert results.verify(job, name, end, signature, owner="ada", now=_NOW) == "invalid"
        assert results.verify(job, name, end, signature, owner="ada", now=_NOW + timedelta(days=99)) == "invalid"
    assert results.verify("job", _FILE.name, exp, sig, owner="eve", now=_NOW) == "invalid"
    assert _results(b"x" * 32).verify("job", _FILE.name, exp, sig, owner="ada", now=_NOW) == "invalid"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "job/../../x", "link/x", ".."])
def test_no_path_leaves_the_results_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "link").symlink_to(tmp_path)
    files = ResultFiles(tmp_path / "results")
    with pytest.raises(ResultMissing):
        files.path_of(ResultFile("x", path, "text/plain", 1, ""))
    assert files.path_of(ResultFile("x", "job/1/1/x", "text/plain", 1, "")) == tmp_path / "results/job/1/1/x"


def test_all_processes_share_one_private_key(tmp_path: Path) -> None:
    program = """if True:
        import sys
        from pathlib import Path
        from orchestration.files.results import results_key
        sys.stdin.readline()
        print(results_key(Path(sys.argv[1])).hex())"""
    command = [sys.executable, "-c", program, str(tmp_path / "state")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    keys = {process.communicate("go\n")[0].strip() for process in processes}
    assert keys == {results_key(tmp_path / "state").hex()}
    assert len(bytes.fromhex(keys.pop())) == 32
    (path,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


_PATHS = (
    "1/1/manifest.json",
    "1/run.lock",
    "1/1/half.zip",
    "2/1/r.zip",
    "2/1/manifest.json",
    "2/1/members/a",
    "2/2/r.zip",
)


def _staged(root: Path, job_id: str) -> None:
    for path in _PATHS:
        (root / job_id / path).parent.mkdir(parents=True, exist_ok=True)
        (root / job_id / path).touch()


def _left(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def _job(job_id: str, status: Status, *manifest: Output) -> Job:
    return Job(job_id, Order("echo", {}, "local"), status, _NOW, _NOW, attempt=2, manifest=manifest)


def test_tidy_keeps_the_files_of_the_result(tmp_path: Path, make_output: Callable[[str], Output]) -> None:
    files = ResultFiles(tmp_path)
    published = make_output("j/2/1/r.zip")
    attempt_2 = {f"j/{path}" for path in _PATHS if path.startswith("2/")}
    for job, left in [
        (_job("j", Status.RUNNING), attempt_2),
        (_job("j", Status.SUCCESSFUL, published), {"j/2/1/r.zip"}),
        (_job("j", Status.SUCCESSFUL, Output("stringOutput", "x")), set()),
        (_job("j", Status.ACCEPTED), set()),
        (_job("j", Status.FAILED), set()),
        (_job("j", Status.DISMISSED), set()),
    ]:
        _staged(tmp_path, "j")
        files.tidy(job)
        assert _left(tmp_path) == left, job.status
    assert list(tmp_path.iterdir()) == []


def test_sweep_removes_orphans_and_no_foreign_files(tmp_path: Path) -> None:
    known, orphan = str(uuid4()), str(uuid4())
    _staged(tmp_path, known)
    _staged(tmp_path, orphan)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "keep.txt").touch()
    jobs = {known: _job(known, Status.RUNNING)}
    ResultFiles(tmp_path).sweep(jobs.get)
    assert {entry.name for entry in tmp_path.iterdir()} == {known, "notes"}
    assert "notes/keep.txt" in _left(tmp_path)


def test_sweep_removes_abandoned_files(tmp_path: Path) -> None:
    for name in ("old.zip", "young.zip"):
        (tmp_path / name).touch()
    (tmp_path / "house").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "house")
    os.utime(tmp_path / "old.zip", (0, 0))
    os.utime(tmp_path / "link", (0, 0), follow_symlinks=False)
    os.utime(tmp_path / "house", (0, 0))
    ResultFiles(tmp_path).sweep(lambda _: None)
    assert {entry.name for entry in tmp_path.iterdir()} == {"young.zip", "house"}


def test_remove_is_complete_and_repeatable(tmp_path: Path) -> None:
    _staged(tmp_path, "j")
    ResultFiles(tmp_path).remove("j")
    ResultFiles(tmp_path).remove("j")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_removal_in_the_background_is_left_to_the_sweep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ResultFiles(tmp_path)
    stuck, gone = str(uuid4()), str(uuid4())
    for job_id in (stuck, gone):
        (tmp_path / job_id / "1").mkdir(parents=True)
    remove = files.remove

    def fail_once(job_id: str) -> None:
        if job_id == stuck:
            raise OSError("Input/output error")
        remove(job_id)

    removal = BackgroundRemoval(files)
    with monkeypatch.context() as broken:
        broken.setattr(files, "remove", fail_once)
        removal.remove(stuck)
        removal.remove(gone)
        removal.wait()
    assert sorted(removal.take_removed()) == sorted([stuck, gone])
    assert removal.take_removed() == []
    assert [path.name for path in tmp_path.iterdir()] == [stuck]
    assert "files not removed yet: Input/output error" in caplog.text
    files.sweep(lambda _: None)
    assert not list(tmp_path.iterdir())
    removal.close()


def test_the_queue_of_background_removals_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.files.results._MOST_REMOVALS", 2)
    files = ResultFiles(tmp_path)
    removed: list[str] = []
    monkeypatch.setattr(files, "remove", removed.append)
    removal = BackgroundRemoval(files)
    for job_id in "abc":
        removal.remove(job_id)
    assert removed[:2] == ["a", "b"], "the third has waited for them"
    removal.close()
