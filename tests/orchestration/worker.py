"""Run the worker with the settings of the command line, as `landcast work` does with those of the environment."""

import json
import logging
import sys
from pathlib import Path

from orchestration.service import run_work

if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    settings = json.loads(sys.argv[1])
    run_work(state_dir=Path(settings.pop("state_dir")), config=Path(settings.pop("config")), **settings)
