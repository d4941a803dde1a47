"""Run the worker with the settings of the command line, as `landcast work` does with those of the environment."""

import json
import logging
import sys
from pathlib import Path

from orchestration.service import Keeping, run_work

if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    settings = json.loads(sys.argv[1])
    keeping = Keeping(**{name: settings.pop(name) for name in ("results_days", "jobs_days", "results_cap")})
    state_dir, config = Path(settings.pop("state_dir")), Path(settings.pop("config"))
    run_work(state_dir=state_dir, config=config, keeping=keeping, **settings)
