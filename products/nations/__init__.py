"""The nations for which there is a national product."""

import re
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

NATIONS_FILE = Path(__file__).with_name("nations.gpkg")
"""The nations' outlines in longitude and latitude; `outlines.py` is their recipe."""

_EUROPE = 3035
_AS_THEY_ARE = {"FYR": "FYR", "UNSCR": "UNSCR", "AND": "and", "OF": "of", "UNDER": "under"}


@dataclass(frozen=True, slots=True)
class Nation:
    """A nation or a part of one; `epsg` is the code of its national product, None if it has no grid of its own."""

    name: str
    code: str
    epsg: int | None

    @property
    def crs(self) -> int:
        """The EPSG code of its product's coordinates."""
        return self.epsg or _EUROPE

    @property
    def id(self) -> str:
        """Code and EPSG code, `AL_2462`; alone among the nations."""
        return f"{self.code}_{self.crs}"

    @property
    def title(self) -> str:
        """The name as people read it."""
        return re.sub("[A-Z]+", lambda word: _AS_THEY_ARE.get(word[0], word[0].capitalize()), self.name)


def find_nation(name: str) -> Nation | None:
    """Return the nation of that name in any case, None where there is none."""
    wanted = " ".join(normalize("NFC", name).upper().split())
    return next((nation for nation in NATIONS if nation.name == wanted), None)


NATIONS = (
    Nation("ALBANIA", "AL", 2462),
    Nation("AUSTRIA", "AT", 31287),
    Nation("BOSNIA AND HERZEGOVINA", "BA", 3908),
    Nation("BELGIUM", "BE", 3812),
    Nation("BULGARIA", "BG", 32635),
    Nation("SWITZERLAND", "CH", 2056),
    Nation("CYPRUS", "CY", 32636),
    Nation("CZECH REPUBLIC", "CZ", 5514),
    Nation("GERMANY", "DE", 32632),
    Nation("DENMARK", "DK", 25832),
    Nation("ESTONIA", "EE", 3301),
    Nation("SPAIN", "ES", 25830),
    Nation("SPAIN (CANARIES)", "ES", 32628),
    Nation("FINLAND", "FI", 3067),
    Nation("FRANCE", "FR", 2154),
    Nation("GREAT BRITAIN", "GB", 27700),
    Nation("GUERNSEY (CHANNEL ISLANDS)", "GB", 3108),
    Nation("GREECE", "GR", 2100),
    Nation("CROATIA", "HR", 3765),
    Nation("HUNGARY", "HU", 23700),
    Nation("IRELAND", "IE", 2157),
    Nation("ICELAND", "IS", 5325),
    Nation("ITALY", "IT", 32632),
    Nation("JERSEY (CHANNEL ISLANDS)", "GB", 3109),
    Nation("LIECHTENSTEIN", "LI", 2056),
    Nation("LITHUANIA", "LT", 3346),
    Nation("LUXEMBOURG", "LU", 2169),
    Nation("LATVIA", "LV", 3059),
    Nation("MONTENEGRO", "ME", 25834),
    Nation("FYR OF MACEDONIA", "MK", 6204),
    Nation("MALTA", "MT", 23033),
    Nation("NORTHERN IRELAND", "NI", 29903),
    Nation("NETHERLANDS", "NL", 28992),
    Nation("NORWAY", "NO", 25833),
    Nation("POLAND", "PL", 2180),
    Nation("PORTUGAL", "PT", 3763),
    Nation("PORTUGAL (AZORES CENTRAL AND EASTERN GROUP)", "PT", 5015),
    Nation("PORTUGAL (AZORES WESTERN GROUP)", "PT", 5014),
    Nation("PORTUGAL (MADEIRA)", "PT", 5016),
    Nation("ROMANIA", "RO", 3844),
    Nation("SERBIA", "RS", 25834),
    Nation("SWEDEN", "SE", 3006),
    Nation("SLOVENIA", "SI", 3912),
    Nation("SLOVAKIA", "SK", 5514),
    Nation("TURKEY", "TR", None),
    Nation("KOSOVO UNDER UNSCR 1244/99", "XK", 3909),
)
