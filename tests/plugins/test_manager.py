"""pygeoapi finds our processes, but no job, by the configured manager."""

from pathlib import Path

import pytest
from pygeoapi.process.base import JobNotFoundError, UnknownProcessError
from pygeoapi.process.manager.base import get_manager

from plugins.manager import Manager
from processes.echo import Echo
from products.catalogue import read_configuration

CONFIGURATION = Path(__file__).parents[2] / "pygeoapi-config.yml"


def manager() -> Manager:
    found = get_manager(read_configuration(CONFIGURATION))
    assert isinstance(found, Manager)
    return found


def test_the_configured_processes_are_listed() -> None:
    assert list(manager().processes) == [
        "extract-product",
        "estimate-product",
        "national-product",
        "european-product",
        "area-statistics",
        "echo",
        "apply-model",
        "apply-model-testing",
        "prepare-samples",
        "prepare-samples-testing",
        "sample-extraction",
        "sample-extraction-testing",
    ]
    assert isinstance(manager().get_processor("echo"), Echo)


def test_the_id_of_each_process_is_the_configured_one() -> None:
    for name in manager().processes:
        assert manager().get_processor(name).metadata["id"] == name


def test_an_unknown_process_is_an_error() -> None:
    with pytest.raises(UnknownProcessError):
        manager().get_processor("nothing")


def test_the_manager_runs_asynchronously_without_callbacks() -> None:
    assert manager().is_async
    assert not manager().supports_subscribing


def test_the_manager_has_no_jobs_for_pygeoapi() -> None:
    with pytest.raises(JobNotFoundError):
        manager().get_job("x")
    with pytest.raises(NotImplementedError):
        manager().get_jobs()
