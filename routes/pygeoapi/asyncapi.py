"""`/asyncapi`: the channels and messages of the broker, as AsyncAPI 3.0.0 and as a page."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from orchestration.job import Status
from orchestration.notifications.broker import COLLECTION_TYPE, DOWNLOAD_TYPE, EXCHANGE, Broker
from routes.guard import NOTHING, GuardedRoute
from routes.pages.respond import link, respond
from routes.pages.translator import noted
from routes.query.parameters import allow_parameters
from routes.resources import Resources, resources_of

MEDIA_TYPE = "application/asyncapi+json"
CONFORMANCE = (
    "https://www.opengis.net/spec/ogcapi-pubsub-1/1.0/conf/message-payload-cloudevents-json",
    "https://www.opengis.net/spec/ogcapi-pubsub-1/1.0/conf/discovery",
)
_TEXT = {"type": "string"}
_CLOUD_EVENT = {
    "type": "object",
    "required": ["specversion", "type", "source", "id", "data"],
    "properties": {
        "specversion": {"type": "string", "enum": ["1.0"]},
        "type": _TEXT,
        "source": {"type": "string", "format": "uri-reference"},
        "subject": _TEXT,
        "id": _TEXT,
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": _TEXT,
        "data": {
            "type": "object",
            "properties": {
                "jobID": _TEXT,
                "type": {"type": "string", "enum": ["process"]},
                "status": {"type": "string", "enum": list(Status)},
            },
        },
    },
}
_OF_COLLECTION = {
    "type": "object",
    "properties": {"collectionID": _TEXT, "type": {"type": "string", "enum": ["collection"]}},
}
_COMPONENTS = {
    "messages": {
        "job": {
            "title": "A job changed its status",
            "contentType": "application/cloudevents+json",
            "payload": {"$ref": "#/components/schemas/job"},
        },
        "download": {
            "title": "A result of a job is downloaded",
            "contentType": "application/cloudevents+json",
            "payload": {"$ref": "#/components/schemas/job"},
        },
        "file": {
            "title": "A file of a collection is downloaded",
            "contentType": "application/cloudevents+json",
            "payload": {"$ref": "#/components/schemas/collection"},
        },
        "item": {
            "title": "An item was changed",
            "contentType": "application/cloudevents+json",
            "payload": {"$ref": "#/components/schemas/event"},
        },
    },
    "schemas": {
        "job": _CLOUD_EVENT,
        "collection": {**_CLOUD_EVENT, "properties": {**_CLOUD_EVENT["properties"], "data": _OF_COLLECTION}},  # type: ignore[dict-item] # a mapping
        "event": {**_CLOUD_EVENT, "properties": {**_CLOUD_EVENT["properties"], "data": {}}},  # type: ignore[dict-item] # a mapping
    },
}


def get_asyncapi(request: Request) -> Response:
    """Answer with the channels of what everybody may discover, the same for every caller."""
    allow_parameters(request)
    resources = resources_of(request)
    document = _document(resources, _broker_of(resources))
    only_page = {"title": noted("Messages")}
    return respond(request, document, page="asyncapi.html", media_type=MEDIA_TYPE, only_page=only_page)


def _broker_of(resources: Resources) -> Broker:
    if resources.broker is None:
        raise LookupError("there is no broker")
    return resources.broker


def _document(resources: Resources, broker: Broker) -> dict[str, Any]:
    channels = dict(_channels(resources, broker))
    operations = {f"{verb}-{name}": (action, f"notify-{name}") for name in channels for verb, action in _ACTIONS}
    return {
        "asyncapi": "3.0.0",
        "id": resources.url,
        "defaultContentType": "application/json",
        "info": _info(resources.api.config["metadata"]),
        **({} if broker.hidden else {"servers": {"default": _server(broker)}}),
        "channels": {f"notify-{name}": channel | _binding(broker) for name, channel in channels.items()},
        "operations": {
            name: {"action": action, "channel": {"$ref": f"#/channels/{channel.replace('/', '~1')}"}}
            for name, (action, channel) in operations.items()
        },
        "components": _COMPONENTS,
    }


_ACTIONS = (("publish", "send"), ("consume", "receive"))


def _channels(resources: Resources, broker: Broker) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the channels by the ids of their processes and collections."""
    for process in resources.processes.processors.values():
        name = process.metadata["id"]
        if name in resources.announced:
            message = {"job": {"$ref": "#/components/messages/job"}}
            described = "A message for each new status of one of its jobs."
            title = process.metadata["title"]
            yield name, _channel(broker.channel_of("processes", name), title, described, message)
            message = {"download": {"$ref": "#/components/messages/download"}}
            described = f"A message, of the type {DOWNLOAD_TYPE}, for each download of a result of one of its jobs."
            yield f"{name}-downloads", _channel(broker.channel_of("downloads", name), title, described, message)
    for collection in resources.listed_collections():
        if collection.id in resources.announced:
            message = {"item": {"$ref": "#/components/messages/item"}}
            described = "Changes of its items. None are published, as this server does not edit items."
            address = broker.channel_of("collections", collection.id)
            yield collection.id, _channel(address, collection.title, described, message)
            message = {"file": {"$ref": "#/components/messages/file"}}
            described = f"A message, of the type {COLLECTION_TYPE}, for each download of all its items or of a file."
            address = broker.channel_of("downloads", collection.id)
            yield f"{collection.id}-downloads", _channel(address, collection.title, described, message)


