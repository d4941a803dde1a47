import dataclasses

import pytest

from auth.identity import ANONYMOUS, LOCAL, Identity, current_identity


def test_an_identity_is_not_changed_by_whom_it_is_handed_to() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ANONYMOUS.roles = frozenset({"admin"})  # type: ignore[misc] # that it cannot be done is the test


def test_an_identity_has_no_right_and_is_not_known_until_it_is_said() -> None:
    nobody = Identity("https://sso.example.org/realms/land|1")
    assert nobody.method == "anonymous"
    assert not nobody.scopes | nobody.roles | nobody.groups


def test_no_caller_is_taken_for_another() -> None:
    assert ANONYMOUS.owner != LOCAL.owner
    assert (ANONYMOUS.method, LOCAL.method) == ("anonymous", "local")


def test_read_unset_it_is_an_error_never_anonymous() -> None:
    with pytest.raises(LookupError):
        current_identity.get()
