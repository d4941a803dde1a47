"""What many operations share."""

from http import HTTPStatus

from routes.openapi.operation import HTML, Value, headers, inline, ref
from routes.query.parameters import LIMIT, SHARED

_TEXT: Value = {"type": "string"}
_NAME: Value = {"type": "string", "minLength": 1, "maxLength": 100}
_NUMBER: Value = {"type": "number"}
_WHOLE: Value = {"type": "integer"}
_TIME: Value = {"type": "string", "format": "date-time"}
_WEB: Value = {"type": "string", "format": "uri", "pattern": "^https?://", "maxLength": 2000}

PROBLEMS = (400, 401, 403, 404, 406, 408, 409, 410, 412, 413, 415, 416, 422, 429, 502, 503, 504)
_OF_PROBLEM = {
    401: "WWW-Authenticate",
    415: "Accept-Post",
    416: "Content-Range",
    429: "Retry-After",
    503: "Retry-After",
    504: "Link",
}


def components(*, max_items: int, default_items: int) -> Value:
    """Return the components; `limit` is where QGIS reads how many items it may ask for."""
    others = {"maximum": max_items, "default": default_items}
    return {
        "schemas": SCHEMAS,
        "parameters": {
            name: inline(parameter, **(others if parameter is LIMIT else {})) for name, parameter in SHARED.items()
        },
        "headers": HEADERS,
        "responses": _problems(),
    }


def _problems() -> Value:
    """Return each problem by its status, and as `…OrPage` where a browser is answered with a page."""
    made: Value = {}
    for status in (None, *PROBLEMS):
        name = f"problem{status or ''}"
        description = HTTPStatus(status).phrase if status else "Something went wrong; the body says what."
        more = [_OF_PROBLEM[status]] if status in _OF_PROBLEM else []
        base = {"description": description, **headers("X-Request-Id", *more)}
        document = {"application/problem+json": {"schema": ref("schemas", "problem")}}
        made[name] = {**base, "content": document}
        made[f"{name}OrPage"] = {**base, "content": {**document, HTML: {"schema": _TEXT}}}
    return made


def _header(description: str, schema: Value = _TEXT) -> Value:
    return {"description": description, "schema": schema}


HEADERS: Value = {
    "Accept-Post": _header("The media types that a body may have."),
    "Accept-Ranges": _header("`bytes`: parts can be asked for by `Range`."),
    "Content-Bbox": _header("The box of the answer, in the order of the axes of `Content-Crs`."),
    "Content-Crs": _header("The coordinate reference system of the answer, in angle brackets."),
    "Content-Datetime": _header("The interval of time that the answer is of."),
    "Content-Disposition": _header("The name for a file to be saved as."),
    "Content-Range": _header("Which bytes of how many."),
    "ETag": _header("Names this state of the file; for `If-None-Match`, `If-Match`, `If-Range`."),
    "Last-Modified": _header("When the file was made."),
    "Link": _header("Links, as RFC 8288 says."),
    "Location": _header("The address of what was made.", {"type": "string", "format": "uri"}),
    "Preference-Applied": _header("Which preferences were honoured."),
    "Repr-Digest": _header("The SHA-256 of the whole file (RFC 9530)."),
    "Retry-After": _header("After how many seconds to ask again.", _WHOLE),
    "Scale-Factor": _header("How many times fewer pixels along each axis than there are.", _NUMBER),
    "WWW-Authenticate": _header("How to authenticate."),
    "X-Request-Id": _header("The id of this request in the server's log."),
}


def _object(required: list[str], **properties: Value) -> Value:
    return {"type": "object", **({"required": required} if required else {}), "properties": properties}


def _list(of: str | Value) -> Value:
    return {"type": "array", "items": ref("schemas", of) if isinstance(of, str) else of}


