"""An EDR provider as an operator writes it: temperatures at stations, in two runs of a forecast."""

from typing import Any

from pygeoapi.provider.base import ProviderItemNotFoundError
from pygeoapi.provider.base_edr import BaseEDRProvider
from shapely.geometry import box, mapping

STATIONS = {"krakow": (20, 50), "lodz": (19.5, 51.75)}
RUNS = {"monday": 280.0, "tuesday": 290.0}


class Soundings(BaseEDRProvider):
    """Answers with its arguments, so that different arguments make different answers."""

    def get_fields(self) -> dict[str, Any]:
        """Return the two parameters."""
        return {name: {"type": "number", "title": name, "x-ogc-unit": "K"} for name in ("air", "dew")}

    @property
    def fields(self) -> dict[str, Any]:
        """The same; pygeoapi's own is empty before the first call of `get_fields`."""
        return self.get_fields()

    def instances(self, **_: Any) -> list[str]:
        """Return the runs."""
        return list(RUNS)

    def instance(self, instance: str) -> bool:
        """Return whether there is such a run. Raises ProviderItemNotFoundError."""
        if instance not in RUNS:
            raise ProviderItemNotFoundError(f"no run {instance}")
        return True

    def position(self, **asked: Any) -> dict[str, Any]:
        """Return the values at a point."""
        return self._coverage(mapping(asked["wkt"]), asked)

    def area(self, **asked: Any) -> dict[str, Any]:
        """Return the values in an area."""
        return self._coverage(mapping(asked["wkt"]), asked)

    def cube(self, **asked: Any) -> dict[str, Any]:
        """Return the values in a box."""
        return self._coverage(mapping(box(*asked["bbox"])), asked)

    def locations(self, **asked: Any) -> dict[str, Any]:
        """Return the stations, or the values at one. Raises ProviderItemNotFoundError."""
        name = asked["location_id"]
        if name is None:
            places = [(each, {"type": "Point", "coordinates": list(place)}) for each, place in STATIONS.items()]
            found = [{"type": "Feature", "id": each, "properties": {}, "geometry": place} for each, place in places]
            return {"type": "FeatureCollection", "features": found[: asked["limit"]]}
        if name not in STATIONS:
            raise ProviderItemNotFoundError(f"no station {name}")
        return self._coverage({"type": "Point", "coordinates": list(STATIONS[name])}, asked)

    def _coverage(self, place: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
        names = [each for each in self.get_fields() if each in (asked["select_properties"] or self.get_fields())]
        ranges = {each: {"type": "NdArray", "values": [RUNS[asked["instance"] or "monday"]]} for each in names}
        domain = {"type": "Domain", "place": place, "axes": {"z": {"values": [asked["z"]]}, "t": asked["datetime_"]}}
        return {"type": "Coverage", "domain": domain, "parameters": self.get_parameters(names), "ranges": ranges}
