"""The documentation shows the existing tables."""

import re
from contextlib import closing
from pathlib import Path

from sql.diagram import diagram
from sql.migrate import migrate
from sql.postgres import PostgresConnection
from tests.postgres import Postgres


def test_the_documented_diagram_is_that_of_the_live_schema(postgres: Postgres) -> None:
    url = postgres.empty()
    migrate(url)
    (documented,) = re.findall(r"```mermaid\n(.*?)\n```", Path("docs/database.md").read_text(), re.DOTALL)
    with closing(PostgresConnection(url)) as connection:
        assert diagram(connection) == documented