SCHEMAS: Value = {
    "problem": _object(
        ["type", "title", "status"],
        type=_TEXT, title=_TEXT, status=_WHOLE, detail=_TEXT, instance=_TEXT, requestId=_TEXT,
    ),
    "link": _object(
        ["href", "rel"],
        href=_TEXT, rel=_TEXT, type=_TEXT, title=_TEXT, hreflang=_TEXT, length=_WHOLE,
    ),
    "landing": _object(["links"], title=_TEXT, description=_TEXT, attribution=_TEXT, links=_list("link")),
    "about": _object(["title", "links"], title=_TEXT, links=_list("link")),
    "product": _object(
        ["id", "title", "year", "attribution", "citation", "formats", "links"],
        id=_TEXT, title=_TEXT, year=_WHOLE, version=_TEXT, abstract=_TEXT, source=_TEXT, lineage=_TEXT, accuracy=_TEXT,
        citation=_TEXT, attribution=_TEXT, licence=_TEXT, formats=_list({"type": "object"}), links=_list("link"),
    ),
    "conformance": _object(["conformsTo"], conformsTo=_list(_TEXT)),
    "collection": _object(
        ["id", "links"],
        id=_TEXT, title=_TEXT, description=_TEXT, keywords=_list(_TEXT), links=_list("link"), extent={"type": "object"},
        itemType=_TEXT, dataType=_TEXT, crs=_list(_TEXT), storageCrs=_TEXT, scaleDenominator=_NUMBER,
    ),
    "collections": _object(
        ["links", "collections"],
        links=_list("link"),
        collections=_list("collection"),
        numberMatched=_WHOLE,
        numberReturned=_WHOLE,
    ),
    "schema": _object(["type", "properties"], type=_TEXT, title=_TEXT, properties={"type": "object"}),
    "geometry": {"type": "object", "nullable": True, "required": ["type"], "properties": {"type": _TEXT}},
    "feature": _object(
        ["type", "geometry", "properties"],
        type={"type": "string", "enum": ["Feature"]},
        id={"oneOf": [_TEXT, _WHOLE]},
        geometry=ref("schemas", "geometry"),
        properties={"type": "object", "nullable": True},
        links=_list("link"),
    ),
    "features": _object(
        ["type", "features"],
        type={"type": "string", "enum": ["FeatureCollection"]},
        features=_list("feature"),
        links=_list("link"),
        timeStamp=_TIME,
        numberMatched=_WHOLE,
        numberMatchedEstimated=_WHOLE,
        numberReturned=_WHOLE,
    ),
    "coverage": _object(["type", "domain", "ranges"], type=_TEXT, domain={"type": "object"}, ranges={"type": "object"}),
    "domainset": _object(["type", "generalGrid"], type=_TEXT, generalGrid={"type": "object"}),
    "rangetype": _object(["type", "field"], type=_TEXT, field=_list({"type": "object"})),
    "processSummary": _object(
        ["id", "version"],
        id=_TEXT, version=_TEXT, title=_TEXT, description=_TEXT, keywords=_list(_TEXT),
        jobControlOptions=_list(_TEXT), outputTransmission=_list(_TEXT), links=_list("link"),
    ),
    "processes": _object(["processes", "links"], processes=_list("processSummary"), links=_list("link")),
    "process": {
        "allOf": [
            ref("schemas", "processSummary"),
            _object([], inputs={"type": "object"}, outputs={"type": "object"}),
        ]
    },
    "job": _object(
        ["jobID", "status", "type"],
        jobID=_TEXT,
        processID=_TEXT,
        type={"type": "string", "enum": ["process"]},
        status={"type": "string", "enum": ["accepted", "running", "successful", "failed", "dismissed"]},
        message=_TEXT, created=_TIME, started=_TIME, finished=_TIME, updated=_TIME,
        progress={"type": "integer", "minimum": 0, "maximum": 100},
        notifications=_list("notification"),
        links=_list("link"),
    ),
    "subscriber": {
        **_object(["successUri"], successUri=_WEB, inProgressUri=_WEB, failedUri=_WEB),
        "additionalProperties": False,
    },
    "unit": {**_object(["id"], id=_NAME, task=_NAME), "additionalProperties": False},
    "notification": _object(
        ["kind", "event", "state"],
        kind={"type": "string", "enum": ["callback", "mail"]},
        event={"type": "string", "enum": ["running", "successful", "failed"]},
        state={"type": "string", "enum": ["waiting", "due", "sending", "delivered", "failed", "unknown"]},
        tries=_WHOLE,
    ),
    "jobs": _object(["jobs", "links"], jobs=_list("job"), links=_list("link"), numberMatched=_WHOLE),
    "results": {"type": "object", "additionalProperties": {}},
    "value": {"description": "Any JSON: one output by itself, or `results` where a document was asked for."},
    "operations": _object(
        ["checks", "orders", "owners", "unfinished", "failed"], title=_TEXT, checks={"type": "object"},
        orders={"type": "object"}, owners=_list({"type": "object"}), unfinished=_list("job"), failed=_list("job"),
        links=_list("link"),
    ),
    "health": _object(["status"], status=_TEXT, orders=_TEXT, open={"type": "boolean"}, checks={"type": "object"}),
}  # fmt: skip
