"""The settings: environment variables `LANDCAST_<CONCERN>_<NAME>`, a class for each concern."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    AnyHttpUrl,
    Field,
    IPvAnyNetwork,
    SecretStr,
    UrlConstraints,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from orchestration.net.addresses import is_amqp
from products.remote import RemoteOptions
from server.auth_settings import AuthSettings
from server.notification_settings import CallbacksSettings, MailSettings, SigningKey
from server.secrets.settings import COMMON, VaultSettings, has_more_than_address_and_path

if TYPE_CHECKING:
    from server.secrets.live import LiveSecrets

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,3})?)([KMGT]?)", re.IGNORECASE | re.ASCII)
_LEAST_CAP = 1024**2
_LARGEST_PORT = 65_535
_BIND = r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$"
_DATABASE = re.compile(r"postgres(?:ql)?://(?:[^/@\s]+@)?[^/@\s]*/[^/@\s?#]+(?:\?[^\s#]*)?")


def _with_port(bind: str) -> str:
    if int(bind.rpartition(":")[2]) > _LARGEST_PORT:
        raise ValueError(f"the port must be at most {_LARGEST_PORT}")
    return bind


class ServerSettings(BaseSettings):
    """Addresses and limits of the server."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_SERVER_", **COMMON)

    bind: str = Field("127.0.0.1:5000", pattern=_BIND)
    """Address and port to listen on."""
    url: Annotated[AnyHttpUrl, UrlConstraints(max_length=500)] | None = None
    """Public address, path prefix included; the only source of links. Default: http:// and the bind address."""
    workers: int = Field(default_factory=lambda: min(16, os.cpu_count() or 1), ge=1, le=256)
    """Server processes. Default: one a core, 16 at most."""
    requests: int = Field(1000, ge=1, le=100_000)
    """Concurrent requests of one server process, until their responses begin; more get 503."""
    connections: int = Field(2000, ge=10, le=100_000)
    """Open connections of one server process; at the limit the one idle longest is closed for a new one."""
    idle: int = Field(15, ge=1, le=300)
    """Seconds for a connection to send the head of a request, the first and each further one."""
    address_connections: int = Field(500, ge=1, le=100_000)
    """Open connections of one address (IPv6: /64) in one server process; the proxies are not counted."""
    body_timeout: float = Field(60, gt=0, le=3600)
    """Seconds to receive the body of a request, else 408."""
    request_timeout: float = Field(90, gt=0, le=3600)
    """Seconds to process a request after its body, else 503."""
    proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = ()
    """Proxies whose `X-Forwarded-For` is trusted: addresses or networks, separated by commas. Default: none."""

    @field_validator("proxies", mode="before")
    @classmethod
    def _between_commas(cls, proxies: object) -> object:
        return [part.strip() for part in proxies.split(",")] if isinstance(proxies, str) else proxies

    @field_validator("bind")
    @classmethod
    def _check_port(cls, bind: str) -> str:
        return _with_port(bind)

    @field_validator("url")
    @classmethod
    def _only_address_and_path(cls, url: AnyHttpUrl | None) -> AnyHttpUrl | None:
        if url is not None and (url.query is not None or url.fragment is not None or url.username is not None):
            raise ValueError("must be an address and a path, without user, query or fragment")
        return url

    @property
    def public_url(self) -> str:
        """The public address without a slash at its end."""
        return str(self.url or f"http://{self.bind}").rstrip("/")


class StateSettings(BaseSettings):
    """The folder of the server's state."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_STATE_", **COMMON)

    dir: Path = Path("var")
    """Folder of the orders' database, their results and the sample's products."""


def _postgresql(url: SecretStr) -> SecretStr:
    if not _DATABASE.fullmatch(url.get_secret_value()):
        raise ValueError("must be postgresql://user:password@host:port/database, special characters as %XX")
    return url


class TilesSettings(BaseSettings):
    """The cache of map tiles."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_TILES_", **COMMON)

    cache: int | None = None
    """Disk space for map tiles in bytes, such as 10G (at least 16M)."""

    @field_validator("cache", mode="before")
    @classmethod
    def _in_bytes(cls, cache: str | int | None) -> int | None:
        return None if cache is None else _bytes(cache, least=16 * 1024**2, said="16M")


