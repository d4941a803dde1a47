"""Runs the work of one of our processes in the calling process, for managers of pygeoapi that store no orders."""

import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pygeoapi.process.base import ProcessorExecuteError

from orchestration.errors import OrchestrationError
from orchestration.files.document import value_document
from orchestration.files.results import ResultFiles
from orchestration.job import Manifest, Order
from orchestration.net.addresses import is_public
from orchestration.net.fetch import Fetcher
from orchestration.registry import ProcessRow, Registry
from orchestration.work import JobContext, Work
from orchestration.work.attempt import performed
from processes.errors import InvalidInput
from products.catalogue import Catalogue, catalogue_of, read_configuration
from products.errors import ProductError
from products.progress import unheard

if TYPE_CHECKING:
    from processes.base import Processor

_OWNER = "at once"


def execute_at_once(
    processor: "Processor", data: Mapping[str, Any], outputs: Any, configuration: Path | None
) -> tuple[str, Any]:
    """Return the media type and the content of one output, or of all as an object by their ids.

    Temporary files are in a folder of their own, which is removed. Raises InvalidInput, ProcessorExecuteError.
    """
    process = str(processor.metadata["id"])
    if not processor.work:
        raise ProcessorExecuteError(user_msg=f"{process} is executed on Airflow alone, by Landcast's own server")
    catalogue = Catalogue(()) if configuration is None else catalogue_of(read_configuration(configuration))
    if configuration is None and "year" in processor.description["inputs"]:
        raise ProcessorExecuteError(user_msg=f"{process}: its entry has no `configuration`, which names the products")
    wanted = {name: {} for name in outputs} if isinstance(outputs, list) else outputs or None
    order = Order(process, processor.check(data, catalogue), _OWNER, outputs=wanted)
    if order.inputs.get("send_mail") is True:
        raise InvalidInput(
            "send_mail", "input 'send_mail': true; pygeoapi knows no address to send it to; allowed: false"
        )
    with tempfile.TemporaryDirectory(prefix="landcast-") as folder:
        files = ResultFiles(Path(folder))
        job_id = str(uuid4())
        context = JobContext(
            job_id=job_id,
            order=order,
            results=files.root,
            folder=files.folder(job_id, 1, 1),
            configuration=configuration or Path(folder) / "none.yml",
            fetch=Fetcher(allowed=is_public),
            report=unheard,
            processes=Registry((ProcessRow(process, work=processor.work),)),
        )
        context.folder.mkdir(parents=True)
        work: Work = import_module(processor.work).WORK
        try:
            return _content(performed(work, context), files)
        except (ProductError, OrchestrationError) as error:
            raise ProcessorExecuteError(str(error), user_msg=str(error)) from error


def _content(manifest: Manifest, files: ResultFiles) -> tuple[str, Any]:
    if len(manifest) == 1 and manifest[0].href is None:
        [output] = manifest
        if output.file is None:
            return output.media_type, output.value
        return output.file.media_type, files.path_of(output.file).read_bytes()
    return "application/json", value_document(manifest, files.path_of)
