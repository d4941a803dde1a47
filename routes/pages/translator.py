"""The texts of pages in one language: those of gettext catalogues; numbers, sizes, days and times as Babel writes them.

Messages are the English texts. The catalogues are `locale/{language}/LC_MESSAGES/messages.po`, `scripts.po` for what
scripts say, and `answers.po` for texts with values in them that are made elsewhere. Those in the operator's folder
(`server.locale_dir`) precede ours, message by message.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from babel import Locale
from babel.dates import format_date, format_datetime, format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.numbers import format_decimal
from babel.support import NullTranslations, Translations
from babel.units import format_unit

from products.classes import CLASSES

FOLDER = Path(__file__).parent / "locale"
MESSAGES, SCRIPTS, ANSWERS = "messages", "scripts", "answers"
"""The domains of the catalogues."""
SOURCE = "en"
"""The language of the messages themselves."""
_SIZES = ((1e9, "digital-gigabyte"), (1e6, "digital-megabyte"), (1e3, "digital-kilobyte"))
_THREE_DIGITS = 100
_LONGEST = 500
"""Characters of a text that is compared with those that have values."""
_VALUE = re.compile(r"%\\\((\w+)\\\)s")
"""A value in the escaped text."""


class Translator:
    """The texts of one language, such as `de` or `fr-CA`; what no catalogue has is in English."""

    def __init__(self, language: str, folder: Path | None = None) -> None:
        self.language = language
        self.locale = Locale.parse(language.replace("-", "_"))
        self._folders = [each for each in (folder, FOLDER) if each is not None]

    def __call__(self, text: str, **values: object) -> str:
        """Return the text, with the values where it says `%(name)s`."""
        said = self._texts.gettext(text) if text else ""
        return said % values if values else said

    def several(self, one: str, many: str, count: int, **values: object) -> str:
        """Return the form for the count, which is `%(count)s` in the text."""
        return self.ngettext(one, many, count) % {"count": self.number(count), **values}

    def ngettext(self, one: str, many: str, count: int) -> str:
        """Return the form for the count, as it is in the catalogue."""
        return str(self._texts.ngettext(one, many, count))

    def translated(self, text: str) -> str:
        """Return a text that was made elsewhere: as it is in the catalogue, also with values, else as it is."""
        said = self(text)
        if said != text or len(text) > _LONGEST:
            return said
        for pattern, answer in self._answers:
            if found := pattern.fullmatch(text):
                return answer % found.groupdict()
        return text

    def known(self, text: str) -> bool:
        """Return whether `translated` is in this language, or the language is that of messages."""
        return self.locale.language == SOURCE or self.translated(text) != text

    @property
    def found(self) -> bool:
        """Whether there are texts: a catalogue, or the language is that of messages."""
        return self.locale.language == SOURCE or bool(self._paths(MESSAGES))

    def number(self, value: float | str, digits: int | None = None) -> str:
        """Return a number, with exactly so many digits after the point; what a provider gives as text stays."""
        if isinstance(value, str):
            return value
        pattern = None if digits is None else f"#,##0.{'0' * digits}".rstrip(".")
        return str(format_decimal(value, format=pattern, locale=self.locale))

    def size(self, count: int) -> str:
        """Return a number of bytes as people read it: `167 kB`, `1.2 MB`."""
        for unit, name in _SIZES:
            if count >= unit:
                value = count / unit
                pattern = "#,##0" if name.endswith("kilobyte") or value >= _THREE_DIGITS else "#,##0.0"
                return str(format_unit(value, name, length="short", format=pattern, locale=self.locale))
        return str(format_unit(count, "digital-byte", length="long", locale=self.locale))

    def day(self, moment: datetime | str) -> str:
        """Return a day of UTC, with its year where that is another than now: `29 December`."""
        when = _instant(moment)
        if when.year != datetime.now(UTC).year:
            return str(format_date(when, "long", locale=self.locale))
        return str(format_skeleton("MMMMd", when, tzinfo=UTC, locale=self.locale))

    def time(self, moment: datetime | str) -> str:
        """Return day and time, with the zone."""
        return str(format_datetime(_instant(moment), "long", tzinfo=UTC, locale=self.locale))

    @cached_property
    def of_scripts(self) -> Mapping[str, str]:
        """What scripts say, by message, as far as it differs from the message; classes of land cover too."""
        catalogues = [_read(path) for path in reversed(self._paths(SCRIPTS))]
        said = {key: text for each in catalogues for key, text in _texts_of(each) if key and text}
        return {key: text for key, text in {**self._classes, **said}.items() if key != text}

    @cached_property
    def _answers(self) -> Sequence[tuple[re.Pattern[str], str]]:
        """The texts with values, by what they look like in English."""
        catalogues = [_read(path) for path in reversed(self._paths(ANSWERS))]
        said = {key: text for each in catalogues for key, text in _texts_of(each) if key and text}
        return [(re.compile(_VALUE.sub(r"(?P<\1>.+)", re.escape(key)), re.DOTALL), text) for key, text in said.items()]

    @property
    def _classes(self) -> Mapping[str, str]:
        return {each.name: self(each.name) for each in CLASSES}

    @cached_property
    def _texts(self) -> NullTranslations:
        found: Sequence[NullTranslations] = [_read(path) for path in self._paths(MESSAGES)]
        for preferred, other in pairwise(found):
            preferred.add_fallback(other)
        return found[0] if found else NullTranslations()

    def _paths(self, domain: str) -> list[Path]:
        """Return the catalogues, the preferred first: the operator's before ours, with the territory before without."""
        names = dict.fromkeys((str(self.locale), self.locale.language))
        return [
            path
            for folder in self._folders
            for name in names
            for path in (folder / name / "LC_MESSAGES" / f"{domain}.po", folder / name / "LC_MESSAGES" / f"{domain}.mo")
            if path.is_file()
        ]


