"""Values from variables, files and credentials of systemd; test_secrets_vault.py tests those from Vault."""

import os
from pathlib import Path

import pytest

from server.database import postgres_of
from server.environment import WrongSettings, read_settings

KEY = "a-key-that-signs-links-0123456789abcdef"
INI = """# of the old system
[postgresql]
host = db.example.org
database=land cover
user: me
password = p%a#s;s=w:ö@/
port=6432
"""
URL = "postgresql://me:p%25a%23s%3Bs%3Dw%3A%C3%B6%40%2F@db.example.org:6432/land%20cover"


def problems() -> list[str]:
    with pytest.raises(WrongSettings) as caught:
        read_settings()
    assert "secret" not in str(caught.value)
    return caught.value.problems


def key() -> str | None:
    found = read_settings().results.key
    return found.get_secret_value() if found else None


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_trailing_line_ends_of_a_file_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: str) -> None:
    (tmp_path / "a key").write_text(f" {KEY} {end}", newline="")
    monkeypatch.setenv("LANDCAST_RESULTS_KEY_FILE", str(tmp_path / "a key"))
    assert key() == f" {KEY} "
    assert KEY not in str(os.environ)


def test_any_setting_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "SERVER_PROXIES": "10.0.0.0/8, 127.0.0.1",
        "JOBS_FETCH_PRIVATE": "yes",
        "LOG_LEVEL": "ERROR",
    }.items():
        (tmp_path / name).write_text(value)
        monkeypatch.setenv(f"LANDCAST_{name}_FILE", str(tmp_path / name))
    settings = read_settings()
    assert len(settings.server.proxies) == 2
    assert settings.jobs.fetch_private
    assert settings.log.level == "ERROR"


def test_a_credential_of_systemd_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "of-another-program").write_text("x")
    assert key() is None
    (tmp_path / "LANDCAST_RESULTS_KEY").write_text(KEY)
    assert key() == KEY
    (tmp_path / "LANDCAST_RESULT_KEY").write_text(KEY)
    assert problems() == [f"{tmp_path}/LANDCAST_RESULT_KEY: no such setting; `landcast serve --help` lists them"]


def test_a_setting_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "LANDCAST_RESULTS_KEY").write_text(KEY)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("LANDCAST_RESULTS_KEY", KEY)
    monkeypatch.setenv("LANDCAST_RESULTS_KEY_FILE", str(tmp_path / "LANDCAST_RESULTS_KEY"))
    (problem,) = problems()
    assert problem == (
        "LANDCAST_RESULTS_KEY: given more than once, by LANDCAST_RESULTS_KEY and LANDCAST_RESULTS_KEY_FILE and "
        f"{tmp_path}/LANDCAST_RESULTS_KEY; keep one of them"
    )


def test_unusable_files_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd = {
        "missing": ("no such file", None),
        "a folder": ("is no file", None),
        "a pipe": ("is no file", None),
        "empty": ("must hold one value", b""),
        "blank": ("must hold one value", b" \n\n"),
        "nul": ("must hold one value", b"secret\0secret"),
        "binary": ("is not UTF-8 text", b"secret\xff\xfe"),
        "endless": ("must hold one value", b"s" * 10_000_000),
        "short": ("at least 32", b"secret"),
    }
    (tmp_path / "a folder").mkdir()
    os.mkfifo(tmp_path / "a pipe")
    for name, (said, content) in odd.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        monkeypatch.setenv("LANDCAST_RESULTS_KEY_FILE", str(tmp_path / name))
        (problem,) = problems()
        assert problem.startswith("LANDCAST_RESULTS_KEY"), name
        assert said in problem, name


def test_a_file_variable_without_a_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCAST_RESULT_KEY_FILE", "/nothing")
    assert problems() == ["LANDCAST_RESULT_KEY_FILE: no such setting; `landcast serve --help` lists them"]


def test_an_ini_file_describes_the_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "database.ini"
    monkeypatch.setenv("LANDCAST_DATABASE_URL_FILE", str(path))
    path.write_text(INI)
    settings = read_settings()
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == URL
    pool = postgres_of(settings)
    assert pool is not None
    assert not isinstance(pool.url, str)
    assert pool.url() == URL
    assert "%C3%B6" not in repr(settings) + repr(pool)
    path.write_text("[database]\nhost=::1\ndbname=land\nusername=me\npassword=secret\n")
    settings = read_settings()
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == "postgresql://me:secret@[::1]:5432/land"
    path.write_text("postgresql://me:secret@h/d\n")
    assert read_settings().database.url is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[postgresql]\nhost=h\nuser=me\npassword=secret\n", "database: missing"),
        ("[postgresql]\nhost=h\ndatabase=d\nuser=me\n", "password: missing"),
        ("[postgresql]\nhost=\ndatabase=d\nuser=me\npassword=secret", "host: must be a text"),
        ("[postgresql]\nhost=h@x\ndatabase=d\nuser=me\npassword=secret", "host must be a name"),
        ("[postgresql]\nhost=h\ndatabase=d\nuser=me\nport=54a\npassword=secret", "port a number"),
        ("[a]\nhost=h\n[b]\nhost=secret\n", "must have one section"),
        ("[postgresql\nhost=secret\n", "is not an ini file"),
        ("[postgresql]\npassword=secret\npassword=secret\n", "is not an ini file"),
        ("[postgresql]\nsecret\n", "is not an ini file"),
        ("host=h\npassword=secret\n", "must be postgresql://"),
    ],
)
def test_an_invalid_ini_file_is_named_without_its_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "database.ini"
    monkeypatch.setenv("LANDCAST_DATABASE_URL_FILE", str(path))
    path.write_text(text)
    (problem,) = problems()
    assert said in problem
