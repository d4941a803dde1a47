"""Run the named measurements, or all, such as `python -m bench startup keys`; NAMES lists them."""

import importlib
import sys

NAMES = (
    "startup", "sample", "orders", "warm", "nations", "space", "estimate", "statistics", "tokens", "keys", "guard",
    "faults_access", "faults_orders", "airflow", "database", "jobs", "balance", "collections", "walks",
    "memory", "postgis", "odd_areas", "areas", "items", "dense", "clip", "tiles", "vector_tiles", "coverages", "europe",
)  # fmt: skip


def main(names: list[str]) -> None:
    unknown = set(names) - set(NAMES)
    if unknown:
        sys.exit(f"no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    for name in names or NAMES:
        print(f"== {name}")
        importlib.import_module(f"bench.{name}").measure()


main(sys.argv[1:])
