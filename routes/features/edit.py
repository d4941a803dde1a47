"""Create, replace, update and delete items (OGC API Features, Part 4, draft 20-002r1) of `editable` providers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any, cast, override
from urllib.parse import quote

from pygeoapi.provider.base import ProviderItemNotFoundError
from starlette.requests import Request
from starlette.responses import Response

from auth.access import Access, Action, Verdict
from auth.identity import current_identity
from auth.policy import audit_event
from plugins.crs import CRS84, Crs, find_crs
from plugins.editing import Draft, EditableProvider, EditedLayer, Expected, InvalidItem, ItemChanged, ItemNotYours
from routes.guard import GuardedRoute, OnResource, permit
from routes.http.body import media_type_of, parse_object, read_json
from routes.http.media_types import GEOJSON
from routes.http.preconditions import matches
from routes.http.problem import NOT_FOUND, Problem
from routes.query.parameters import allow_parameters
from routes.resources import Collection, collection_of, resources_of

MERGE_PATCH = "application/merge-patch+json"
_LARGEST = 2_000_000
"""Maximum bytes of an item."""
_EXAMPLE = '{"type": "Feature", "geometry": {…}, "properties": {…}}'
_PLACE = "/collections/{collection_id}/items/{item_id:path}"
_COLLECTION = "collection_id"
read_item = partial(read_json, largest=_LARGEST, also=(GEOJSON,))


def is_edited(collection: Collection) -> bool:
    """Return whether items of a collection can be changed: its provider is one of ours and `editable`."""
    if "feature" not in collection.kinds - collection.foreign:
        return False
    return collection.definition("feature").get("editable") is True


def is_posted_item(request: Request) -> bool:
    """Return whether the body of a POST is a new item of a collection that is edited, and no filter."""
    return media_type_of(request) == GEOJSON and is_edited(collection_of(request))


@dataclass(frozen=True, slots=True)
class OnPosted(OnResource):
    """To read items, where a filter is posted, and to create one, where an item is."""

    @override
    async def admit(self, request: Request) -> Verdict:
        """Ask the policy."""
        verdict = self.permitted(
            request, lambda asked: Action.CREATE_ITEMS if is_posted_item(asked) else Action.READ_ITEMS
        )
        return _of_seen(request, verdict) if is_posted_item(request) else verdict


@dataclass(frozen=True, slots=True)
class OnEdited(OnResource):
    """An action on an item of a collection that is edited; another one, or one that is unknown, has no such method."""

    @override
    async def admit(self, request: Request) -> Verdict:
        """Ask the policy. Raises Problem 405 where nothing is edited."""
        name, resources = request.path_params[self.parameter], resources_of(request)
        collection = resources.collections.get(name)
        seen = resources.policy(current_identity.get(), Access(Action.DISCOVER, name)).allowed
        if collection is None or not seen or not is_edited(collection):
            detail = f"items of collection {name[:80]!r} are not changed here"
            raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, headers={"Allow": "GET, HEAD, OPTIONS"})
        return _of_seen(request, self.permitted(request))


def _of_seen(request: Request, verdict: Verdict) -> Verdict:
    """Return the verdict on a change with the restrictions of reading. Raises the refusal: who changes must see."""
    return replace(verdict, also=permit(request, Access(Action.READ_ITEMS, collection_of(request).id)))


def create_item(request: Request) -> Response:
    """Answer with the address of a new item."""
    allow_parameters(request)
    collection, provider = _edited(request)
    with _refused(request):
        draft = _draft(request, provider, provider.drafts().whole)
        item_id, tag = provider.insert(draft)
    _note(request, "item-created", item_id)
    place = f"{collection.url}/items/{quote(item_id, safe='')}"
    return Response(status_code=HTTPStatus.CREATED, headers={"Location": place, "ETag": tag})


def replace_item(request: Request) -> Response:
    """Write all attributes and the geometry of an item."""
    return _change(request, EditedLayer.whole, "item-replaced")


def update_item(request: Request) -> Response:
    """Write the attributes that the body has, and the geometry if it has one (RFC 7396)."""
    return _change(request, EditedLayer.part, "item-updated")


def _change(request: Request, read: Callable[[EditedLayer, Any, Crs], Draft], event: str) -> Response:
    allow_parameters(request)
    _, provider = _edited(request)
    item_id: str = request.path_params["item_id"]
    expected = _expected(request)
    with _refused(request):
        draft = _draft(request, provider, partial(read, provider.drafts()))
        tag = provider.change(item_id, draft, expected)
    _note(request, event, item_id)
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"ETag": tag})


def delete_item(request: Request) -> Response:
    """Delete an item."""
    allow_parameters(request)
    _, provider = _edited(request)
    item_id: str = request.path_params["item_id"]
    expected = _expected(request)
    with _refused(request):
        provider.remove(item_id, expected)
    _note(request, "item-deleted", item_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _edited(request: Request) -> tuple[Collection, EditableProvider]:
    collection = collection_of(request)
    return collection, cast("EditableProvider", collection.readable_features())


def _draft(request: Request, provider: EditableProvider, read: Callable[[Any, Crs], Draft]) -> Draft:
    return read(parse_object(request.state.body, such_as=_EXAMPLE), _crs(request, provider))


def _crs(request: Request, provider: EditableProvider) -> Crs:
    """Return the CRS of the coordinates in the body: that of Content-Crs, else CRS84. Raises Problem 400."""
    given = request.headers.get("content-crs")
    if given is None:
        return CRS84
    systems = cast("Any", provider).systems
    found = find_crs(given.strip().removeprefix("<").removesuffix(">"), systems)
    if found is None:
        allowed = ", ".join(f"<{each.uri}>" for each in systems)
        raise Problem(HTTPStatus.BAD_REQUEST, f"Content-Crs: {given[:80]!r}; allowed: {allowed}")
    return found


def _expected(request: Request) -> Expected:
    """Return what says whether an item has one of the tags of If-Match. Raises Problem 428 without the header."""
    if "if-match" not in request.headers:
        detail = "If-Match is missing; allowed: the ETag of the item as it was read, or *"
        raise Problem(HTTPStatus.PRECONDITION_REQUIRED, detail)
    return partial(matches, request)


def _note(request: Request, event: str, item_id: str) -> None:
    """Log the change for the audit."""
    audit_event(current_identity.get().owner, event, resource=collection_of(request).id, item=item_id[:80])


@contextmanager
def _refused(request: Request) -> Iterator[None]:
    """Raise the Problem for an error of a change."""
    try:
        yield
    except InvalidItem as error:
        raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from error
    except ItemChanged as error:
        detail = "If-Match: the item was changed since it was read; read it again"
        raise Problem(HTTPStatus.PRECONDITION_FAILED, detail) from error
    except ItemNotYours as error:
        raise Problem(HTTPStatus.FORBIDDEN, "you may not make such an item: your rights cover others only") from error
    except ProviderItemNotFoundError as error:
        detail = f"collection {collection_of(request).id!r} has no item {request.path_params.get('item_id', '')!r}"
        raise Problem(HTTPStatus.NOT_FOUND, detail, type_=NOT_FOUND) from error


_read_part = partial(read_json, largest=_LARGEST, also=(MERGE_PATCH, GEOJSON))
_UPDATE, _DELETE = OnEdited(Action.UPDATE_ITEMS, _COLLECTION), OnEdited(Action.DELETE_ITEMS, _COLLECTION)
_route = partial(GuardedRoute, _PLACE, threads="light", include_in_schema=False)  # only some collections have them
routes = [
    _route(replace_item, needs=_UPDATE, body=read_item, methods=["PUT"]),
    _route(update_item, needs=_UPDATE, body=_read_part, methods=["PATCH"]),
    _route(delete_item, needs=_DELETE, methods=["DELETE"]),
]
