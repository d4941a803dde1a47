"""`python -m processes CONFIGURATION`: print the rows of the registry as the last line, a JSON array."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from orchestration.registry import encode_row
from processes.loading import load_processes
from products.catalogue import read_configuration


def main(configuration: Path) -> None:
    """Load the plugins, which may print what they like, and print the rows."""
    with redirect_stdout(sys.stderr):
        rows = [encode_row(row) for row in load_processes(read_configuration(configuration)["resources"]).registry]
    sys.stdout.write(f"\n{json.dumps(rows)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
