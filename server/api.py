"""pygeoapi's API object, as our application uses it."""

import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from http import HTTPStatus
from typing import Any, NoReturn

from pygeoapi.api import API
from pygeoapi.l10n import locale2str, str2locale
from pygeoapi.provider.base import ProviderConnectionError

from auth.access import Access, Action, Policy
from auth.identity import ANONYMOUS, LOCAL
from auth.policy import OPEN, VisibleResources
from processes.messages import in_language
from products.catalogue import Catalogue, catalogue_of
from routes.http.problem import INVALID_PARAMETER, NOT_FOUND, Problem

_TYPES = {"NotFound": NOT_FOUND, "InvalidParameterValue": INVALID_PARAMETER}


class RaisingAPI(API):
    """Raises our Problem instead of pygeoapi's log of a traceback and its own exception document."""

    def get_exception(
        self, status: int, headers: dict[str, str], format_: str | None, code: str, description: str
    ) -> NoReturn:
        """Raise the Problem with pygeoapi's status and message, or the error of a source that does not answer.

        Some handlers answer a wrong parameter with 500.
        """
        del headers, format_
        if isinstance(error := sys.exception(), ProviderConnectionError):
            raise error
        if code == "InvalidParameterValue" and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            status = HTTPStatus.BAD_REQUEST
        raise Problem(HTTPStatus(status), description, type_=_TYPES.get(code, "about:blank"))


def make_api(configuration: Mapping[str, Any], url: str, policy: Policy, language: str) -> RaisingAPI:
    """Return the API of this configuration at the public address, in a language; the configuration is not changed.

    Of `server` it gets only the limits: the rest is in settings, or not honoured. Every provider gets the `classes` of
    its product. The API's resources are those that the caller may see.
    """
    config = in_one_language(configuration, language)
    given = config.get("server", {})
    config["server"] = {
        "url": url,
        "bind": {"host": "127.0.0.1", "port": 0},
        "languages": [language],
        "limits": given.get("limits", {}),
        "manager": {"name": "plugins.manager.Manager"},
    }
    config["logging"] = {"level": "WARNING"}
    config.pop("pubsub", None)
    catalogue = catalogue_of(configuration)
    for name, resource in config["resources"].items():
        for provider in resource.get("providers", ()):
            provider["classes"] = catalogue.classes(name)
    api = RaisingAPI(config, {})
    api.config["resources"] = VisibleResources(api.config["resources"], policy)
    return api


def in_one_language(configuration: Mapping[str, Any], language: str) -> dict[str, Any]:
    """Return a copy with titles and other texts in this language only."""
    config = deepcopy(dict(configuration))
    resources = config["resources"].values()
    links = [entry for resource in resources for entry in resource.get("links", ())]
    providers = [entry for resource in resources for entry in resource.get("providers", ())]
    styles = [entry for provider in providers for entry in provider.get("styles") or ()]
    for entry in (*config["metadata"].values(), *resources, *links, *styles):
        for name in _TEXTS & entry.keys():
            entry[name] = in_language(entry[name], language)
    return config


_TEXTS = {"title", "description", "keywords", "terms_of_service", "url", "name", "position", "address", "city"} | {
    *("stateorprovince", "postalcode", "country", "phone", "fax", "email", "hours", "instructions", "role"),
    *("href", "hreflang"),
}


def languages_of(configuration: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the languages of the server's texts, each once and as in headers, the default first."""
    server = configuration.get("server", {})
    named = server.get("languages") or [server.get("language", "en")]
    locales = (str2locale(str(each)) for each in named)
    return tuple(dict.fromkeys(locale2str(each) for each in locales if each is not None))


def years_of(catalogue: Catalogue, policy: Policy) -> Mapping[str, Sequence[int]]:
    """Return the years of each series, none if one is hidden from some callers, since descriptions are public."""
    anybody = LOCAL if policy is OPEN else ANONYMOUS
    for product in filter(lambda each: each.listed, catalogue.products):
        if not all(policy(anybody, Access(Action.DISCOVER, name)).allowed for name in product.collections):
            return {}
    return {series: catalogue.years(series) for series in catalogue.series}
