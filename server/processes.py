"""The processes of the configuration, for the server and for the worker."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestration.registry import Registry, decode_row
from products.held import descriptors_of
from server.settings import JobsSettings

_log = logging.getLogger(__name__)

_PATIENCE = 100.0
"""Maximum seconds to load all plugins; the supervisor allows the worker 120 for its start."""


def read_registry(configuration: Path, jobs: JobsSettings) -> Registry:
    """Return the registry of a configuration, for the worker. Raises ChildProcessError.

    Plugins are loaded by a separate process, so that modules, threads and errors of theirs do not stay in the worker.
    """
    command = [sys.executable, "-m", "processes", str(configuration)]
    held = descriptors_of(configuration)
    try:
        done = subprocess.run(  # noqa: S603  the command is ours
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_PATIENCE, check=True, pass_fds=held
        )
        return registry_of(json.loads(done.stdout.splitlines()[-1]), jobs)
    except (OSError, subprocess.SubprocessError, ValueError, TypeError, IndexError) as error:
        raise ChildProcessError(f"the process plugins cannot be loaded: {error}") from error


def registry_of(rows: Iterable[str], jobs: JobsSettings) -> Registry:
    """Return the registry of the rows, as `encode_row` wrote them. Raises ValueError, TypeError."""
    decoded = map(decode_row, rows)
    return Registry(tuple(replace(row, seconds=jobs.plugin_seconds, memory=jobs.plugin_memory) for row in decoded))


def available(configuration: Mapping[str, Any], registry: Registry, *, airflow: bool) -> dict[str, Any]:
    """Return the configuration without invalid processes, and without those that need Airflow if there is none."""
    ids = {row.id for row in registry if airflow or not row.needs_airflow}
    resources = {
        name: resource
        for name, resource in configuration["resources"].items()
        if resource["type"] != "process" or name in ids
    }
    return {**configuration, "resources": resources}


def log_wrong(wrong: Mapping[str, str]) -> None:
    """Log every process that is left out."""
    for name, why in wrong.items():
        _log.error("the process %s is left out: %s", name, why)