def names_of(languages: Sequence[str]) -> Mapping[str, str]:
    """Return what each language calls itself; with its territory where several are of one language."""
    locales = {each: Locale.parse(each.replace("-", "_")) for each in languages}
    alike = [locale.language for locale in locales.values()]
    return {
        each: _capitalized(
            (locale.get_display_name() if alike.count(locale.language) > 1 else locale.get_language_name()) or each
        )
        for each, locale in locales.items()
    }


def noted(text: str) -> str:
    """Return the text, which a page translates later; one with values (`%(name)s`) is in the catalogue of answers."""
    return text


def _capitalized(name: str) -> str:
    return name[:1].upper() + name[1:]


def _read(path: Path) -> Translations:
    """Return a catalogue; a `.po` is compiled here."""
    if path.suffix == ".mo":
        with path.open("rb") as file:
            return Translations(file)
    compiled = BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file))
    compiled.seek(0)
    return Translations(compiled)


def wrong_catalogues(folder: Path) -> Iterator[str]:
    """Yield why a catalogue in the folder cannot be used: it is malformed, or has a value that its message lacks."""
    for path in sorted([*folder.glob("*/LC_MESSAGES/*.po"), *folder.glob("*/LC_MESSAGES/*.mo")]):
        name = path.relative_to(folder)
        try:
            texts = dict(_read(path)._catalog)  # noqa: SLF001 - gettext has no other way to list them
        except (OSError, ValueError, UnicodeError, PoFileError) as error:
            yield f"{name}: cannot be read: {error}"
            continue
        for key, text in texts.items():
            message = key if isinstance(key, str) else key[0]
            if message and (strange := _values(text) - _values(message) - {"count"}):
                yield f"{name}: {message!r} has no value {', '.join(sorted(strange))}"


def _values(text: str) -> set[str]:
    """Return what stands for values; a percent sign that is none is named, too."""
    return {found[1] or found[0] for found in _PLACE.finditer(text) if found[0] != "%%"}


_PLACE = re.compile(r"%%|%\((\w+)\)s|%.?", re.DOTALL)


def _texts_of(catalogue: Any) -> Iterator[tuple[str, str]]:
    """Yield the messages with one form and their translations."""
    yield from ((key, text) for key, text in catalogue._catalog.items() if isinstance(key, str))  # noqa: SLF001 - gettext has no other way to list them


def _instant(moment: datetime | str) -> datetime:
    return datetime.fromisoformat(moment) if isinstance(moment, str) else moment
