"""The process manager: executions in vanilla pygeoapi are durable orders, executed by `landcast work`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, override

from pygeoapi.process.base import (
    BaseProcessor,
    JobNotFoundError,
    JobResultNotFoundError,
    ProcessorExecuteError,
)
from pygeoapi.process.manager.base import BaseManager
from pygeoapi.util import DATETIME_FORMAT, JobStatus, RequestedProcessExecutionMode, Subscriber

from orchestration.backend import BackendUpdate
from orchestration.errors import OrchestrationError, ReferenceRefused, StoreUnavailable, UpdateRefused
from orchestration.files.document import value_document
from orchestration.files.results import ResultFiles
from orchestration.heartbeat import heartbeat_age
from orchestration.job import UNFINISHED, Job, JobQuery, Manifest, Notice, Order, Output, Status
from orchestration.net.connection import parse_address
from orchestration.prebuilt.product import PrebuiltProducts
from orchestration.store.database import database_of
from orchestration.store.jobs import StoredJobs
from plugins.requests import checked_inputs, checked_outputs
from products.catalogue import Catalogue, catalogue_of, read_configuration

OWNER = "vanilla"
"""The owner of orders of vanilla pygeoapi, which has no callers; an authenticated owner's name has an issuer."""
_LATE = 15.0
"""Seconds without a heartbeat after which there is no worker."""
_WAIT = 60.0
"""Seconds that a synchronous execution waits by default; `wait` of the configuration overrides it."""
_FIRST_LOOK, _LAST_LOOK, _SLOWER = 0.02, 0.25, 1.3
_ALL = 10_000
_CONNECTIONS = 4
_JSON = "application/json"
_RESPONSES = ("raw", "document")


class OrderRefused(ProcessorExecuteError):
    """The execution is not one that the process allows."""

    ogc_exception_code = "InvalidParameterValue"
    http_status_code = HTTPStatus.BAD_REQUEST


class WorkerMissing(ProcessorExecuteError):
    """There is no worker to execute the order."""

    http_status_code = HTTPStatus.SERVICE_UNAVAILABLE


class StillRunning(ProcessorExecuteError):
    """A synchronous execution exceeds the time limit of the wait; its job continues."""

    http_status_code = HTTPStatus.GATEWAY_TIMEOUT


