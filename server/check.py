"""`landcast check`: everything that is wrong, in plain words, all at once."""

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from auth.policy_problems import InvalidPolicy
from products.catalogue import InvalidConfiguration, catalogue_of, read_configuration
from routes.timespan import extent_of
from server.access import make_policy
from server.airflow import problems_of_airflow, refusals_of_airflow
from server.database import postgres_of
from server.environment import WrongSettings, read_settings
from server.settings import AuthSettings, Settings
from server.state import RestoreUnfinished, refuse_unfinished
from sql.connections import DatabaseAway, NewerSchema

_ID = re.compile(r"[A-Za-z0-9._-]+")
_METADATA = {
    "identification": ("title", "description", "keywords", "terms_of_service", "url"),
    "license": ("name", "url"),
    "provider": ("name", "url"),
    "contact": ("name",),
}
_COLLECTION = ("title", "description", "keywords", "extents")
_KINDS = ("feature", "coverage")


def find_problems(configuration: Path) -> list[str]:
    """Return what is wrong with the settings, the configuration, its files and its plugins; empty when all is well."""
    problems: list[str] = []
    settings = None
    try:
        settings = read_settings()
        refused = refusals(settings)
        problems += [*refused, *_of_database(settings), *([] if refused else problems_of_airflow(settings))]
    except WrongSettings as error:
        problems += error.problems
    try:
        document = read_configuration(configuration)
        wrong = [*flaws(document)]
        problems += [*wrong, *_of_plugins(document)]
        problems += of_policy(settings, document) if settings and settings.auth.policy and not wrong else []
    except InvalidConfiguration as error:
        problems.append(str(error))
    return problems


def refusals(settings: Settings) -> list[str]:
    """Return why the server must not start with these settings."""
    problems: list[str] = []
    problems += _of_access(settings.auth)
    problems += refusals_of_airflow(settings)
    if settings.jobs.wait >= settings.server.request_timeout:
        problems.append("LANDCAST_JOBS_WAIT: must be below LANDCAST_SERVER_REQUEST_TIMEOUT, which ends the wait before")
    folder = settings.state.dir
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        problems.append(f"LANDCAST_STATE_DIR: {folder}: cannot be written")
    try:
        refuse_unfinished(folder)
    except RestoreUnfinished as error:
        problems.append(f"LANDCAST_STATE_DIR: {error}")
    return problems


def _of_database(settings: Settings) -> Iterator[str]:
    """Yield what keeps PostgreSQL from being used now; a server starts nevertheless, and waits for it."""
    if (pool := postgres_of(settings)) is not None:
        try:
            with closing(pool):
                pool.prepare()
        except (DatabaseAway, NewerSchema) as error:
            yield f"LANDCAST_DATABASE_URL: {error}"


def _of_access(auth: AuthSettings) -> Iterator[str]:
    if auth.open and auth.issuer is not None:
        yield "LANDCAST_AUTH_OPEN: with LANDCAST_AUTH_ISSUER the server is not open; unset one of them"
    elif auth.open and auth.policy is not None:
        yield "LANDCAST_AUTH_POLICY: an open server asks none; set LANDCAST_AUTH_ISSUER instead of LANDCAST_AUTH_OPEN"
    elif auth.issuer is not None and auth.policy is None:
        yield "LANDCAST_AUTH_POLICY: missing: the file that says who may do what; deploy/policy.yml is an example"
    elif not auth.open and auth.issuer is None:
        yield (
            "LANDCAST_AUTH_ISSUER: missing: the address that tokens come from; or set LANDCAST_AUTH_OPEN to yes to let "
            "everybody do everything"
        )


