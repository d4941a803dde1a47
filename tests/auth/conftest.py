from collections.abc import Iterator

import pytest

from tests.auth.issuers import FakeIssuer


@pytest.fixture
def issuer() -> Iterator[FakeIssuer]:
    made = FakeIssuer()
    yield made
    made.close()
