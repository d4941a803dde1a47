"""What pages say in each language: catalogues, numbers, days, links, the switch; no text is left untranslated."""

import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po
from jinja2 import nodes
from starlette.testclient import TestClient

from routes.pages.render import environment_of
from routes.pages.translator import ANSWERS, FOLDER, MESSAGES, SCRIPTS, Translator, names_of, wrong_catalogues
from tests.conftest import MakeApp

_SPEC = spec_from_file_location("catalogues", Path(__file__).with_name("catalogues.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
catalogues: Any = module_from_spec(_SPEC)
_SPEC.loader.exec_module(catalogues)
LANGUAGES = ["de", "fr", "pl"]
PAGES = Path(__file__).parents[3] / "routes" / "pages"
HTML = {"accept": "text/html"}


@pytest.fixture(scope="module")
def wanted() -> dict[str, set[Any]]:
    found: dict[str, set[Any]] = catalogues.wanted()
    return found


def forms_of(message: Any) -> list[str]:
    return list(message) if isinstance(message, tuple | list) else [message]


@pytest.mark.parametrize("domain", [MESSAGES, SCRIPTS, ANSWERS])
@pytest.mark.parametrize("language", LANGUAGES)
def test_each_message_is_translated_and_no_other(wanted: dict[str, set[Any]], language: str, domain: str) -> None:
    """What is missing or superfluous is named; `python tests/routes/pages/catalogues.py` adds and removes it."""
    made = catalogues.catalogue(language, domain)
    known = {each.id: each for each in made if each.id}
    assert sorted(map(str, wanted[domain] - known.keys())) == []
    assert sorted(map(str, known.keys() - wanted[domain])) == []
    assert [each.id for each in known.values() if each.fuzzy or not all(forms_of(each.string))] == []
    assert len(known) > 5


@pytest.mark.parametrize("domain", [MESSAGES, SCRIPTS, ANSWERS])
@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_have_the_values_and_tags_of_their_messages(language: str, domain: str) -> None:
    """Nor a quotation mark outside of a tag, as messages stand in attributes; answers have two values at most."""
    for each in catalogues.catalogue(language, domain):
        for text in forms_of(each.string) if each.id else ():
            source = forms_of(each.id)[-1]
            assert values_of(text) == values_of(source), text
            assert re.findall("<[^>]*>", text) == re.findall("<[^>]*>", source), text
            assert '"' not in re.sub(r"<[^>]*>|{.*}", "", text), text
            assert domain != ANSWERS or len(values_of(text)) <= 2, text
    assert not list(wrong_catalogues(FOLDER))


def values_of(text: str) -> list[str]:
    return sorted(set(re.findall(r"%\(\w+\)s", text)))


_WORDS = re.compile(r"[A-Za-z]{2}")
_SAID = re.compile(r"^[A-Z][a-z]|[A-Za-z]{2} [A-Za-z]{2}")
_NAMES = {
    "Feature",
    "GeoTIFF",
    "CoverageJSON",
    "JSON",
    "SHA-256",
    "GDAL",
    "Python",
    "JavaScript",
    "curl",
    "by JSON",
    "km²",
}
"""What is called the same in each language."""
_CODE = {"code", "pre", "script", "var"}
_READ = {"alt", "title", "placeholder", "aria-label"}


class Literal(HTMLParser):
    """The texts of a template without its expressions, and of the attributes that are read out."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._code: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.texts += [value for name, value in attributes if name in _READ and value]
        if tag in _CODE:
            self._code.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._code and tag == self._code[-1]:
            self._code.pop()

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.texts += data.split("\n")


def literals_of(source: str) -> list[str]:
    """Return the texts of a template that no catalogue can translate: literal ones, and those in its expressions."""
    plain = re.sub(r"{% trans.*?endtrans %}|{{.*?}}|{%.*?%}|{#.*?#}", "", source, flags=re.DOTALL)
    texts = [each.strip(" ,:;.()\u00b7\u00d7/%&") for each in Literal(plain).texts]
    found = [each for each in texts if _WORDS.search(each) and each not in _NAMES]
    said: set[str] = set()
    tree = environment_of().parse(source)
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name in {"_", "gettext", "ngettext", "tool"}:
            said |= {str(each.value) for argument in call.args for each in argument.find_all(nodes.Const)}
            said |= {str(each.value) for each in call.args if isinstance(each, nodes.Const)}
    return found + [
        each.value
        for each in tree.find_all(nodes.Const)
        if isinstance(each.value, str) and _SAID.search(each.value) and each.value not in said | _NAMES
    ]


@pytest.mark.parametrize("path", sorted((PAGES / "templates").glob("*.html")), ids=lambda path: path.name)
def test_a_template_has_no_literal_text(path: Path) -> None:
    assert [each for each in literals_of(path.read_text()) if path.name != "use.html" or "QGIS" in each] == []


def test_a_literal_text_is_found() -> None:
    """So that the test above cannot pass for nothing."""
    source = """<p>Hello {{ name }}</p><i title="A hint">{{ "Yes, please" if x else _("No") }}</i>
    {{ page("Start", "a") }}
    <p>{% trans %}Good{% endtrans %} <code>code only</code> {{ _("Fine") }}</p>"""
    assert literals_of(source) == ["Hello", "A hint", "Yes, please", "Start"]


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`')
_ALLOWED = re.compile(
    r"EPSG|Accept|Content-Type|application/|^ol/|^\./|AbortError|Polygon$|Circle|LineString|Enter|Arrow|POST|GET|Escape"
    r"|sans-serif|WebMercatorQuad|EuropeanETRS89|Natural Earth|querySelector|matrix|^\.[a-z]"
    r"|^SRID|^\+proj|Europe|Uint|\[role|data-|http"
)
"""Strings in scripts that nobody reads: names of events, headers, projections, selectors."""


@pytest.mark.parametrize("path", sorted((PAGES / "scripts").glob("*.js")), ids=lambda path: path.name)
def test_a_script_has_no_literal_text(path: Path) -> None:
    assert untranslated(path.read_text()) == []


def untranslated(source: str) -> list[str]:
    plain = re.sub(r"/\*.*?\*/|(?m:^|(?<=[\s;]))//[^\n]*", "", source, flags=re.DOTALL)
    plain = re.sub(r'\b_\((?:[^()"]*\?\? )?"(?:[^"\\]|\\.)*"', "_(", plain)
    strings = [re.sub(r"\$\{[^}]*\}", "", each[1:-1]) for each in _STRING.findall(plain)]
    return [each for each in strings if _SAID.search(each) and not _ALLOWED.search(each)]


def test_a_literal_text_of_a_script_is_found() -> None:
    assert untranslated('say("Draw it"); say(_("Pick")); say(`two words ${x}`); // "Not this"') == [
        "Draw it",
        "two words ",
    ]


def test_numbers_sizes_days_and_times_are_written_as_in_the_language() -> None:
    year = datetime.now(UTC).year
    expected = {
        "en-GB": ("1,234,567.5", "1.2 MB", "29 December", "29 December 2031"),
        "de": ("1.234.567,5", "1,2 MB", "29. Dezember", "29. Dezember 2031"),
        "fr": ("1\u202f234\u202f567,5", "1,2\u202fMo", "29 décembre", "29 décembre 2031"),
        "pl": ("1\u00a0234\u00a0567,5", "1,2 MB", "29 grudnia", "29 grudnia 2031"),
    }
    for language, texts in expected.items():
        translator = Translator(language)
        days = [translator.day(f"{each}-12-29T10:00:00Z") for each in (year, 2031)]
        assert (translator.number(1_234_567.5), translator.size(1_234_567), *days) == texts
    assert Translator("de").time("2031-12-29T10:05:06Z") == "29. Dezember 2031, 10:05:06 UTC"
    assert Translator("pl").time("2031-12-29T10:05:06Z") == "29 grudnia 2031 10:05:06 UTC"


def test_the_form_of_a_count_is_that_of_the_language() -> None:
    message = ("at most %(count)s order open at once", "at most %(count)s orders open at once")
    polish = [Translator("pl").several(*message, count) for count in (1, 2, 5, 22)]
    assert polish == [
        "najwyżej 1 otwarte zamówienie naraz",
        "najwyżej 2 otwarte zamówienia naraz",
        "najwyżej 5 otwartych zamówień naraz",
        "najwyżej 22 otwarte zamówienia naraz",
    ]
    assert Translator("en").several(*message, 1) == "at most 1 order open at once"


def test_a_text_with_values_is_translated_with_its_values() -> None:
    translator = Translator("de-AT")
    assert translator.translated("The items as 100 % JSON") == "Die Objekte als 100 % JSON"
    assert translator.translated("The whole of it") == "The whole of it"
    assert not translator.known("The whole of it")
    assert Translator("en-US").known("The whole of it")


PO = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'


def catalogue_in(folder: Path, language: str, domain: str, **texts: str) -> None:
    place = folder / language / "LC_MESSAGES"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{domain}.po").write_text(
        PO + "\n".join(f'msgid "{key}"\nmsgstr "{text}"\n' for key, text in texts.items())
    )


def test_an_operators_words_precede_ours_and_may_be_of_another_language(tmp_path: Path) -> None:
    catalogue_in(tmp_path, "de", MESSAGES, Collections="Datensätze")
    catalogue_in(tmp_path, "en", SCRIPTS, Undo="Back")
    catalogue_in(tmp_path, "it", MESSAGES, Collections="Raccolte")
    assert [Translator("de", tmp_path)(each) for each in ("Collections", "Processes")] == ["Datensätze", "Prozesse"]
    assert Translator("en-GB", tmp_path).of_scripts == {"Undo": "Back"}
    assert Translator("it", tmp_path)("Collections") == "Raccolte"
    assert (Translator("it", tmp_path).found, Translator("it").found, Translator("en").found) == (True, False, True)


def test_a_catalogue_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    catalogue_in(tmp_path, "it", MESSAGES, **{"Item %(id)s": "Oggetto %(nome)s", "Start": "100 %"})
    (tmp_path / "it" / "LC_MESSAGES" / "scripts.mo").write_bytes(b"nothing")
    first, second, third = wrong_catalogues(tmp_path)
    assert first == "it/LC_MESSAGES/messages.po: 'Item %(id)s' has no value nome"
    assert second == "it/LC_MESSAGES/messages.po: 'Start' has no value %"
    assert third.startswith("it/LC_MESSAGES/scripts.mo: cannot be read: ")


def test_languages_are_called_as_they_call_themselves() -> None:
    assert names_of(["en-GB", "de", "fr", "pl"]) == {
        "en-GB": "English",
        "de": "Deutsch",
        "fr": "Français",
        "pl": "Polski",
    }
    assert list(names_of(["de-AT", "de-CH"]).values()) == ["Deutsch (Österreich)", "Deutsch (Schweiz)"]


@pytest.fixture
def spoken(make_app: MakeApp, configuration: dict[str, Any]) -> Iterator[TestClient]:
    """Yield a client of the sample in four languages."""
    changed = deepcopy(configuration)
    changed["server"]["languages"] = ["en-GB", *LANGUAGES]
    with TestClient(make_app(changed), base_url="http://inside.invalid", follow_redirects=False) as made:
        yield made


SAID = {
    "en-GB": ("Skip to the content", "My orders", "Snow and ice"),
    "de": ("Zum Inhalt springen", "Meine Bestellungen", "Schnee und Eis", "Unter dieser Adresse gibt es nichts."),
    "fr": ("Aller au contenu", "Mes commandes", "Neige et glace", "a rien à cette adresse."),
    "pl": ("Przejdź do treści", "Moje zamówienia", "Śnieg i lód", "Pod tym adresem nic nie ma."),
}


def test_pages_are_in_the_language_that_is_asked_for_by_address_or_header(spoken: TestClient) -> None:
    for language in LANGUAGES:
        skip, orders, snow, nothing = SAID[language]
        by_address = spoken.get(f"/collections/clcplus-raster?f=html&lang={language}")
        by_header = spoken.get(
            "/collections/clcplus-raster", headers={**HTML, "Accept-Language": f"{language}, en;q=0.5"}
        )
        for answer in (by_address, by_header):
            assert f'<html lang="{language}">' in answer.text
            assert all(each in answer.text for each in (skip, orders, snow))
            assert answer.headers["Content-Language"] == language
            assert "accept-language" in answer.headers["Vary"].lower()
        wrong = spoken.get("/nowhere", params={"lang": language}, headers=HTML)
        assert (wrong.status_code, wrong.headers["Content-Language"]) == (404, language)
        assert nothing in wrong.text
        assert '<p lang="en">there is nothing at this address</p>' in wrong.text
    assert SAID["en-GB"][0] in spoken.get("/?lang=it&f=html").text


def test_links_keep_the_language_of_the_address_and_only_that(spoken: TestClient) -> None:
    page = spoken.get("/collections/parks/items?f=html&limit=2&lang=pl").text
    assert "Obiekty od 1 do 2 z 9" in page
    links = re.findall(r'(?:href|action)="(https://maps[^"]*|\?[^"]*)"', page)
    ours = [each for each in links if "/static/" not in each and "lang=" not in each]
    assert ours == []
    assert {"de", "en-GB", "fr", "pl"} == set(re.findall(r"lang=([\w-]+)", " ".join(links)))
    assert not re.search(r"static[^\"]*lang=", page)
    assert 'href="https://maps.example.org/land/collections?f=html&amp;lang=pl"' in page
    without = spoken.get("/collections/parks/items?f=html&limit=2", headers={"Accept-Language": "pl"}).text
    assert 'href="https://maps.example.org/land/collections?f=html"' in without


def test_each_page_has_a_switch_of_language(spoken: TestClient) -> None:
    page = spoken.get("/collections?f=html&limit=1&lang=fr").text
    switch = re.search(r'<nav class="languages" aria-label="Langue">(.*?)</nav>', page, re.DOTALL)
    assert switch
    found = re.findall(
        r'<a href="([^"]*)" lang="([^"]*)" hreflang="[^"]*"( aria-current="true")?>([^<]*)</a>', switch[1]
    )
    assert [(lang, current, name) for _, lang, current, name in found] == [
        ("en-GB", "", "English"),
        ("de", "", "Deutsch"),
        ("fr", ' aria-current="true"', "Français"),
        ("pl", "", "Polski"),
    ]
    assert [href for href, *_ in found][1] == "?f=html&amp;limit=1&amp;lang=de"


def test_a_form_leads_to_a_page_in_its_language(spoken: TestClient) -> None:
    page = spoken.get("/processes/echo?f=html&lang=de").text
    (action,) = re.findall(r'<form method="post" action="([^"]*)"', page)
    sent = spoken.post(action.removeprefix("https://maps.example.org/land"), data={"stringInput": "x"})
    assert sent.status_code == 303
    assert sent.headers["location"].endswith("?f=html&lang=de")


def test_scripts_get_their_words_from_the_page(spoken: TestClient) -> None:
    page = spoken.get("/?f=html&lang=de").text
    (texts,) = re.findall(r'<script type="application/json" id="words">(.*?)</script>', page)
    assert '"Draw a rectangle": "Rechteck zeichnen"' in texts
    assert '"Water": "Wasser"' in texts
    assert 'id="words"' not in spoken.get("/?f=html&lang=en").text


def test_catalogues_are_written_as_their_tool_writes_them(wanted: dict[str, set[Any]]) -> None:
    for language in LANGUAGES:
        for domain, messages in wanted.items():
            path = catalogues.path_of(language, domain)
            with path.open("rb") as file:
                again = catalogues.written(catalogues.renewed(read_po(file, locale=language), messages))
            assert path.read_bytes() == again, path