class CoverageSettings(BaseSettings):
    """The limit of a coverage response."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_COVERAGE_", **COMMON)

    values: int = Field(134_217_728, ge=65_536, le=500_000_000)
    """Values (pixels times fields) that one GeoTIFF of a coverage has at most; for more 413."""


class RemoteSettings(BaseSettings):
    """Rasters on servers, by HTTPS or S3."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_REMOTE_", **COMMON)

    timeout: float = Field(10, gt=0, le=60)
    """Seconds for a server to answer a request for a part of a file."""
    tries: int = Field(3, ge=1, le=10)
    """Maximum tries of a request that a server did not answer, or with an error of its own (5xx)."""
    refresh: float = Field(60, gt=0, le=86_400)
    """Seconds after which a server is asked again whether a file was replaced."""
    s3_endpoint: str | None = Field(None, pattern=r"^https?://[^@?#\s]+$")
    """Address of the S3 server, such as https://s3.example.org. Default: AWS."""
    s3_region: str = Field("us-east-1", pattern=r"^[\w-]{1,64}$")
    """Region that requests to S3 are signed for."""
    s3_key: str | None = None
    """Id of the access key to S3. Default: requests are not signed, for public buckets."""
    s3_secret: SecretStr | None = None
    """Secret of that access key."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.s3_key is None) != (self.s3_secret is None):
            raise ValueError("S3_KEY and S3_SECRET: one is missing")
        return self

    @property
    def options(self) -> RemoteOptions:
        """The same for those who ask the servers."""
        secret = None if self.s3_secret is None else self.s3_secret.get_secret_value()
        how = self.timeout, self.tries, self.refresh
        return RemoteOptions(*how, self.s3_endpoint, self.s3_region, self.s3_key, secret)


class FeaturesSettings(BaseSettings):
    """The limits of a download of items."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_FEATURES_", **COMMON)

    streamed: int = Field(2_000_000, ge=1, le=1_000_000_000)
    """Items that a download as GeoJSON text sequence or CSV has at most; for more 413."""
    filed: int = Field(200_000, ge=1, le=10_000_000)
    """Items that a download as FlatGeobuf, GeoPackage, Shapefile or GeoParquet has at most; for more 413."""


class DatabaseSettings(BaseSettings):
    """PostgreSQL for orders, keys and sessions."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_DATABASE_", **COMMON)

    url: SecretStr | None = None
    """PostgreSQL: postgresql://user:password@host:port/database. Default: SQLite in the state folder."""
    pool: int = Field(5, ge=2, le=100)
    """Connections to PostgreSQL of one process; a request that finds none free for 2 s gets 503."""

    @field_validator("url")
    @classmethod
    def _of_postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        return url and _postgresql(url)


def _bytes(given: str | int, *, least: int, said: str) -> int:
    """Return the number of bytes of `50000` or `50G`. Raises ValueError."""
    found = _SIZE.fullmatch(str(given).strip())
    size = int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")) if found else 0
    if size < least:
        raise ValueError(
            f"must be bytes, or a number with K, M, G or T for powers of 1024, such as 50G; at least {said}"
        )
    return size


class JobsSettings(BaseSettings):
    """Execution and retention of orders."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_JOBS_", **COMMON)

    retention: int = Field(365, ge=1, le=3650)
    """Days after which the entry of a finished or deleted job is removed."""
    parallel: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024)
    """Concurrent product orders. Default: one a core."""
    wait: float = Field(60, ge=1, le=600)
    """Maximum seconds that a synchronous execution waits, then 504; the job continues."""
    fetch_private: bool = False
    """Whether inputs by reference may be fetched from private, loopback and link-local addresses."""
    plugin_seconds: float = Field(3600, gt=0, le=604_800)
    """Seconds that the work of a process plugin that is not Landcast's may take, then its order fails."""
    plugin_memory: int = 4 * 1024**3
    """Bytes that a process of such a plugin may use, as 500M or 4G (at least 256M); with more its order fails."""

    upload: int = Field(10_000_000, ge=1_000, le=1_000_000_000)
    """Bytes of a file whose polygons are read (`POST /area`) at most, a tenth of an unpacked ZIP's; for more 413."""

    @field_validator("plugin_memory", mode="before")
    @classmethod
    def _in_bytes(cls, memory: str | int) -> int:
        return _bytes(memory, least=256 * 1024**2, said="256M")