class Manager(BaseManager):
    """The configured processes; with a `connection` also their orders, but only those made here.

    `connection` is the state folder of the worker, or the URL of its database; then `output_dir` is that folder.
    `configuration` is the worker's, for checks of the inputs of products. Nothing is opened before the first call.
    Landcast's own server uses it for the processes alone.
    """

    def __init__(self, manager_def: dict[str, Any]) -> None:
        super().__init__(manager_def)
        self.is_async = True
        self.supports_subscribing = self.connection is not None
        self._wait = float(manager_def.get("wait", _WAIT))
        configuration = manager_def.get("configuration")
        self._configuration = None if configuration is None else Path(configuration)

    @override
    def get_jobs(
        self, status: JobStatus | None = None, limit: int | None = None, offset: int | None = None
    ) -> dict[str, Any]:
        """Return a page of the jobs that were made here, newest first, and their number."""
        if not self._is_there():
            return {"jobs": [], "numberMatched": 0}
        statuses = () if status is None else (Status(_value(status)),)
        query = JobQuery(owner=OWNER, statuses=statuses, limit=_ALL if limit is None else limit, offset=offset or 0)
        page = self._store.find(query)
        return {"jobs": [_described(job) for job in page.jobs], "numberMatched": page.matched}

    @override
    def get_job(self, job_id: str) -> dict[str, Any]:
        """Return a job. Raises JobNotFoundError, also for jobs that were made elsewhere."""
        return _described(self._own(job_id))

    @override
    def get_job_result(self, job_id: str) -> tuple[str, Any]:
        """Return the media type and the content of a result. Raises JobNotFoundError, JobResultNotFoundError."""
        job = self._own(job_id)
        if job.status is not Status.SUCCESSFUL:
            raise JobResultNotFoundError
        try:
            return self._result(job)
        except (OrchestrationError, OSError) as error:
            raise JobResultNotFoundError from error

    @override
    def delete_job(self, job_id: str) -> bool:
        """Dismiss an unfinished job, delete another one. Raises JobNotFoundError."""
        return self._store.dismiss(self._own(job_id).id) is not None

    @override
    def add_job(self, job_metadata: dict[str, Any]) -> str:
        """Store an order of `process_id` with the inputs `parameters`; return its id, which is the store's."""
        process_id, inputs = job_metadata["process_id"], job_metadata.get("parameters") or {}
        return self._take(self._order(process_id, self.get_processor(process_id), inputs)).id

    @override
    def update_job(self, job_id: str, update_dict: dict[str, Any]) -> bool:
        """Set a job's status like a back end: our run of it ends. Return False if the status is not allowed."""
        job = self._own(job_id)
        status = Status(update_dict.get("status", job.status))
        if status is Status.DISMISSED:
            return job.status in UNFINISHED and self.delete_job(job_id)
        reason = str(update_dict.get("message", "")) if status is Status.FAILED else ""
        try:
            return self._store.update(job.id, BackendUpdate(status, reason=reason)) is not None
        except UpdateRefused:
            return False

    @override
    def execute_process(  # type: ignore[override] # pygeoapi annotates four of the five values, and a text as its enum
        self,
        process_id: str,
        data_dict: dict[str, Any],
        execution_mode: RequestedProcessExecutionMode | None = None,
        requested_outputs: Mapping[str, Any] | Sequence[str] | None = None,
        subscriber: Subscriber | None = None,
        requested_response: str | None = None,
    ) -> tuple[str, str, Any, JobStatus, dict[str, str] | None]:
        """Store the order durably; return its job's id, media type, outputs, status and headers.

        Raises UnknownProcessError, and ProcessorExecuteError: OrderRefused, WorkerMissing, StillRunning.
        """
        processor = self.get_processor(process_id)
        self._check_worker()
        order = self._order(
            process_id,
            processor,
            data_dict,
            outputs=checked_outputs(processor, requested_outputs, OrderRefused),
            response=_value(requested_response or "raw"),
            notices=_notices(subscriber),
        )
        ready = getattr(processor, "ready", None)
        made = None if ready is None else ready(order.inputs, self._catalogue, PrebuiltProducts(self._files.root))
        job = self._take(order, made)
        options = processor.metadata.get("jobControlOptions", [])
        asked = execution_mode == RequestedProcessExecutionMode.respond_async and "async-execute" in options
        if asked or "sync-execute" not in options:
            headers = {"Preference-Applied": RequestedProcessExecutionMode.respond_async.value}
            return job.id, _JSON, None, JobStatus.accepted, headers
        headers_of_wait = {"Preference-Applied": "wait"} if execution_mode is None else None
        return (job.id, *self._finished(self._look(job)), headers_of_wait)

    @cached_property
    def _store(self) -> StoredJobs:
        if self.connection is None:
            raise NotImplementedError("server.manager has no connection: the state folder or the database of a worker")
        url = str(self.connection) if _is_url(self.connection) else None
        return StoredJobs(database_of(url, self._state_dir, connections=_CONNECTIONS), lazy=True)

    @property
    def _state_dir(self) -> Path:
        if not _is_url(self.connection):
            return Path(str(self.connection))
        if self.output_dir is None:
            raise WorkerMissing(user_msg="server.manager.output_dir is missing: the state folder of the worker")
        return Path(self.output_dir)

    @property
    def _files(self) -> ResultFiles:
        return ResultFiles(self._state_dir / "results")

    @cached_property
    def _catalogue(self) -> Catalogue:
        if self._configuration is None:
            return Catalogue(())
        return catalogue_of(read_configuration(self._configuration))

    def _is_there(self) -> bool:
        """Return whether there is a store of orders; reading does not create it."""
        if self.connection is None:
            raise NotImplementedError("server.manager has no connection: the state folder or the database of a worker")
        return _is_url(self.connection) or (self._state_dir / "orders.sqlite").exists()

    def _own(self, job_id: str) -> Job:
        """Return a job that was made here. Raises JobNotFoundError."""
        known = self.connection is not None and self._is_there() and "\0" not in job_id
        job = self._store.get(job_id) if known else None
        if job is None or job.order.owner != OWNER:
            raise JobNotFoundError
        return job

    def _order(
        self,
        process_id: str,
        processor: BaseProcessor,
        inputs: Any,
        *,
        outputs: Mapping[str, Any] | None = None,
        response: str = "raw",
        notices: tuple[Notice, ...] = (),
    ) -> Order:
        if response not in _RESPONSES:
            raise OrderRefused(user_msg=f"response: {response!r}: allowed: {', '.join(_RESPONSES)}")
        checked = checked_inputs(processor, inputs, lambda: self._catalogue, OrderRefused)
        return Order(
            process_id,
            checked,
            OWNER,
            outputs=outputs,
            response="document" if response == "document" else "raw",
            notices=notices,
        )

    def _take(self, order: Order, made: Manifest | None = None) -> Job:
        with _answering():
            return self._store.add(order, made)[0]

    def _check_worker(self) -> None:
        """Raise WorkerMissing if there is no heartbeat of a worker."""
        if self.connection is None:
            raise WorkerMissing(user_msg="server.manager.connection is missing: the state folder of a worker")
        age = heartbeat_age(self._state_dir)
        if age is None or age > _LATE:
            seen = "has ever been seen" if age is None else f"has been seen for {age:.0f} seconds"
            raise WorkerMissing(user_msg=f"no worker {seen}: `landcast work` executes the orders")

    def _look(self, job: Job) -> Job:
        """Return the job once it is finished. Raises StillRunning, WorkerMissing, JobNotFoundError."""
        pause, end = _FIRST_LOOK, time.monotonic() + self._wait
        while job.status in UNFINISHED:
            if time.monotonic() > end:
                raise StillRunning(user_msg=f"the process has not finished yet; it continues as job {job.id}")
            time.sleep(pause)
            pause = min(pause * _SLOWER, _LAST_LOOK)
            self._check_worker()
            with _answering():
                found = self._store.get(job.id)
            if found is None:
                raise OrderRefused(user_msg="the job was deleted meanwhile")
            job = found
        return job

    def _finished(self, job: Job) -> tuple[str, Any, JobStatus]:
        status = JobStatus(job.status.value)
        if status is JobStatus.successful:
            with _answering():
                return (*self._result(job), status)
        code = "InvalidParameterValue"
        description = job.message or f"the job is {job.status}"
        return _JSON, {"type": code, "code": code, "description": description}, JobStatus.failed

    def _result(self, job: Job) -> tuple[str, Any]:
        """Return a single output as it is, several or a document as an object by their ids. Raises ResultMissing."""
        outputs = _asked(job)
        if job.order.response == "raw" and len(outputs) == 1:
            [output] = outputs
            if output.file is not None:
                return output.file.media_type, self._files.path_of(output.file).read_bytes()
            if output.href is None:
                return output.media_type, output.value
        return _JSON, value_document(outputs, self._files.path_of)


