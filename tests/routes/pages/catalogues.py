"""What the pages say: the messages of templates, modules, scripts and processes, and the catalogues of each language.

`python tests/routes/pages/catalogues.py` adds missing messages to the catalogues, without a translation, and removes
superfluous ones.
"""

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from orchestration.job import MESSAGES_OF_STATUS
from processes.apply_model import ApplyModel
from processes.area_statistics import AreaStatistics
from processes.echo import Echo
from processes.estimate_product import EstimateProduct
from processes.european_product import EuropeanProduct
from processes.extract_product import ExtractProduct
from processes.national_product import NationalProduct
from processes.prepare_samples import PrepareSamples
from processes.sample_extraction import SampleExtraction
from products.classes import CLASSES
from routes.pages.translator import ANSWERS, FOLDER, MESSAGES, SCRIPTS

ROUTES = FOLDER.parents[1]
LANGUAGES = sorted(path.name for path in FOLDER.iterdir())
_KEYWORDS: Mapping[str, Any] = {"noted": None, "translator": None, "several": (1, 2)}
_LINK: Mapping[str, Any] = {**_KEYWORDS, "link": (4,)}
_WITH_LINKS = ("common/collection_document.py", "pygeoapi/document.py")
"""Modules of links whose titles pages show."""
_TEMPLATES: Mapping[str, Any] = {"trimmed": "true"}
PROCESSES = (
    *(ApplyModel, AreaStatistics, Echo, EstimateProduct, EuropeanProduct, ExtractProduct, NationalProduct),
    *(PrepareSamples, SampleExtraction),
)
Message = str | tuple[str, ...]


def wanted() -> Mapping[str, set[Message]]:
    """Return the messages that each domain needs."""
    python = set(_of_python())
    answers: set[Message] = {each for each in python if isinstance(each, str) and "%(" in each and each in _noted()}
    messages = (python - answers) | set(_of_templates()) | set(_of_processes())
    messages |= {each.name for each in CLASSES} | set(MESSAGES_OF_STATUS.values())
    scripts: set[Message] = set(_of_scripts())
    return {MESSAGES: messages, ANSWERS: answers, SCRIPTS: scripts}


def _extracted(method: str, path: Path, keywords: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Any:
    with path.open("rb") as file:
        found: Any = list(extract(method, file, keywords, options=options))
    return [message for _line, message, _comments, _context in found]


def _of_templates() -> Iterator[Message]:
    keywords: Mapping[str, Any] = {"_": None, "gettext": None, "ngettext": (1, 2)}
    for path in sorted((ROUTES / "pages" / "templates").glob("*.html")):
        yield from _extracted("jinja2.ext:babel_extract", path, keywords, _TEMPLATES)


def _of_python() -> Iterator[Message]:
    for path in sorted(ROUTES.rglob("*.py")):
        keywords = _LINK if str(path.relative_to(ROUTES)) in _WITH_LINKS else _KEYWORDS
        found = _extracted("python", path, keywords)
        yield from (each for each in found if keywords is _KEYWORDS or each[:1].isupper())


def _noted() -> set[Message]:
    return {each for path in ROUTES.rglob("*.py") for each in _extracted("python", path, {"noted": None})}


def _of_scripts() -> Iterator[Message]:
    for path in sorted((ROUTES / "pages" / "scripts").glob("*.js")):
        yield from _extracted("javascript", path, {"_": None}, {"template_string": "false"})


def _of_processes() -> Iterator[str]:
    """Yield the texts that pages show of our processes."""
    for process in PROCESSES:
        described: Any = process.description
        for each in (described, *described["inputs"].values(), *described["outputs"].values()):
            yield from (each[name] for name in ("title", "description") if each.get(name))


def catalogue(language: str, domain: str) -> Catalog:
    """Return the catalogue as it is committed."""
    with path_of(language, domain).open("rb") as file:
        return read_po(file, locale=language)


def path_of(language: str, domain: str) -> Path:
    """Return the file of a catalogue."""
    return FOLDER / language / "LC_MESSAGES" / f"{domain}.po"


def written(made: Catalog) -> bytes:
    """Return the catalogue as it is committed: sorted, without places and without dates."""
    file = BytesIO()
    write_po(file, made, width=0, sort_output=True, omit_header=True, no_location=True)
    return _HEADER.format(locale=made.locale, plurals=made.plural_forms).encode() + file.getvalue()


def renewed(old: Catalog, messages: set[Message]) -> Catalog:
    """Return a catalogue of exactly these messages, with the translations that there are."""
    made = Catalog(locale=old.locale)
    for each in messages:
        known = old.get(each[0] if isinstance(each, tuple) else each)
        made.add(each, known.string if known else "")
    return made


_HEADER = """# Words of Landcast's pages.
msgid ""
msgstr ""
"Language: {locale}\\n"
"Plural-Forms: {plurals}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""

if __name__ == "__main__":
    for name, texts in wanted().items():
        for tag in LANGUAGES:
            path_of(tag, name).write_bytes(written(renewed(catalogue(tag, name), texts)))
