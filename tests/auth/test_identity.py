import dataclasses

import pytest

from auth.identity import ANONYMOUS, LOCAL, Identity, current_identity


def test_an_identity_is_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ANONYMOUS.roles = frozenset({"admin"})  # type: ignore[misc] # that it cannot be done is the test


def test_an_identity_has_no_rights_by_default() -> None:
    nobody = Identity("https://sso.example.org/realms/land|1")
    assert nobody.method == "anonymous"
    assert not nobody.scopes | nobody.roles | nobody.groups


def test_anonymous_and_local_callers_have_different_owners() -> None:
    assert ANONYMOUS.owner != LOCAL.owner
    assert (ANONYMOUS.method, LOCAL.method) == ("anonymous", "local")


def test_an_unset_identity_is_an_error_and_never_anonymous() -> None:
    with pytest.raises(LookupError):
        current_identity.get()
