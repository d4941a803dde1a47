"""What every process of ours has: a description, and a check of an execution against it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pygeoapi.process.base import BaseProcessor

from auth.limits import Extent
from orchestration.job import Manifest
from orchestration.prebuilt.product import PrebuiltProducts
from processes.inputs import check_inputs
from processes.which import name_offered, product_of
from products.catalogue import Catalogue


class Processor(BaseProcessor):
    """A process as pygeoapi loads it; the work itself runs in `orchestration.work`, never in a request."""

    description: ClassVar[Mapping[str, Any]]
    """Id, version, title, inputs, outputs and so on, as 18-062r2's process.yaml; its schemas are what is enforced."""

    work: ClassVar[str] = ""
    """The module whose `WORK` is done for its orders, by its dotted name; empty where only Airflow executes them."""
    quick: ClassVar[bool] = False
    """Whether its orders take seconds: they have places of their own beside long ones."""
    files: ClassVar[bool] = True
    """Whether its results are files, so that its orders need space."""
    on_airflow: ClassVar[bool] = False
    """Whether there is a DAG, named as the description's `id`, that executes its orders where there is an Airflow."""
    has_twin: ClassVar[bool] = False
    """Whether there is another DAG, `{id}-testing`, for orders that are tests."""

    strict: ClassVar[bool] = True
    """Whether an input that is not described is refused."""

    hands_over: bool = False
    """Whether a DAG of the operator's own is given the inputs."""

    asks_of: ClassVar[str | None] = None
    """The process of whose orders this one only asks, which is told why one would be refused; None for an order."""

    def __init__(self, processor_def: dict[str, Any]) -> None:
        inputs = name_offered(self.description["inputs"], processor_def.get("years", {}))
        options = list(self.description["jobControlOptions"])  # a handler of pygeoapi's adds to them
        super().__init__(processor_def, {**self.description, "inputs": inputs, "jobControlOptions": options})
        self.supports_outputs = True
        self._configuration: str | None = processor_def.get("configuration")
        self.dag: str = self.metadata["id"] if self.on_airflow else ""

    def check(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
        """Return the inputs as they are stored: checked, with defaults. Raises InvalidInput; reads no file twice.

        The product is named by series and year, so that one that is added later changes no order that waits.
        """
        checked = check_inputs(self.description["inputs"], inputs)
        if "year" in self.description["inputs"]:
            product = product_of(checked, catalogue)
            checked |= {"series": product.series, "year": product.year}
        self.check_more(checked, catalogue)
        return checked

    def execute(self, data: dict[str, Any], outputs: Any = None) -> tuple[str, Any]:
        """Do the work at once, for a manager other than ours; products are those of the entry's `configuration`.

        Raises InvalidInput, ProcessorExecuteError.
        """
        from processes.at_once import execute_at_once  # noqa: PLC0415 - it loads the work, which no request needs

        configuration = None if self._configuration is None else Path(self._configuration)
        return execute_at_once(self, data, outputs, configuration)

    def place(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> Extent:
        """Return where an order with these checked inputs is, for the limits of a policy; None for nowhere."""
        del inputs, catalogue
        return None

    def reads(self, inputs: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the collections whose items an order with these inputs, not checked yet, would read."""
        del inputs
        return ()

    def ready(self, inputs: Mapping[str, Any], catalogue: Catalogue, prebuilt: PrebuiltProducts) -> Manifest | None:
        """Return the result of an order with these checked inputs that needs no run, None where it needs one."""
        del inputs, catalogue, prebuilt
        return None

    def check_more(self, inputs: Mapping[str, Any], catalogue: Catalogue) -> None:
        """Check what a schema cannot say; may read the products, so never call it on the event loop."""
