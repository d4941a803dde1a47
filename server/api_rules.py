"""pygeoapi's `server.api_rules`: the version of the operator's API, its header and prefix, and slashes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from pydantic import AnyHttpUrl

from server.settings import Settings


@dataclass(frozen=True, slots=True)
class ApiRules:
    """The version of the API and its header, the prefix of all paths, and whether a slash at the end is an error."""

    api_version: str = ""
    version_header: str = ""
    url_prefix: str = ""
    strict_slashes: bool = False

    @property
    def version(self) -> str:
        """The version of the API, by default Landcast's own."""
        return self.api_version or version("landcast")

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that every answer has."""
        return {self.version_header: self.version} if self.version_header else {}

    @property
    def prefix(self) -> str:
        """The prefix with its placeholders filled in, without slashes around it."""
        major, minor, build = (*self.version.split(".", 2), "", "")[:3]
        values = {"api_version": self.version, "api_major": major, "api_minor": minor, "api_build": build}
        return self.url_prefix.format(**values).strip("/")

    def settings(self, settings: Settings) -> Settings:
        """Return the settings with the prefix at the end of the public address, unless it is there already."""
        url = settings.server.public_url
        if not self.prefix or url.endswith(f"/{self.prefix}"):
            return settings
        changed = {"url": AnyHttpUrl(f"{url}/{self.prefix}")}
        return replace(settings, server=settings.server.model_copy(update=changed))


def api_rules_of(configuration: Mapping[str, Any]) -> ApiRules:
    """Return the rules of a configuration."""
    given = configuration.get("server", {}).get("api_rules") or {}
    return ApiRules(**{name: value for name, value in given.items() if value is not None})
