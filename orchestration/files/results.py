"""The files of results: where they lie, links to them that end, and what is swept."""

import hmac
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_bytes
from typing import Literal
from urllib.parse import quote
from uuid import UUID

from orchestration.errors import ResultMissing
from orchestration.job import Job, ResultFile, Status
from orchestration.keys import kept_key
from orchestration.prebuilt.record import PREBUILT_FOLDER, recorded_file

_A_DAY = 86_400.0


class ResultFiles:
    """The folder of results: `{job}/{attempt}/{try}/…`, of which only what is published stays."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, job_id: str, attempt: int, try_: int) -> Path:
        """Return where one try stages what it makes."""
        return self.root / job_id / str(attempt) / str(try_)

    def path_of(self, file: ResultFile) -> Path:
        """Return the file's path, always inside the folder of results. Raises ResultMissing for any other.

        Only a complete prebuilt file may be a link that leads outside: to the product that it is made from.
        """
        if Path(file.path).parts[:1] == (PREBUILT_FOLDER,):
            return self._prebuilt_path(file)
        path = (self.root / file.path).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise ResultMissing(f"{file.name} is not in the folder of results")
        return path

    def _prebuilt_path(self, file: ResultFile) -> Path:
        path = Path(os.path.normpath(self.root / file.path))
        if path.parent.resolve().parent != self.root.resolve() / PREBUILT_FOLDER:
            raise ResultMissing(f"{file.name} is not among the prebuilt files")
        if recorded_file(path) != file:
            raise ResultMissing(f"{file.name} was removed or changed")
        return path

    def remove(self, job_id: str) -> None:
        """Remove everything of the job."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.root / job_id)

    def tidy(self, job: Job) -> None:
        """Remove what the job's state does not need: half-written files, other attempts, the loser's files."""
        files = {self.root / output.file.path for output in job.manifest if output.file}
        files = {path for path in files if path.is_relative_to(self.root / job.id)}
        if job.status is Status.RUNNING:
            _keep_only({self.root / job.id / str(job.attempt)}, self.root / job.id)
        elif job.status is Status.SUCCESSFUL and files:
            _keep_only(files, self.root / job.id)
        else:
            self.remove(job.id)

    def sweep(self, job_of: Callable[[str], Job | None]) -> None:
        """Tidy every job's folder, remove those of jobs that are not there, and files that belong to none."""
        for stray in self.root.glob("*"):
            if (stray.is_symlink() or not stray.is_dir()) and is_old(stray):
                stray.unlink()
        for folder in [entry for entry in self.root.glob("*") if _is_id(entry.name)]:
            job = job_of(folder.name)
            if job is None:
                self.remove(folder.name)
            else:
                self.tidy(job)


class Results(ResultFiles):
    """The folder of results and signed links to its files.

    `url` is the public address without a slash at its end; a link ends after `link_days` days at most.
    """

    def __init__(self, root: Path, *, key: bytes, url: str, link_days: int = 7) -> None:
        super().__init__(root)
        self._key = key
        self._url = url
        self._link_time = timedelta(days=link_days)

    def link(self, job_id: str, file: ResultFile, *, owner: str, now: datetime, until: datetime | None = None) -> str:
        """Return a link to the file that needs no identity: a ticket for this file of this owner's job, and its end.

        It ends with `until`, the job's `files_until`, at last.
        """
        end = now + self._link_time
        exp = str(int(min(end, until or end).timestamp()))
        sig = self._sign(job_id, owner, file.name, exp)
        return f"{self._url}/results/{quote(job_id, safe='')}/{quote(file.name, safe='')}?exp={exp}&sig={sig}"

    def verify(
        self, job_id: str, name: str, exp: str, sig: str, *, owner: str, now: datetime
    ) -> Literal["valid", "expired", "invalid"]:
        """Judge a link in constant time; only one that we signed can be 'expired'."""
        if not hmac.compare_digest(self._sign(job_id, owner, name, exp).encode(), sig.encode(errors="replace")):
            return "invalid"
        return "valid" if now.timestamp() < int(exp) else "expired"

    def _sign(self, job_id: str, owner: str, name: str, exp: str) -> str:
        return hmac.digest(self._key, json.dumps([job_id, owner, name, exp]).encode(), "sha256").hex()


def _keep_only(kept: set[Path], folder: Path) -> None:
    """Remove everything in the folder that is neither kept nor on the way to it."""
    on_the_way = {parent for path in kept for parent in path.parents}
    for entry in list(folder.glob("*")):
        if entry in kept:
            continue
        if entry in on_the_way:
            _keep_only(kept, entry)
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def is_old(path: Path) -> bool:
    """Say whether nothing was written at the path for a day, so that nobody is at it any more."""
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
    """Return the key that signs links, made once for all processes, readable by their user only."""
    return kept_key(state_dir / "results.key", lambda: token_bytes(32))
