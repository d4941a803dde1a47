"""The sources of settings: environment variables, files, systemd's credentials, Vault."""

import configparser
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from orchestration.environment import is_airflows

PREFIX = "LANDCAST_"
DATABASE, ISSUER = "LANDCAST_DATABASE_URL", "LANDCAST_AUTH_ISSUER"
"""The settings that can be made from a whole secret."""
_FILE = "_FILE"
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""systemd's variable for the folder of a unit's credentials (LoadCredential=, systemd.exec(5))."""
_LONGEST = 65_536
_REFERENCE = re.compile(r"vault:([\w~-][\w.~-]*(?:/[\w~-][\w.~-]*)*)(?:#(\S+))?", re.ASCII)
_PORT = 5432
_INI = re.compile(r"\s*(?:[#;].*\s+)*\[")
_NAMES = {"dbname": "database", "username": "user"}


class WrongValue(ValueError):
    """A value cannot be read or used; the message has the reason, but not the value."""


@dataclass(frozen=True, slots=True)
class Given:
    """The values of settings by variable; `hidden` are those that no environment variable contains."""

    values: dict[str, str] = field(default_factory=dict, repr=False)
    hidden: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def references(self) -> dict[str, str]:
        """Return the values that are in Vault, as `vault:path#key`, by variable."""
        return {name: value for name, value in self.values.items() if value.startswith("vault:")}


def gather(environment: Mapping[str, str], known: Iterable[str]) -> Given:
    """Return the values of variables, their `…_FILE` and systemd's credentials, without a request to Vault."""
    given, known = Given(), frozenset(known)
    folder = environment.get(_CREDENTIALS)
    given.problems.extend(_unknown(environment, folder, known))
    for name in sorted(known):
        sources = dict(_sources(environment, folder, name))
        if len(sources) > 1:
            given.problems.append(f"{name}: given more than once, by {' and '.join(sources)}; keep one of them")
        for said, read in list(sources.items())[:1]:
            try:
                value = read()
            except WrongValue as wrong:
                given.problems.append(f"{said}: {wrong}")
            else:
                given.values[name] = value
                given.hidden.update({name} - {said})
    return given


def _unknown(environment: Mapping[str, str], folder: str | None, known: frozenset[str]) -> Iterator[str]:
    for name in sorted(environment):
        if name.startswith(PREFIX) and not {name, name.removesuffix(_FILE)} & known and not is_airflows(name):
            yield f"{name}: no such setting; `landcast serve --help` lists them"
    for path in sorted(Path(folder).glob(f"{PREFIX}*")) if folder else ():
        if path.name not in known:
            yield f"{path}: no such setting; `landcast serve --help` lists them"


def _sources(environment: Mapping[str, str], folder: str | None, name: str) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield the sources of a variable, each with a function that reads it."""
    if value := environment.get(name):
        yield name, lambda: value
    if path := environment.get(name + _FILE):
        yield name + _FILE, lambda: _of_file(name, Path(path))
    if folder and (credential := Path(folder, name)).exists():
        yield str(credential), lambda: _of_file(name, credential)


def _of_file(name: str, path: Path) -> str:
    """Return the content of a file without line ends after it; that of the database may be an ini file."""
    try:
        if not path.is_file():
            raise WrongValue(f"{path}: is no file" if path.exists() else f"{path}: no such file")
        with path.open("rb") as file:
            text = file.read(_LONGEST + 1).decode().rstrip("\r\n")
    except OSError as error:
        raise WrongValue(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise WrongValue(f"{path}: is not UTF-8 text") from None
    if not text.strip() or len(text) >= _LONGEST or "\0" in text:
        raise WrongValue(f"{path}: must hold one value of at most {_LONGEST - 1} characters, without NUL")
    return _of_ini(text, path) if name == DATABASE and _INI.match(text) else text


def _of_ini(text: str, path: Path) -> str:
    """Return the address of a database that an ini file describes: host, port, database, user, password."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except configparser.Error:
        raise WrongValue(f"{path}: is not an ini file") from None
    if len(parser.sections()) != 1:
        raise WrongValue(f"{path}: must have one section, such as [postgresql]")
    try:
        return database_url(parser[parser.sections()[0]])
    except WrongValue as wrong:
        raise WrongValue(f"{path}: {wrong}") from None


def resolve(given: Given, read: Callable[[str], Mapping[str, Any]]) -> frozenset[str]:
    """Replace references to Vault by their values; `read` is called once a path; return the variables that failed.

    A WrongValue is added to the problems; other errors of `read` are raised.
    """
    failed, found = set(), {}
    known: dict[str, Mapping[str, Any] | WrongValue] = {}
    for name, value in given.references().items():
        try:
            found[name] = _resolved(name, value, read, known)
        except WrongValue as wrong:
            failed.add(name)
            given.problems.append(f"{name}: {wrong}")
        given.hidden.add(name)
    given.values.update(found)
    return frozenset(failed)


def _resolved(
    name: str,
    value: str,
    read: Callable[[str], Mapping[str, Any]],
    known: dict[str, Mapping[str, Any] | WrongValue],
) -> str:
    found = _REFERENCE.fullmatch(value)
    if found is None:
        raise WrongValue("must be vault:path#key, the path without the mount, of letters, digits and ._~-/")
    path, key = found[1], found[2]
    if path not in known:
        try:
            known[path] = read(path)
        except WrongValue as wrong:
            known[path] = wrong
    values = known[path]
    if isinstance(values, WrongValue):
        raise WrongValue(str(values))
    if key is not None:
        return text_of(values, key)
    if name not in _WHOLE:
        raise WrongValue(f"must name a key, vault:{path}#key; only {' and '.join(_WHOLE)} are made of a whole secret")
    return _WHOLE[name](values)


def text_of(values: Mapping[str, Any], key: str) -> str:
    """Return the text of a key. Raises WrongValue."""
    match values.get(key):
        case bool():
            raise WrongValue(f"{key}: must be a text or a number")
        case str(text) if text.strip() and "\0" not in text:
            return text
        case int(number):
            return str(number)
        case None:
            raise WrongValue(f"{key}: missing")
        case _:
            raise WrongValue(f"{key}: must be a text that is not empty, or a number")


def database_url(values: Mapping[str, Any]) -> str:
    """Return the address made of host, port, database, user, password. Raises WrongValue."""
    parts = {_NAMES.get(name, name): value for name, value in values.items()}
    host, database = text_of(parts, "host"), text_of(parts, "database")
    if ":" in host:
        host = f"[{host.strip('[]')}]"
    port = text_of(parts, "port") if "port" in parts else str(_PORT)
    if not re.fullmatch(r"\d{1,5}", port) or re.search(r"[\s/@?#]", host):
        raise WrongValue("host must be a name or an address, port a number")
    plain = f"postgresql://{host}:{port}/{quote(database, safe='')}"
    return merged(plain, parts) if "user" in parts else plain


def merged(url: str, credentials: Mapping[str, Any]) -> str:
    """Return the address with another user and password."""
    parts = urlsplit(url)
    names = {_NAMES.get(name, name): value for name, value in credentials.items()}
    user, password = (quote(text_of(names, name), safe="") for name in ("user", "password"))
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{place}"))


def _issuer(values: Mapping[str, Any]) -> str:
    """Return the issuer made of keycloak_url and realm."""
    return f"{text_of(values, 'keycloak_url').rstrip('/')}/realms/{quote(text_of(values, 'realm'), safe='')}"


_WHOLE: Mapping[str, Callable[[Mapping[str, Any]], str]] = {DATABASE: database_url, ISSUER: _issuer}
