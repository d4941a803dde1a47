"""YAML as people and their editors write it: read exactly, or refused with position and reason."""

import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from products.yaml_file import UnreadableYaml, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(9)
)


def read(folder: Path, content: bytes | str, *, variables: bool = False) -> object:
    path = folder / "file.yml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_yaml(path, variables=variables)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("a: 1\nb: 2\na: 3", "line 3, column 1: 'a' is repeated"),
        ("a: {b: 1, 'b': 2}", "line 1, column 11: 'b' is repeated"),
        ("a:\n\t- b", "line 2, column 1: .*tabs"),
        ("no: 1", "line 1, column 1: the key 'no' must be text: quote it"),
        ("a: {2023: 1}", "the key '2023' must be text"),
        ("a: {null: 1}", "the key 'null' must be text"),
        ("? [a, b]\n: 1", "the key must be text"),
        ("? {a: b}\n: 1", "the key must be text"),
        ("a: 2023-02-30", "line 1, column 4: '2023-02-30' is no timestamp: day"),
        (f"a: {'9' * 5000}", "is no int"),
        ("a: !!int abc", "'abc' is no int"),
        ("a: !include b.yml", "line 1, column 4: could not determine a constructor for the tag '!include'"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: !!binary 'a'", "line 1, column 4: failed to decode base64"),
        ("a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
        ("a: *b", "line 1, column 4: found undefined alias 'b'"),
        ("a: &b [*b]", "an alias names the value that contains it"),
        ("a: &b {<<: *b}", "an alias names the value that contains it"),
        (BOMB, "has aliases that make it more than 1,000,000 values"),
        ("[" * 1000, "is nested too deeply"),
        ("a: [1, 2", "line 1, column 9: "),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("a: 1\nb: \0", "line 2: the character U\\+0000 is not allowed"),
        (b"a: 1\nb: caf\xe9", "line 2: byte 0xe9 is not UTF-8"),
        ("a: 1".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
        (b"II*\0\x08\0\0\0\xff\xd8", "line 1: byte 0xff is not UTF-8"),
        (b"x" * 10_000_001, "is longer than 10,000,000 bytes"),
    ],
)
def test_a_refused_file_has_a_message_with_place_and_reason(tmp_path: Path, content: bytes | str, said: str) -> None:
    with pytest.raises(UnreadableYaml, match=said) as refused:
        read(tmp_path, content)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"\xef\xbb\xbfa: b\r\n", {"a": "b"}),
        ("a: {b: 1}\nc: {<<: {b: 2}, b: 3}", {"a": {"b": 1}, "c": {"b": 3}}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("a: 2023-01-01\nb: 2023-01-01T00:00:00Z", {"a": date(2023, 1, 1), "b": datetime(2023, 1, 1, tzinfo=UTC)}),
        ("a: no\nb: 'no'", {"a": False, "b": "no"}),
        ("'no': 1", {"no": 1}),
        ("a: ${X}", {"a": "${X}"}),
    ],
)
def test_values_are_read_unchanged(tmp_path: Path, content: bytes | str, value: object) -> None:
    assert read(tmp_path, content) == value


def test_variables_become_values_and_never_structure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "5000")
    monkeypatch.setenv("ODD", "a #b: [c\n- d")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("NOWHERE", raising=False)
    text = (
        "# ${NOWHERE} in a comment\na: ${PORT}\nb: '${PORT}'\nc: x${ODD}y\nd: ${NOWHERE:-1.5}\ne: ${NOWHERE:-}\n"
        "f: http://h:${PORT}/${NOWHERE:-p}\ng: ${EMPTY}\n${PORT:-x}k: 1"
    )
    assert read(tmp_path, text, variables=True) == {
        "a": 5000,
        "b": "5000",
        "c": "xa #b: [c\n- dy",
        "d": 1.5,
        "e": None,
        "f": "http://h:5000/p",
        "g": None,
        "5000k": 1,
    }


def test_all_unset_variables_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("LATIN", "caf\udce9")
    with pytest.raises(UnreadableYaml) as refused:
        read(tmp_path, "a: ${NOWHERE}\nb: ${LATIN}", variables=True)
    assert str(refused.value) == (
        "line 1: NOWHERE is not set in the environment; ${NOWHERE:-…} gives a default; "
        "line 2: LATIN of the environment is not UTF-8"
    )


def test_the_locale_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "file.yml").write_text("a: é", "utf-8")
    program = "from pathlib import Path; from products.yaml_file import read_yaml; print(ascii(read_yaml(Path('%s'))))"
    done = subprocess.run(
        [sys.executable, "-c", program % (tmp_path / "file.yml")],
        env={"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "{'a': '\\xe9'}"
