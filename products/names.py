"""The names of national and European products."""

from typing import Literal

from products.catalogue import Product
from products.nations import Nation

Kind = Literal["Raster", "Vector"]
_SERIES = {"clcplus": "CLCplus"}


def national_name(product: Product, kind: Kind, nation: Nation) -> str:
    """Return `CLMS_CLCplus_RASTER_2023_010m_pl_02180_V1_1` or `CLMS_CLCplus_VECTOR_2023_PL_02180_V1_1`."""
    if kind == "Raster":
        return _raster(product, nation.code.lower(), nation.epsg)
    return f"{_series(product)}_VECTOR_{product.year}_{nation.code}_{_epsg(nation.epsg)}_{product.version}"


def european_name(product: Product) -> str:
    """Return `CLMS_CLCplus_RASTER_2023_010m_eu_03035_V1_1`."""
    return _raster(product, "eu", 3035)


def _raster(product: Product, code: str, epsg: int | None) -> str:
    return f"{_series(product)}_RASTER_{product.year}_010m_{code}_{_epsg(epsg)}_{product.version}"


def _series(product: Product) -> str:
    return f"CLMS_{_SERIES.get(product.series, product.series)}"


def _epsg(epsg: int | None) -> str:
    """Return five digits, `00000` where a nation has no grid of its own."""
    return f"{epsg or 0:05}"
