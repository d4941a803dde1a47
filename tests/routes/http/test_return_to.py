"""The target of a redirect after login; without a path prefix, a leading slash alone does not make it ours."""

import pytest

from routes.http.return_to import is_ours

URL = "https://maps.example.org"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/jobs",
        "/jobs?limit=3&datetime=2024-01-01/..",
        "/collections/a.b/items#x",
        "/auth/account?f=html",
        "/authors",
    ],
)
def test_a_path_of_this_server_is_accepted(path: str) -> None:
    assert is_ours(path, URL)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "jobs",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "/jobs\\..\\x",
        "/\t/evil.example",
        "/ /evil.example",
        "/a/../b",
        "/%2E%2e/b",
        "/jobs\n",
        "/jobs\x7f",
        "/é",
        '/"><script>',
        "https://maps.example.org/jobs",
        "//maps.example.org/jobs",
        "@evil.example/",
        ".evil.example/",
        "/auth",
        "/auth/login",
        "/auth/account/x",
        "/%61uth/login",
    ],
)
def test_another_address_is_refused(path: str) -> None:
    assert not is_ours(path, URL)
