"""The files of results: their paths, expiring links, and the removal of files that no job needs."""

import hmac
import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_bytes
from typing import Literal
from urllib.parse import quote
from uuid import UUID

from orchestration.errors import ResultMissing
from orchestration.job import Job, ResultFile, Status
from orchestration.keys import stored_key
from orchestration.prebuilt.record import PREBUILT_FOLDER, recorded_file

_log = logging.getLogger(__name__)

_A_DAY = 86_400.0
_MOST_REMOVALS = 1000
"""Folders whose removal may be outstanding."""


class ResultFiles:
    """The results folder, `{job}/{attempt}/{try}/…`; only published files are kept."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, job_id: str, attempt: int, try_: int) -> Path:
        """Return the folder in which a try writes its files."""
        return self.root / job_id / str(attempt) / str(try_)

    def path_of(self, file: ResultFile) -> Path:
        """Return the file's path inside the results folder. Raises ResultMissing for a path outside.

        Only a complete prebuilt file may be a link to a path outside: the source of its product.
        """
        if Path(file.path).parts[:1] == (PREBUILT_FOLDER,):
            return self._prebuilt_path(file)
        path = (self.root / file.path).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise ResultMissing(f"{file.name} is not in the results folder")
        return path

    def _prebuilt_path(self, file: ResultFile) -> Path:
        path = Path(os.path.normpath(self.root / file.path))
        if path.parent.resolve().parent != self.root.resolve() / PREBUILT_FOLDER:
            raise ResultMissing(f"{file.name} is not among the prebuilt files")
        if recorded_file(path) != file:
            raise ResultMissing(f"{file.name} was removed or changed")
        return path

    def remove(self, job_id: str) -> None:
        """Remove the job's folder."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.root / job_id)

    def tidy(self, job: Job) -> None:
        """Remove the files that the job's state does not need: incomplete ones, and those of other attempts."""
        files = {self.root / output.file.path for output in job.manifest if output.file}
        files = {path for path in files if path.is_relative_to(self.root / job.id)}
        if job.status is Status.RUNNING:
            _keep_only({self.root / job.id / str(job.attempt)}, self.root / job.id)
        elif job.status is Status.SUCCESSFUL and files:
            _keep_only(files, self.root / job.id)
        else:
            self.remove(job.id)

    def sweep(self, job_of: Callable[[str], Job | None]) -> None:
        """Tidy the folder of every job, and remove folders and old files that belong to no job."""
        for stray in self.root.glob("*"):
            if (stray.is_symlink() or not stray.is_dir()) and is_old(stray):
                stray.unlink()
        for folder in [entry for entry in self.root.glob("*") if _is_id(entry.name)]:
            job = job_of(folder.name)
            if job is None:
                self.remove(folder.name)
            else:
                self.tidy(job)


class BackgroundRemoval:
    """Removes the folders of finished jobs in a thread, as each may wait for the disk several times.

    A folder that is left, because the process ends or the disk fails, is removed by `ResultFiles.sweep`.
    """

    def __init__(self, files: ResultFiles) -> None:
        self._files = files
        self._thread = ThreadPoolExecutor(1, "remove")
        self._removing: dict[str, Future[None]] = {}

    def remove(self, job_id: str) -> None:
        """Remove the job's folder, soon; wait for earlier ones if very many are left."""
        if len(self._removing) >= _MOST_REMOVALS:
            self.wait()
        self._removing[job_id] = self._thread.submit(self._files.remove, job_id)

    def take_removed(self) -> list[str]:
        """Return the jobs whose folders were removed since the last call."""
        done = [job_id for job_id, future in self._removing.items() if future.done()]
        for job_id in done:
            if error := self._removing.pop(job_id).exception():
                _log.warning("files not removed yet: %s", error, extra={"job": job_id})
        return done

    def wait(self) -> None:
        """Wait until all folders are removed."""
        wait(self._removing.values())

    def close(self) -> None:
        """Leave the folders that are not removed yet."""
        self._thread.shutdown(wait=False, cancel_futures=True)


class Results(ResultFiles):
    """The results folder and signed links to its files.

    `url` is the public address without a trailing slash; a link expires after at most `link_days` days.
    """

    def __init__(self, root: Path, *, key: bytes, url: str, link_days: int = 7) -> None:
        super().__init__(root)
        self._key = key
        self._url = url
        self._link_time = timedelta(days=link_days)

    def derived_key(self, use: str) -> bytes:
        """Return a key for another use than links, which says nothing of the key itself."""
        return hmac.digest(self._key, f"landcast {use}".encode(), "sha256")

    def link(self, job_id: str, file: ResultFile, *, owner: str, now: datetime, until: datetime | None = None) -> str:
        """Return a signed link that gives access to this file without authentication.

        It expires at `until`, the job's `files_until`, at the latest.
        """
        end = now + self._link_time
        exp = str(int(min(end, until or end).timestamp()))
        sig = self._sign(job_id, owner, file.name, exp)
        return f"{self._url}/results/{quote(job_id, safe='')}/{quote(file.name, safe='')}?exp={exp}&sig={sig}"

    def verify(
        self, job_id: str, name: str, exp: str, sig: str, *, owner: str, now: datetime
    ) -> Literal["valid", "expired", "invalid"]:
        """Verify a link in constant time; only a link with a valid signature can be 'expired'."""
        if not hmac.compare_digest(self._sign(job_id, owner, name, exp).encode(), sig.encode(errors="replace")):
            return "invalid"
        return "valid" if now.timestamp() < int(exp) else "expired"

    def _sign(self, job_id: str, owner: str, name: str, exp: str) -> str:
        return hmac.digest(self._key, json.dumps([job_id, owner, name, exp]).encode(), "sha256").hex()


def _keep_only(published: set[Path], folder: Path) -> None:
    """Remove everything in the folder except the `published` paths and their parents."""
    on_the_way = {parent for path in published for parent in path.parents}
    for entry in list(folder.glob("*")):
        if entry in published:
            continue
        if entry in on_the_way:
            _keep_only(published, entry)
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def is_old(path: Path) -> bool:
    """Return whether the path was not modified for a day, so that no process is still writing it."""
    try:
        return time.time() - path.lstat().st_mtime > _A_DAY
    except FileNotFoundError:
        return False


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def results_key(state_dir: Path) -> bytes:
    """Return the key that signs links, created once for all processes and readable by their user only."""
    return stored_key(state_dir / "results.key", lambda: token_bytes(32))
