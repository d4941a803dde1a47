"""Run the worker with the settings of the command line, like `landcast work` with those of the environment."""

import json
import logging
import sys
from pathlib import Path

from orchestration.registry import Registry, decode_row
from orchestration.service import Capacity, Retention, run_work
from sql.pool import PostgresPool

if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    settings = json.loads(sys.argv[1])
    retention = Retention(**{name: settings.pop(name) for name in ("results_days", "jobs_days", "results_cap")})
    settings["capacity"] = Capacity(settings.pop("parallel"))
    state_dir, config = Path(settings.pop("state_dir")), Path(settings.pop("config"))
    rows = tuple(decode_row(each) for each in sys.argv[2:] if each != "--process")
    url = settings.pop("database", None)
    settings["database"] = PostgresPool(url) if url else None
    run_work(state_dir=state_dir, config=config, processes=Registry(rows), retention=retention, **settings)
