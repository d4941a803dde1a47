"""A description lists the configured products."""

from processes.product_choice import PRODUCT_INPUTS, name_years

SINCE = {"title": "Earlier year", "description": "A year.", "schema": {"type": "integer"}}
OTHER = {"title": "Test", "schema": {"type": "boolean"}}


def test_series_as_configured_and_years_newest_first() -> None:
    years = {"mine": (2024, 2020), "clcplus": (2023,)}
    named = name_years({**PRODUCT_INPUTS, "since": SINCE, "test": OTHER}, years)
    assert named["series"]["schema"]["enum"] == ["mine", "clcplus"]
    assert named["year"]["schema"]["enum"] == [2024, 2023, 2020]
    assert named["since"]["schema"]["enum"] == [2020]
    assert named["since"]["description"] == "A year. Here: mine 2024, 2020; clcplus 2023."
    assert named["test"] == OTHER


def test_without_products_the_inputs_are_unchanged() -> None:
    assert name_years(PRODUCT_INPUTS, {}) == PRODUCT_INPUTS
