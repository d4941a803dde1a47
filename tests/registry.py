"""The registry of the processes that come with Landcast, written by hand; a test compares it with the real one."""

from orchestration.registry import ProcessRow, Registry
from orchestration.work import Work


def _product(name: str) -> ProcessRow:
    work = f"orchestration.work.{name.replace('-', '_')}"
    return ProcessRow(name, work, dag=name, twin=f"{name}-testing")


SERVICES = frozenset(
    name + twin for name in ("apply-model", "prepare-samples", "sample-extraction") for twin in ("", "-testing")
)
OURS = Registry(
    (
        _product("extract-product"),
        ProcessRow(
            "estimate-product",
            "orchestration.work.estimate_product",
            quick=True,
            files=False,
            asks_of="extract-product",
        ),
        _product("national-product"),
        _product("european-product"),
        ProcessRow("area-statistics", "orchestration.work.area_statistics", quick=True, files=False),
        ProcessRow("echo", "orchestration.work.echo", "orchestration.work.echo", quick=True, files=False, dag="echo"),
        *(ProcessRow(name, files=False, dag=name) for name in sorted(SERVICES)),
    )
)


def work_of(process: str) -> Work:
    """Return the work of one of our processes."""
    return OURS[process].find_work()
