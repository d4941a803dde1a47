"""What works while a dependency is gone or refuses us, and that the manual's table of it names tests that exist."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

import pytest
from httpx2 import Response
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.auth.issuers import FakeIssuer
from tests.ports import free_port
from tests.postgres import Postgres, start_cluster
from tests.server.served import eventually

MakeApp = Callable[..., Starlette]

SECTION = "## When a dependency is away"
DEPENDENCIES = {"PostgreSQL", "Keycloak", "RabbitMQ", "Airflow", "Vault", "disk", "mail server", "trace collector"}
FAULTS = {"gone at start", "gone while running", "slow", "wrong credentials", "full"}


def test_the_table_of_dependencies_names_tests_that_exist() -> None:
    section = Path("docs/operation.md").read_text().partition(f"{SECTION}\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.count(" | ") == 3][1:]
    assert {row[0] for row in rows} == DEPENDENCIES
    assert {row[1] for row in rows} == FAULTS
    assert len({(row[0], row[1], row[3]) for row in rows}) == len(rows)
    for row in rows:
        names = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[3])
        assert names, row
        for path, name in names:
            assert f"def {name}(" in Path(path).read_text(), row


@pytest.mark.parametrize("fault", ["gone", "unknown user"])
def test_a_server_starts_without_postgresql_and_serves_collections(
    make_app: MakeApp, postgres: Postgres, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    url = postgres.migrated()
    place = url.rpartition("@")[2]
    database = place.partition("/")[2]
    wrong = {
        "gone": f"postgresql://landcast:its-secret@127.0.0.1:{free_port()}/{database}",
        "unknown user": f"postgresql://nobody:its-secret@{place}",
    }
    with TestClient(make_app(database={"url": wrong[fault]})) as client:
        for path in ("/collections", "/collections/parks/items?limit=1", "/processes", "/health/live"):
            assert client.get(path).status_code == 200, path
        answer = client.post("/processes/echo/execution", json={}, headers={"Prefer": "respond-async"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["orders"]) == (200, "down")
        assert "its-secret" not in answer.text + ready.text
    assert "its-secret" not in caplog.text
    postgres.give_back(url)


def test_orders_are_503_while_the_disk_of_postgresql_is_full_and_accepted_afterwards(make_app: MakeApp) -> None:
    with start_cluster(megabytes=120) as cluster:
        url = Postgres(cluster.url).migrated()
        admin = cluster.url.replace("//landcast:", "//postgres:")
        Postgres(admin).run(admin, "select pg_switch_wal()")  # a log of 16 MB, so that the tables alone need space
        with TestClient(make_app(database={"url": url})) as client:

            def order() -> Response:
                inputs = {"inputs": {"stringInput": token_hex(4000)}}
                return client.post("/processes/echo/execution", json=inputs, headers={"Prefer": "respond-async"})

            assert order().status_code == 201
            ballast = cluster.folder / "ballast"
            with ballast.open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)) == 4096:
                    pass
            eventually(lambda: order().status_code == 503)
            assert order().headers["retry-after"] == "5"
            assert client.get("/jobs?f=json").json()["jobs"], "they can be read"
            ballast.unlink()
            eventually(lambda: order().status_code == 201)


def test_a_server_starts_without_keycloak_and_refuses_tokens_alone(
    make_app: MakeApp, issuer: FakeIssuer, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yml"
    policy.write_text("grants: {all: {who: public, may: [read-items, discover], collections: parks}}")
    away = f"http://127.0.0.1:{free_port()}/realms/landcast"
    token = issuer.token(iss=away)
    with TestClient(make_app(auth={"open": False, "issuer": away, "policy": policy})) as client:
        assert client.get("/collections/parks/items?limit=1").status_code == 200
        assert client.get("/health/live").status_code == 200
        headers = {"Authorization": f"Bearer {token}"}
        answer = client.get("/collections/parks/items?limit=1", headers=headers)
        assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (503, True)
        assert client.get("/collections/parks/items?limit=1").status_code == 200
