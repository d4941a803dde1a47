"""The provider of maps for pygeoapi's handlers: pictures of a Cloud-Optimized GeoTIFF in its default colours."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pygeoapi.provider.base import BaseProvider, ProviderConnectionError

from plugins.cog import CogProvider
from plugins.coverage_arguments import check_names, check_time, provider_at
from plugins.crs import CRS84, Crs, box_of, crs_named
from plugins.refusals import bounded, invalid, refused

_FORMAT = "png"
_WHITE = (255, 255, 255)
_FLAGS = {"true": True, "false": False}


class CogMapProvider(BaseProvider):
    """Draws any box in any size. A coverage of `CogProvider` has a map in our own server without it.

    The handlers read every bbox with x before y, in every CRS, and transform it to the CRS of the map.
    """

    def __init__(self, provider_def: dict[str, Any]) -> None:
        super().__init__(provider_def)  # type: ignore[no-untyped-call]
        given = provider_def.get("format") or {"name": _FORMAT}
        if given.get("name") != _FORMAT:
            raise ProviderConnectionError(f"format: {given.get('name')!r}: allowed: {_FORMAT}")
        self._coverage = CogProvider({name: value for name, value in provider_def.items() if name != "format"})

    def get_fields(self) -> dict[str, Any]:
        """Return the one field: the class, with codes and names."""
        return self._coverage.get_fields()

    @property
    def fields(self) -> dict[str, Any]:
        """The fields, for pygeoapi."""
        return self.get_fields()

    def query(  # noqa: PLR0913 - pygeoapi's arguments
        self,
        style: str | None = None,
        bbox: Sequence[float] = (-180, -90, 180, 90),
        width: int = 500,
        height: int = 300,
        crs: object = CRS84.uri,
        *,
        datetime_: str | None = None,
        transparent: bool | str = True,
        format_: str = _FORMAT,
        subsets: Mapping[str, Sequence[Any]] = MappingProxyType({}),
        select_properties: Sequence[str] = (),
        **bbox_crs: object,
    ) -> bytes:
        """Return a PNG of the box, which is in the CRS of the map. Raises ProviderInvalidQueryError.

        The handlers also pass the original `bbox-crs`, which is not a valid name of an argument in Python.
        """
        if unknown := bbox_crs.keys() - {"bbox-crs"}:
            raise TypeError(f"unexpected arguments: {', '.join(sorted(unknown))}")
        if style is not None:
            raise invalid(f"style: {style!r}: allowed: none")
        if format_ != _FORMAT:
            raise invalid(f"f: {format_!r}: allowed: {_FORMAT}")
        if subsets:
            raise invalid(f"subset: {', '.join(subsets)}: allowed: bbox")
        check_names(select_properties, self.fields)
        check_time(datetime_)
        coverage = provider_at(self._coverage, datetime_) if self._coverage.years and datetime_ else self._coverage
        background = None if _flag(transparent) else _WHITE
        if width < 1 or height < 1:
            raise invalid(f"width, height: {width} x {height}: allowed: whole numbers of pixels from 1")
        system = self._system(crs)
        with bounded(), refused("bbox"):
            pixels = coverage.read(box_of(bbox, system), (width, height))
        return pixels.picture(background)

    def _system(self, name: object) -> Crs:
        with refused("crs"):
            crs = crs_named(str(name))
        if not any(crs.name == each.name for each in self._coverage.systems):
            raise invalid(f"crs: {name}: allowed: {', '.join(self._coverage.crs_list)}")
        return replace(crs, northing_first=False)

    def get_legend(self, style: str | None = None, format_: str = _FORMAT) -> bytes:
        """Raise ProviderInvalidQueryError: the classes and their colours are in the schema and in CoverageJSON."""
        del style, format_
        raise invalid("there is no legend")


def _flag(value: object) -> bool:
    """Return whether a background is transparent; the handlers pass the text of the query."""
    text = str(value).lower()
    if text not in _FLAGS:
        raise invalid(f"transparent: {value!r}: allowed: {', '.join(_FLAGS)}")
    return _FLAGS[text]