def _value(given: Enum | str) -> str:
    """Return the text of one of pygeoapi's enums, or the text that its handlers pass."""
    return str(given.value if isinstance(given, Enum) else given)


def _is_url(connection: object) -> bool:
    return "://" in str(connection)


@contextmanager
def _answering() -> Iterator[None]:
    """Convert errors of the orders or the files to the errors that the handlers answer with."""
    try:
        yield
    except StoreUnavailable as error:
        raise WorkerMissing(str(error), user_msg="the orders cannot be read or written at present") from error
    except (OrchestrationError, OSError) as error:
        raise ProcessorExecuteError(str(error), user_msg="the result cannot be read") from error


def _asked(job: Job) -> list[Output]:
    made = {output.id: output for output in job.manifest}
    return [made[name] for name in (job.order.outputs or made) if name in made]


def _described(job: Job) -> dict[str, Any]:
    outputs = _asked(job)
    alone = outputs[0] if len(outputs) == 1 and job.order.response == "raw" else None
    media_type = alone.file.media_type if alone and alone.file else alone.media_type if alone else _JSON
    return {
        "type": "process",
        "identifier": job.id,
        "process_id": job.order.process,
        "status": job.status.value,
        "message": job.message or f"the job is {job.status}",
        "progress": job.progress,
        "parameters": dict(job.order.inputs) or None,
        "created": _instant(job.created),
        "started": _instant(job.started or job.created),
        "finished": _instant(job.finished) if job.finished else None,
        "updated": _instant(job.updated),
        "location": None,
        "mimetype": media_type,
    }


def _instant(moment: datetime) -> str:
    return moment.strftime(DATETIME_FORMAT)


def _notices(subscriber: Subscriber | None) -> tuple[Notice, ...]:
    """Return the requested callbacks. Raises OrderRefused for an invalid address."""
    if subscriber is None:
        return ()
    asked = (
        ("successUri", Status.SUCCESSFUL, subscriber.success_uri),
        ("failedUri", Status.FAILED, subscriber.failed_uri),
        ("inProgressUri", Status.RUNNING, subscriber.in_progress_uri),
    )
    notices = []
    for name, event, address in asked:
        if address:
            try:
                parse_address(address)
            except (ReferenceRefused, TypeError, AttributeError) as error:
                raise OrderRefused(user_msg=f"subscriber.{name}: allowed: an address of http or https") from error
            notices.append(Notice("callback", event, address))
    return tuple(notices)
