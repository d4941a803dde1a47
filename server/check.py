"""`landcast check`: all problems in plain language, reported together."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pygeoapi.provider.filesystem import FileSystemProvider

from auth.issuer import IssuerUnreachable
from auth.policy_problems import InvalidPolicy
from orchestration.notifications.broker import Broker
from orchestration.prebuilt.record import PREBUILT_FOLDER
from orchestration.registry import Registry
from plugins.cog import CogProvider
from plugins.geopackage import GeoPackageProvider
from plugins.loading import WrongPlugin, formatter_fault, plugin_class
from plugins.postgis import PostgisProvider
from processes.loading import load_processes
from products.catalogue import Catalogue, InvalidConfiguration, catalogue_of, read_configuration
from products.errors import BrokenSource
from products.remote import configure, is_remote
from products.sources import rasters_in
from products.vector.meeting import faults_of_index
from routes.features.items import queryable
from routes.resources import FAILURES, plugin_of
from server.access import directory_of, make_policy, policy_of
from server.airflow import problems_of_airflow, refusals_of_airflow
from server.auth_settings import AuthSettings
from server.backup.contents import DATABASE, RESULTS
from server.configuration import examine
from server.database import postgres_of
from server.environment import WrongSettings, read_settings
from server.settings import Settings
from server.state import RestoreUnfinished, refuse_unfinished
from server.templates import missing_translations, unused_templates, wrong_templates, wrong_translations
from sql.connect import count_orders
from sql.connections import DatabaseAway, NewerSchema


def find_problems(configuration: Path) -> list[str]:
    """Return all problems of settings, configuration, its files and plugins, and orders."""
    problems: list[str] = []
    settings = None
    try:
        settings = read_settings()
        configure(settings.remote.options)
        refused = refusals(settings, whole=True)
        problems += [*refused, *_of_database(settings)]
        problems += [] if refused else [*problems_of_airflow(settings, _registry(configuration)), *_of_owners(settings)]
    except WrongSettings as error:
        problems += error.problems
    try:
        document = read_configuration(configuration)
        problems += of_configuration(document, settings.auth.policy if settings else None)
        problems += [] if examine(document).flaws else _of_broker(document)
    except InvalidConfiguration as error:
        problems += error.problems
    return problems


def of_configuration(document: Mapping[str, Any], policy: Path | None) -> list[str]:
    """Return the problems of the configuration, its files and plugins, and of the policy."""
    wrong = examine(document).flaws
    of_access: list[str] = []
    if policy is not None and not wrong:
        try:
            policy_of(policy, document)
        except InvalidPolicy as error:
            of_access = [f"LANDCAST_AUTH_POLICY: {problem}" for problem in error.problems]
    return [*wrong, *wrong_templates(document), *wrong_translations(document), *_of_plugins(document), *of_access]


def _registry(configuration: Path) -> Registry:
    """Return the loadable processes of the configuration, none if it cannot be read."""
    try:
        return load_processes(dict(_processes(read_configuration(configuration)))).registry
    except InvalidConfiguration:
        return Registry()


def _processes(configuration: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the entries of processes; the schema reports malformed ones."""
    resources = configuration.get("resources")
    for name, resource in resources.items() if isinstance(resources, Mapping) else ():
        match resource:
            case {"type": "process", "processor": {"name": str()}}:
                yield str(name), resource


def find_ignored(configuration: Path) -> tuple[str, ...]:
    """Return entries without effect in the configuration or its files, none if it cannot be read."""
    try:
        document = read_configuration(configuration)
    except InvalidConfiguration:
        return ()
    return without_effect(document)