def _channel(address: str, title: str, description: str, messages: Mapping[str, Any]) -> dict[str, Any]:
    return {"address": address, "title": str(title), "description": description, "messages": messages}


def _binding(broker: Broker) -> dict[str, Any]:
    """Return where RabbitMQ has the channel, whose address is the routing key."""
    if not broker.is_amqp:
        return {}
    exchange = {"name": EXCHANGE, "type": "topic", "durable": True}
    return {"bindings": {"amqp": {"is": "routingKey", "exchange": exchange}}}


def _server(broker: Broker) -> dict[str, Any]:
    parts = urlsplit(broker.address)
    path = {"pathname": parts.path} if parts.path else {}
    return {"host": parts.netloc, "protocol": parts.scheme, "description": "The broker", **path}


def _info(metadata: Mapping[str, Any]) -> dict[str, Any]:
    identification, contact = metadata["identification"], metadata["contact"]
    return {
        "title": identification["title"],
        "version": version("landcast"),
        "description": identification["description"],
        "license": {name: metadata["license"][name] for name in ("name", "url")},
        "contact": {name: contact[name] for name in ("name", "email", "url") if _is_contact(name, contact.get(name))},
        "tags": [{"name": str(word)} for word in identification["keywords"]],
        "externalDocs": {"url": identification["url"]},
    }


def _is_contact(name: str, value: Any) -> bool:
    """Return whether it has the form that AsyncAPI requires; many configurations have `Contact URL` instead."""
    if name == "email":
        return "@" in str(value)
    return bool(value) and (name != "url" or str(value).startswith(("http://", "https://")))


def broker_links(resources: Resources) -> list[dict[str, Any]]:
    """Return the links of the landing page to the broker and to `/asyncapi`, none without a broker."""
    broker = resources.broker
    if broker is None:
        return []
    place = f"{resources.url}/asyncapi"
    channel = {"channel": broker.channel} if broker.channel else {}
    hub = link(broker.address, "hub", "application/json", "The broker of messages about jobs", **channel)
    return [
        *([] if broker.hidden else [hub]),
        link(f"{place}?f=json", "service-desc", MEDIA_TYPE, "The definition of the messages"),
        link(f"{place}?f=html", "service-doc", "text/html", "The definition of the messages as a page"),
    ]


routes = [GuardedRoute("/asyncapi", get_asyncapi, needs=NOTHING, threads="light")]
