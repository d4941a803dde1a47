"""Links of the documents; every address begins with the public one."""

from typing import Any

OGC = "http://www.opengis.net/def/rel/ogc/1.0"


def link(href: str, rel: str, media_type: str, title: str, **members: Any) -> dict[str, Any]:
    """Return one link object."""
    return {"href": href, "rel": rel, "type": media_type, "title": title, **members}


def both_forms(href: str, *, media_type: str = "application/json") -> list[dict[str, Any]]:
    """Return the links of a document to itself and to its page."""
    return [
        link(f"{href}?f=json", "self", media_type, "This document"),
        link(f"{href}?f=html", "alternate", "text/html", "This document as a page"),
    ]
