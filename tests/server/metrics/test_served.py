"""The metrics of a running server: no counter decreases, also if processes are killed."""

import json
from contextlib import suppress
from pathlib import Path
from shutil import copytree

import httpx2
import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.ports import free_port
from tests.server.served import Served, end, eventually


def _value(bind: str, name: str, **labels: str) -> float | None:
    try:
        text = httpx2.get(f"http://{bind}/metrics", timeout=60).text
    except httpx2.TransportError:
        return None
    samples = (each for family in text_string_to_metric_families(text) for each in family.samples)
    return next((s.value for s in samples if s.name == name and labels.items() <= s.labels.items()), None)


def test_counters_outlive_killed_processes(sample: Path, tmp_path: Path) -> None:
    copytree(sample / "sample", tmp_path / "sample")
    bind = f"127.0.0.1:{free_port()}"
    served = Served(tmp_path, tmp_path / "log", LANDCAST_METRICS_BIND=bind, LANDCAST_SERVER_WORKERS="1")

    def asked() -> float:
        labels = {"route": "/collections/{collection_id}", "method": "GET", "status": "200"}
        return _value(bind, "landcast_http_requests_total", **labels) or 0

    try:
        served.ready()
        for _ in range(5):
            served.get("/collections/parks")
        eventually(lambda: asked() == 5)
        order = {"inputs": {"stringInput": "x"}}
        served.post("/processes/echo/execution", order, Prefer="respond-async")
        eventually(lambda: _value(bind, "landcast_orders", process="echo", caller="local") == 1)
        eventually(lambda: (_value(bind, "landcast_worker_heartbeat_age_seconds") or 99) < 60)
        for victim in served.tree()[1:]:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        eventually(lambda: served.answers("/collections/parks"), 120)
        eventually(lambda: asked() >= 6, 120)
        lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert any("metrics ended with" in line["message"] for line in lines)
    finally:
        end(served)
