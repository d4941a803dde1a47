"""The language of an answer."""

from types import SimpleNamespace

import pytest
from pygeoapi.api import APIRequest
from pygeoapi.l10n import locale2str
from starlette.requests import Request

from routes.http.language import asked_languages, best_language, choose_language

SERVED = ("en-US", "fr-CA", "de", "pt-PT", "pt-BR")


def request(query: str = "", *headers: str) -> Request:
    given = [(b"accept-language", each.encode()) for each in headers]
    return Request({"type": "http", "query_string": query.encode(), "headers": given})


@pytest.mark.parametrize(
    ("query", "header", "language"),
    [
        ("", "", "en-US"),
        ("lang=fr", "", "fr-CA"),
        ("lang=fr-CA", "", "fr-CA"),
        ("lang=FR_ca", "", "fr-CA"),
        ("lang=fr-BE", "", "fr-CA"),
        ("lang=de-AT", "", "de"),
        ("lang=pt", "", "pt-PT"),
        ("lang=pt-BR", "", "pt-BR"),
        ("lang=pt-Latn-BR", "", "pt-BR"),
        ("lang=de", "fr", "de"),
        ("lang=it", "fr", "en-US"),  # a language that there is not: not what the header says either, as in pygeoapi
        ("lang=", "fr", "fr-CA"),
        ("lang=fr%2Cde%3Bq%3D0.9", "", "fr-CA"),
        ("lang=%00", "", "en-US"),
        ("", "fr", "fr-CA"),
        ("", "it, de;q=0.5, fr;q=0.7", "fr-CA"),
        ("", "it, de;q=0.8, fr;q=0.7, *;q=0.1", "de"),
        ("", "fr;q=0, de;q=0.1", "de"),
        ("", "fr;q=0", "en-US"),
        ("", "*", "en-US"),
        ("", "fr;q=nonsense, de", "de"),
        ("", "x" * 5000, "en-US"),
        ("", "en-GB, fr", "en-US"),
    ],
)
def test_lang_precedes_the_header_and_the_first_language_is_the_default(query: str, header: str, language: str) -> None:
    asked = request(query, *([header] if header else []))
    assert choose_language(asked, SERVED) == language
    assert choose_language(asked, ("other",)) == language  # it is chosen once


def test_a_header_may_have_several_lines() -> None:
    assert asked_languages(request("", "it;q=0.1", "fr, de;q=0.9")) == ["fr", "de", "it"]


def test_a_bounded_number_of_valid_languages_is_read() -> None:
    many = ", ".join([f"en-{number:03}" for number in range(500)] + ["fr"])
    assert len(asked_languages(request("", many))) == 20
    assert asked_languages(request("", "a, abcd, 12, fr-CA-x, e\u0301n, ../etc, en")) == ["en"]


def test_a_requested_territory_precedes_none_and_others() -> None:
    assert best_language(["pt-BR"], ["pt", "pt-BR"]) == "pt-BR"
    assert best_language(["pt-PT"], ["pt-BR", "pt"]) == "pt"
    assert best_language(["pt-PT"], ["pt-AO", "pt-BR"]) == "pt-AO"
    assert best_language(["es", "pt-PT"], ["pt-AO", "es-AR"]) == "es-AR"


ASKED = [
    "fr", "fr-CA", "FR_ca", "fr-BE", "de-AT", "pt", "pt-BR", "it", "en", "en-GB", "x", "fr-CA-x", "%00", "'--", "*",
    "de,fr", "it,fr",
]  # fmt: skip


@pytest.mark.parametrize("header", ["", "de", "it", "it, pt-BR"])
@pytest.mark.parametrize("asked", ASKED)
def test_lang_is_read_as_pygeoapi_reads_it(asked: str, header: str) -> None:
    given = request(f"lang={asked}", *([header] if header else []))
    headers = {"accept-language": header} if header else {}
    theirs = SimpleNamespace(args=dict(given.query_params), headers=headers, path_info="")
    locale = APIRequest(theirs, SERVED).locale
    assert choose_language(given, SERVED) == locale2str(locale)
