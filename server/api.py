"""pygeoapi's API object, as our application uses it."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from http import HTTPStatus
from typing import Any, NoReturn

from pygeoapi.api import API

from auth.access import Access, Action, Policy
from auth.identity import ANONYMOUS, LOCAL
from auth.policy import OPEN
from auth.visibility import VisibleResources
from products.catalogue import Catalogue, catalogue_of
from routes.problem import INVALID_PARAMETER, NOT_FOUND, Problem

_TYPES = {"NotFound": NOT_FOUND, "InvalidParameterValue": INVALID_PARAMETER}


class RaisingAPI(API):
    """Raises our Problem where pygeoapi would log a traceback and write an exception of its own."""

    def get_exception(
        self, status: int, headers: dict[str, str], format_: str | None, code: str, description: str
    ) -> NoReturn:
        """Raise the Problem with pygeoapi's status and words."""
        del headers, format_
        raise Problem(HTTPStatus(status), description, type_=_TYPES.get(code, "about:blank"))


def make_api(configuration: Mapping[str, Any], url: str, policy: Policy) -> RaisingAPI:
    """Return the API of this configuration at the public address; the configuration itself stays as it is.

    Every provider is told the `classes` of the product that it shows, every process the `years` of each series where
    everybody may know of all products. Its resources are those that the caller may see.
    """
    config = deepcopy(dict(configuration))
    config["server"] = {**config.get("server", {}), "url": url, "bind": {"host": "127.0.0.1", "port": 0}}
    config.setdefault("logging", {"level": "WARNING"})
    catalogue = catalogue_of(configuration)
    years = _years(catalogue, policy)
    for name, resource in config["resources"].items():
        for provider in resource.get("providers", ()):
            provider["classes"] = catalogue.classes(name)
        if "processor" in resource:
            resource["processor"]["years"] = years
    api = RaisingAPI(config, {})
    api.config["resources"] = VisibleResources(api.config["resources"], policy)
    return api


def _years(catalogue: Catalogue, policy: Policy) -> Mapping[str, Sequence[int]]:
    """Return the years of each series; none where one is hidden from somebody, since descriptions are everybody's."""
    anybody = LOCAL if policy is OPEN else ANONYMOUS
    for product in catalogue.products:
        if not all(policy(anybody, Access(Action.DISCOVER, name)).allowed for name in product.collections):
            return {}
    return {series: catalogue.years(series) for series in catalogue.series}
