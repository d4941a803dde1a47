"""The result of an operator's own DAG: the value of one of its tasks, or the file that this value names."""

import hashlib
import json
import mimetypes
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.files.document import MAX_INLINE
from orchestration.job import Output, ResultFile
from orchestration.runners import Done, Failed
from orchestration.runners.airflow.run import Run

if TYPE_CHECKING:
    from orchestration.runners.airflow.client import Airflow

_JSON = "application/json"
_UNCLEAR = "Its DAG does not say what the result is; the operator finds why in the log under the job's id."
_UNREADABLE = "The result of its DAG cannot be read; the operator finds why in the log under the job's id."


def result_of(run: Run, airflow: "Airflow") -> Done | Failed:
    """Return the result of a successful run. Raises WorkflowUnavailable, WorkflowRefused."""
    row, dag = run.process, run.dags[0]
    leaves = [row.task] if row.task else airflow.leaves(dag)
    if len(leaves) != 1:
        detail = f"the DAG {dag} has the last tasks {', '.join(leaves) or 'none'}; name one as `task`"
        return Failed(_UNCLEAR, detail)
    value = airflow.value(dag=dag, run=run.name, task=leaves[0])
    try:
        return Done((_output(value, run),))
    except OSError as error:
        return Failed(_UNREADABLE, f"{type(error).__name__}: {error}")


def _output(value: Any, run: Run) -> Output:
    """Return the value as an output, or the file that it names below the folder `files` of the process."""
    name = run.process.output
    if (found := _named_file(value, run.process.files_below)) is not None:
        file = _published(found, run)
        return Output(name, None, file.media_type, file)
    content = json.dumps(value, ensure_ascii=False).encode(errors="replace")
    if len(content) > MAX_INLINE:
        path = _folder(run) / f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.json"
        path.write_bytes(content)
        return Output(name, None, _JSON, _file(path, run, _JSON))
    return Output(name, json.loads(content, parse_constant=lambda _: None), _JSON)


def _named_file(value: Any, below: str) -> Path | None:
    """Return the file that a value names if it is below the folder after resolving links, or None.

    The value of a DAG may come from a caller's input.
    """
    if not below or not isinstance(value, str) or not value or "\0" in value:
        return None
    root = Path(below).resolve()
    path = (root / value).resolve()
    return path if path.is_relative_to(root) and path.is_file() else None


def _published(source: Path, run: Run) -> ResultFile:
    """Copy the file into the folder of the attempt, where it no longer changes."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", source.name).lstrip(".")[-100:] or "result"
    target = _folder(run) / name
    shutil.copyfile(source, target)
    return _file(target, run, mimetypes.guess_type(name)[0] or "application/octet-stream")


def _folder(run: Run) -> Path:
    folder = run.folder / "dag"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _file(path: Path, run: Run, media_type: str) -> ResultFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    results = run.folder.parents[1]
    return ResultFile(path.name, str(path.relative_to(results)), media_type, path.stat().st_size, digest)
