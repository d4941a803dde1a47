"""A real Prometheus, and its exporters: started on free ports, ended by their process."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.ports import free_port

_SECONDS = 60


class Prometheus:
    """A running server at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, query: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each series of an instant query."""
        found = self.get("query", query=query, **({} if at is None else {"time": at}))
        assert found["resultType"] == "vector", query
        return [(dict(each["metric"]), float(each["value"][1])) for each in found["result"]]

    def names(self) -> set[str]:
        """Return the names of all metrics."""
        return set(self.get("label/__name__/values"))

    def get(self, path: str, **parameters: object) -> Any:
        """Return the data of an answer of its API."""
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=30) as answer:  # noqa: S310  http
            return json.load(answer)["data"]


@contextmanager
def start_prometheus(folder: Path, jobs: str = "[]") -> Iterator[Prometheus]:
    """Start it on the data in `folder`; `jobs` are its scrape configurations as YAML."""
    port = free_port()
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs: {jobs}\n"
    )
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    options += [f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y"]
    url = f"http://127.0.0.1:{port}"
    with started(["prometheus", *options], f"{url}/-/ready", folder / "prometheus.log"):
        yield Prometheus(url)


@contextmanager
def started(command: list[str], ready: str, log: Path) -> Iterator[None]:
    """Run a program until the context ends, once the address `ready` answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        until = time.monotonic() + _SECONDS
        while not _answers(ready):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(_SECONDS)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2):  # noqa: S310  http
            return True
    except (URLError, OSError):
        return False


def write_blocks(folder: Path, series: Mapping[str, Mapping[int, float]]) -> None:
    """Write samples by series and time into the data of a Prometheus that does not run."""
    by_metric: dict[str, list[str]] = {}
    for name, samples in series.items():
        lines = by_metric.setdefault(name.partition("{")[0], [])
        lines += [f"{name} {value!r} {at}" for at, value in samples.items()]
    text = "".join(f"# TYPE {metric} unknown\n" + "\n".join(lines) + "\n" for metric, lines in by_metric.items())
    (folder / "samples").write_text(f"{text}# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "samples"), str(folder / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