def without_effect(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return entries without effect in the configuration or its files."""
    pages = (*unused_templates(document), *missing_translations(document))
    odd = (*pages, *_odd_columns(document), *_odd_tables(document), *_lost_classes(document))
    return *examine(document).ignored, *odd


def _odd_columns(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield columns that cannot be used in filters, and missing spatial indexes; other faults are problems."""
    for _, place, definition in _definitions(configuration, GeoPackageProvider):
        with suppress(*FAILURES):
            provider = GeoPackageProvider(definition)
            yield from _undescribed(place, definition, provider)
            yield from _odd_columns_of(place, provider)


def _odd_tables(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield remarks about PostGIS tables, such as hidden columns."""
    for _, place, definition in _definitions(configuration, PostgisProvider):
        with suppress(*FAILURES):
            provider = PostgisProvider(definition)
            fields, table = provider.get_fields(), provider.feature_table
            yield from _clashing(place, fields)
            if table.is_table and not table.geometry.indexed:
                index = f'create index on "{table.schema}"."{table.name}" using gist ("{table.geometry.name}")'
                yield f"{place}: {table.name} has no spatial index, so boxes are slow; {index}"
            if table.hidden:
                yield f"{place}: the role may not read {', '.join(table.hidden)} of {table.name}: they are left out"


def _lost_classes(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield the classes whose values mean no data in served files; other faults are problems."""
    with suppress(InvalidConfiguration):
        catalogue = catalogue_of(configuration)
        for name, place, definition in _definitions(configuration, CogProvider):
            with suppress(*FAILURES):
                if lost := CogProvider({**definition, "classes": catalogue.classes(name)}).lost_class:
                    yield f"{place}: {lost}"


def _definitions(
    configuration: Mapping[str, Any], plugin: type[CogProvider | GeoPackageProvider | PostgisProvider]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the definitions with one of our providers: the collection, the place, the definition."""
    resources = configuration.get("resources")
    for name, resource in resources.items() if isinstance(resources, Mapping) else ():
        match resource:
            case {"type": "collection", "providers": [*providers]}:
                for number, each in enumerate(providers):
                    if isinstance(each, dict) and each.get("name") == f"{plugin.__module__}.{plugin.__name__}":
                        yield str(name), f"resources.{name}.providers[{number}]", each


def _odd_columns_of(place: str, provider: GeoPackageProvider) -> Iterator[str]:
    fields, layer = provider.get_fields(), provider.layer
    yield from _clashing(place, fields)
    again = f"ogrinfo {provider.data} -sql \"SELECT %sSpatialIndex('{layer.table}', '{layer.geometry}')\""
    if not layer.indexed:
        yield f"{place}: {layer.table} has no spatial index, so boxes are slow; {again % 'Create'}"
    for fault in faults_of_index(Path(provider.data), provider.table, provider.id_field):
        yield f"{place}: the spatial index of {layer.table} {fault}; {again % 'Disable'}, then {again % 'Create'}"


def _undescribed(place: str, definition: Mapping[str, Any], provider: GeoPackageProvider) -> Iterator[str]:
    """Yield the columns of `fields` that are not served, as a property or as the id."""
    described, fields, layer = definition.get("fields"), provider.get_fields(), provider.layer
    for name in described if isinstance(described, Mapping) else ():
        if name not in (*fields, provider.id_field, layer.key, layer.identity):
            yield f"{place}.fields.{name}: no column that is served; there are {', '.join(fields)}"


def _clashing(place: str, fields: Mapping[str, Any]) -> Iterator[str]:
    if clashing := [name for name in fields if name not in queryable(fields)]:
        yield f"{place}: items cannot be filtered by {', '.join(clashing)}: these are names of parameters"


def refusals(settings: Settings, *, whole: bool = False) -> list[str]:
    """Return why the server must not start with these settings; with `whole` the whole database is checked."""
    problems: list[str] = []
    problems += _of_access(settings.auth)
    problems += refusals_of_airflow(settings)
    if settings.traces.url is not None and find_spec("opentelemetry") is None:
        problems.append("LANDCAST_TRACES_URL: needs the packages of landcast[traces]")
    if settings.jobs.wait >= settings.server.request_timeout:
        problems.append("LANDCAST_JOBS_WAIT: must be below LANDCAST_SERVER_REQUEST_TIMEOUT, which ends the wait before")
    folder = settings.state.dir
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        problems.append(f"LANDCAST_STATE_DIR: {folder}: cannot be written")
    try:
        refuse_unfinished(folder)
        problems += of_orders(settings, whole=whole)
    except RestoreUnfinished as error:
        problems.append(f"LANDCAST_STATE_DIR: {error}")
    return problems


def _of_database(settings: Settings) -> Iterator[str]:
    """Yield why PostgreSQL cannot be used now, for which a server waits, and remarks about it."""
    if (pool := postgres_of(settings)) is None:
        return
    try:
        with closing(pool):
            pool.prepare()
            with pool.reading() as connection:
                empty = connection.execute("select 1 from jobs limit 1").fetchone() is None
        if empty and (result := _some_result(settings)):
            yield f"LANDCAST_DATABASE_URL: has no order, but there is a result: {result}; is it another database?"
    except (DatabaseAway, NewerSchema) as error:
        yield f"LANDCAST_DATABASE_URL: {error}"


def of_orders(settings: Settings, *, whole: bool = False) -> Iterator[str]:
    """Yield why the orders in the state folder must not be used: a start would continue with an empty database.

    With `whole` a database without an order is also reported if there are results.
    """
    path = settings.state.dir / DATABASE
    if settings.database.url is not None:
        return
    try:
        there = path.stat().st_size > 0
        orders = count_orders(path, whole=whole) if there else 0
    except FileNotFoundError:
        there, orders = False, 0
    except (OSError, sqlite3.Error, NewerSchema) as error:
        reason = "is no file" if path.is_dir() else getattr(error, "strerror", None) or error
        yield f"LANDCAST_STATE_DIR: {path}: {reason}; `landcast restore --force` brings back a backup"
        return
    if orders == 0 and (whole or not there) and (result := _some_result(settings)):
        yield f"LANDCAST_STATE_DIR: {path}: has no order, but there is a result: {result}; {_HOW}"


_HOW = "bring back a backup by `landcast restore --force`, set LANDCAST_DATABASE_URL again, or move the results away"


def _some_result(settings: Settings) -> Path | None:
    """Return a file of an order's result in the state folder; prebuilt files do not count."""
    folders = (settings.state.dir / RESULTS).glob("[!.]*")
    files = (path for folder in folders if folder.name != PREBUILT_FOLDER for path in folder.rglob("*"))
    return next((path for path in files if path.is_file()), None)


def _of_owners(settings: Settings) -> Iterator[str]:
    """Yield why the owners of API keys cannot be confirmed by Keycloak; the server starts nevertheless."""
    if (directory := directory_of(settings)) is not None:
        try:
            directory.check()
        except IssuerUnreachable as error:
            yield f"LANDCAST_AUTH_OWNERS_SECRET: {error}"


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
    """Return the problems of the policy; the configuration must be valid."""
    try:
        make_policy(configuration, settings)
    except InvalidPolicy as error:
        return [f"LANDCAST_AUTH_POLICY: {problem}" for problem in error.problems]
    return []


def _of_plugins(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield the errors of plugins about their definitions; the schema reports malformed ones."""
    for name, why in load_processes(dict(_processes(configuration))).wrong.items():
        yield f"resources.{name}.processor.name: {why}"
    try:
        catalogue = catalogue_of(configuration)
    except InvalidConfiguration:
        catalogue = Catalogue(())
    resources = configuration.get("resources")
    for name, resource in resources.items() if isinstance(resources, Mapping) else ():
        match resource:
            case {"type": "collection" | "stac-collection", "providers": [*providers]}:
                for number, provider in enumerate(providers):
                    if isinstance(provider, Mapping):
                        given = {**provider, "classes": catalogue.classes(str(name))}
                        yield from _of_provider(f"resources.{name}.providers[{number}]", given)
                yield from _of_formatters(f"resources.{name}.formatters", resource.get("formatters"))


def _of_formatters(place: str, formatters: Any) -> Iterator[str]:
    for number, each in enumerate(formatters if isinstance(formatters, list) else ()):
        if isinstance(each, Mapping) and "name" in each and (fault := formatter_fault(each)):
            yield f"{place}[{number}].name: {fault}"


def _of_broker(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the client of the broker cannot be loaded; the broker itself is not contacted."""
    broker = Broker.of(configuration)
    try:
        if broker is not None and not broker.is_http and not broker.is_amqp:
            plugin_class("pubsub", broker.name)
    except WrongPlugin as error:
        yield f"pubsub.name: {error}"


def _of_provider(place: str, provider: Any) -> Iterator[str]:
    match provider:
        case {"type": str(kind), "name": str(name), "data": data}:
            pass
        case _:
            return
    try:
        plugin = plugin_of(provider)
    except BrokenSource as wrong:
        yield f"{place}.name: {wrong}"
        return
    reads = getattr(plugin, "reads", None)
    if reads is None:  # pygeoapi's handlers call it on request: it may need another server
        if issubclass(plugin, FileSystemProvider) and not Path(str(data)).is_dir():
            yield f"{place}.data: no such folder: {data}"
        return
    if reads != kind:
        yield f"{place}.type: {name} reads {reads}, not {kind}"
    yield from _of_source(place, data, lambda: plugin(provider).get_fields())


def _of_source(place: str, data: Any, read: Callable[[], Any]) -> Iterator[str]:
    """Yield why a file or a table cannot be read."""
    if isinstance(data, Mapping):
        if error := _failure(read):
            yield f"{place}: {error}"
        return
    source = Path(str(data))
    if is_remote(source):
        if error := _failure(read):
            yield f"{place}.data: {error}"
    elif not source.is_file() and not rasters_in(source):
        hint = " (landcast sample makes it)" if source.parent.name == "sample" else ""
        yield f"{place}.data: no such file: {source}{hint}"
    elif error := _failure(read):
        yield f"{place}.data: {source}: {error}"


def _failure(attempt: Any) -> str:
    try:
        attempt()
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way, and each is reported
        return f"{error}" or type(error).__name__
    return ""