def of_policy(settings: Settings, configuration: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the policy; the configuration must be one that can be served."""
    try:
        make_policy(configuration, settings)
    except InvalidPolicy as error:
        return [f"LANDCAST_AUTH_POLICY: {problem}" for problem in error.problems]
    return []


def flaws(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield what keeps the server from starting with the configuration; no file and no plugin is opened for it."""
    server = configuration.get("server")
    if not isinstance(server, Mapping) or not server.get("languages"):
        yield "server.languages: missing"
    yield from _missing("metadata", configuration.get("metadata"), _METADATA)
    resources = configuration.get("resources")
    if not isinstance(resources, Mapping) or not resources:
        yield "resources: no collection and no process is configured"
        return
    for name, resource in resources.items():
        if not _ID.fullmatch(str(name)):
            yield f"resources.{name}: a name has letters, digits, `.`, `_` and `-`, since it stands in addresses"
        yield from _shape_of(f"resources.{name}", resource)
    try:
        catalogue_of(configuration)
    except InvalidConfiguration as error:
        yield str(error)


def _of_plugins(configuration: Mapping[str, Any]) -> Iterator[str]:
    resources = configuration.get("resources")
    for name, resource in resources.items() if isinstance(resources, Mapping) else ():
        if not list(_shape_of("", resource)):
            yield from _of_resource(f"resources.{name}", resource)


def _missing(place: str, given: Any, expected: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    if not isinstance(given, Mapping):
        yield f"{place}: missing"
        return
    for section, names in expected.items():
        members = given.get(section)
        if not isinstance(members, Mapping):
            yield f"{place}.{section}: missing"
        else:
            yield from (f"{place}.{section}.{name}: missing" for name in names if members.get(name) in (None, ""))


def _shape_of(place: str, resource: Any) -> Iterator[str]:
    kind = resource.get("type") if isinstance(resource, Mapping) else None
    if kind == "collection":
        yield from _shape_of_collection(place, resource)
    elif kind != "process":
        yield f"{place}.type: {kind!r} is neither collection nor process"
    elif not isinstance(resource.get("processor"), Mapping):
        yield f"{place}.processor: missing"


def _shape_of_collection(place: str, collection: Mapping[str, Any]) -> Iterator[str]:
    for name, shape, article in (
        ("extents", dict, "a mapping"),
        ("links", list, "a list"),
        ("providers", list, "a list"),
    ):
        if collection.get(name) and not isinstance(collection[name], shape):
            yield f"{place}.{name}: must be {article}"
    try:
        extent_of({"extents": {}, **collection})
    except (ValueError, TypeError, AttributeError) as error:
        yield f"{place}.extents.temporal: begin and end must be times, such as 2023-01-01T00:00:00Z: {error}"
    providers = collection.get("providers")
    if not providers:
        yield f"{place}.providers: missing"
    for number, provider in enumerate(providers if isinstance(providers, list) else ()):
        yield from _shape_of_provider(f"{place}.providers[{number}]", provider)


def _shape_of_provider(place: str, provider: Any) -> Iterator[str]:
    if not isinstance(provider, Mapping):
        yield f"{place}: must be a mapping"
        return
    if provider.get("type") not in _KINDS:
        yield f"{place}.type: {provider.get('type')!r} is none of {', '.join(_KINDS)}"
    yield from (f"{place}.{name}: missing" for name in ("name", "data") if not provider.get(name))


def _of_resource(place: str, resource: Mapping[str, Any]) -> Iterator[str]:
    if resource["type"] == "process":
        yield from _of_process(f"{place}.processor", resource["processor"])
        return
    yield from (f"{place}.{name}: missing" for name in _COLLECTION if not resource.get(name))
    for number, provider in enumerate(resource["providers"]):
        yield from _of_provider(f"{place}.providers[{number}]", provider)


def _of_provider(place: str, provider: Any) -> Iterator[str]:
    plugin, problem = _plugin(place, provider)
    if plugin is None:
        yield problem
        return
    if (reads := getattr(plugin, "reads", None)) != provider.get("type"):
        yield f"{place}.type: {provider['name']} reads {reads}, not {provider.get('type')}"
    source = Path(str(provider.get("data")))
    if not source.is_file():
        hint = " (landcast sample makes it)" if source.parent.name == "sample" else ""
        yield f"{place}.data: no such file: {source}{hint}"
        return
    if error := _failure(lambda: plugin(provider).get_fields()):
        yield f"{place}.data: {source}: {error}"


def _of_process(place: str, processor: Any) -> Iterator[str]:
    plugin, problem = _plugin(place, processor)
    if plugin is None:
        yield problem
    elif error := _failure(lambda: plugin(processor)):
        yield f"{place}.name: {error}"


def _plugin(place: str, definition: Any) -> tuple[Any, str]:
    name = definition.get("name") if isinstance(definition, Mapping) else None
    if not isinstance(name, str) or "." not in name:
        return None, f"{place}.name: {name!r} is no dotted name of a plugin"
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute), ""
    except Exception as error:  # noqa: BLE001 - a module may fail in any way while it is imported
        return None, f"{place}.name: {name}: {error}"


def _failure(attempt: Any) -> str:
    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way, and each is to be named
        return f"{error}" or type(error).__name__
    return ""
