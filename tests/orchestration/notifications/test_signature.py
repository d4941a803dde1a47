"""Verified signatures: by the right key, of this message, and recent."""

import pytest

from orchestration.notifications.signature import NotSigned, sign, verify

KEY, BODY, NOW = b"k" * 32, b'{"run": "x"}', 1_800_000_000


def test_a_signature_is_valid_for_five_minutes_before_and_after() -> None:
    for age in (-300, 0, 300):
        verify(KEY, sign(KEY, "id", NOW, BODY), BODY, NOW + age)
    for age in (-302, 302):
        with pytest.raises(NotSigned, match="webhook-timestamp"):
            verify(KEY, sign(KEY, "id", NOW, BODY), BODY, NOW + age)


def test_one_valid_signature_of_several_suffices() -> None:
    headers = sign(KEY, "id", NOW, BODY)
    both = f"v1,bm90IG91cnM= {headers['webhook-signature']}"
    verify(KEY, {**headers, "webhook-signature": both}, BODY, NOW)


@pytest.mark.parametrize(
    ("changed", "body"),
    [
        ({}, b'{"run": "y"}'),
        ({"webhook-id": "other"}, BODY),
        ({"webhook-timestamp": str(NOW + 1)}, BODY),
        ({"webhook-signature": "v1,"}, BODY),
        ({"webhook-signature": ""}, BODY),
        ({"webhook-signature": "v1,\udcff é"}, BODY),
        ({"webhook-timestamp": ""}, BODY),
        ({"webhook-timestamp": "nan"}, BODY),
        ({"webhook-timestamp": "9" * 400}, BODY),
        ({"webhook-timestamp": "١٨٠٠٠٠٠٠٠٠"}, BODY),
    ],
)
def test_changed_and_forged_signatures_are_refused(changed: dict[str, str], body: bytes) -> None:
    with pytest.raises(NotSigned):
        verify(KEY, {**sign(KEY, "id", NOW, BODY), **changed}, body, NOW)


def test_a_signature_with_another_key_is_refused() -> None:
    with pytest.raises(NotSigned, match="webhook-signature"):
        verify(b"o" * 32, sign(KEY, "id", NOW, BODY), BODY, NOW)