class ResultsSettings(BaseSettings):
    """Retention, size and links of results."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_RESULTS_", **COMMON)

    retention: int = Field(30, ge=1, le=3650)
    """Days after which the files of a result are removed."""
    cap: int | None = None
    """Disk space for all results in bytes, such as 50G or 500M; above it orders wait or get 503. Default: no bound."""
    link_days: int = Field(7, ge=1, le=7)
    """Days after which a signed link expires."""
    key: SecretStr | None = Field(None, min_length=32)
    """Secret that signs links, shared by several servers. Default: made once, kept in the state folder."""

    @field_validator("cap", mode="before")
    @classmethod
    def _in_bytes(cls, cap: str | int | None) -> int | None:
        if cap is None:
            return None
        return _bytes(cap, least=_LEAST_CAP, said="1M")


def _plain_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or has_more_than_address_and_path(url):
        raise ValueError("must be an address and a path, without user, query or fragment")
    return url


class AirflowSettings(BaseSettings):
    """Apache Airflow, which runs products, production services and echo instead of the worker's child processes."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_AIRFLOW_", **COMMON)

    url: str | None = Field(None, max_length=500)
    """Address of Airflow's API server, such as http://127.0.0.1:8080; needs LANDCAST_DATABASE_URL."""
    username: str | None = Field(None, max_length=200)
    """Airflow user that the worker starts DAG runs as."""
    password: SecretStr | None = None
    """Its password."""
    key: SigningKey | None = None
    """Secret that signs the events of Airflow, the same in Airflow's environment."""
    operator: str | None = Field(None, max_length=200)
    """Airflow user with the role `op` or `admin`, for `landcast airflow connections` alone."""
    operator_password: SecretStr | None = None
    """Its password."""
    connections: SecretStr | None = None
    """Connections for `landcast airflow connections`, name=http://user:password@host:port, separated by line ends."""
    runs: int = Field(64, ge=1, le=10_000)
    """Maximum concurrent DAG runs of each process."""
    backlog: int = Field(10_000, ge=1, le=1_000_000)
    """Orders that may wait for Airflow; more get 503."""
    timeout: float = Field(10, gt=0, le=60)
    """Seconds for Airflow to answer."""
    poll: float = Field(3, gt=0, le=60)
    """Seconds between two polls of all DAG runs, which supplement Airflow's events."""
    patience: float = Field(21_600, ge=1, le=604_800)
    """Seconds without progress after which a DAG run is failed; longer than any task runs without reporting."""

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        return url and _plain_address(url).rstrip("/")


class MetricsSettings(BaseSettings):
    """Metrics for Prometheus, served by a process of their own."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_METRICS_", **COMMON)

    bind: str | None = Field(None, pattern=_BIND)
    """Address and port of `/metrics`, such as 127.0.0.1:9464; it needs no credentials. Default: no metrics."""

    @field_validator("bind")
    @classmethod
    def _check_port(cls, bind: str | None) -> str | None:
        return bind and _with_port(bind)


class TracesSettings(BaseSettings):
    """Traces for a collector of OpenTelemetry."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_TRACES_", **COMMON)

    url: str | None = Field(None, max_length=500)
    """Address of a collector of OpenTelemetry (OTLP over HTTP), such as http://127.0.0.1:4318/v1/traces."""
    share: float = Field(1.0, ge=0, le=1)
    """Share of the requests that begin a trace; those that continue one are traced if its beginning is."""

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        return url and _plain_address(url)


class LogSettings(BaseSettings):
    """Level and format of the log."""

    model_config = SettingsConfigDict(env_prefix="LANDCAST_LOG_", **COMMON)

    level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """Minimum level to log: DEBUG, INFO, WARNING or ERROR."""
    format: str = Field("auto", pattern="^(auto|json|text)$")
    """`json` lines, `text` for people, `auto`: text on a terminal."""
    broker: SecretStr | None = None
    """RabbitMQ that the log is shipped to, too: amqp://user:password@host:port/vhost, or amqps://."""
    service: str = Field("landcast", pattern=r"^[\w.-]{1,100}$")
    """Name of this server in shipped lines."""
    database: SecretStr | None = None
    """PostgreSQL that `landcast logs consume` stores shipped lines in. Default: LANDCAST_DATABASE_URL."""
    retention: int = Field(90, ge=1, le=3650)
    """Days after which stored lines are dropped, by whole months."""

    @field_validator("broker")
    @classmethod
    def _of_rabbitmq(cls, broker: SecretStr | None) -> SecretStr | None:
        if broker is not None and not is_amqp(broker.get_secret_value()):
            raise ValueError("must be amqp://user:password@host:port/vhost or amqps://, special characters as %XX")
        return broker

    @field_validator("database")
    @classmethod
    def _of_postgresql(cls, database: SecretStr | None) -> SecretStr | None:
        return database and _postgresql(database)


CONCERNS: tuple[type[BaseSettings], ...] = (
    ServerSettings,
    StateSettings,
    TilesSettings,
    CoverageSettings,
    RemoteSettings,
    FeaturesSettings,
    DatabaseSettings,
    JobsSettings,
    ResultsSettings,
    CallbacksSettings,
    MailSettings,
    AuthSettings,
    AirflowSettings,
    VaultSettings,
    MetricsSettings,
    TracesSettings,
    LogSettings,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process."""

    server: ServerSettings
    state: StateSettings
    tiles: TilesSettings
    coverage: CoverageSettings
    remote: RemoteSettings
    features: FeaturesSettings
    database: DatabaseSettings
    jobs: JobsSettings
    results: ResultsSettings
    callbacks: CallbacksSettings
    mail: MailSettings
    auth: AuthSettings
    airflow: AirflowSettings
    vault: VaultSettings
    metrics: MetricsSettings
    traces: TracesSettings
    log: LogSettings
    live: "LiveSecrets | None" = None
    """The address of the database, if it is not a plain environment variable."""
