"""The alert rules fire when they should and not before, and each has a runbook."""

import re
import subprocess
from pathlib import Path

import yaml

RULES = Path("deploy/prometheus/alerts.yml")


def test_promtool_confirms_when_each_alert_fires() -> None:
    command = ["promtool", "test", "rules", "tests/deploy/alerts_test.yml"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_runbook_a_test_and_existing_metrics() -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    runbooks = re.findall(r"^## (\w+)$", Path("docs/runbooks.md").read_text(), re.MULTILINE)
    assert [rule["alert"] for rule in rules] == runbooks
    tested = Path("tests/deploy/alerts_test.yml").read_text()
    source = Path("server/metrics/exposition.py").read_text()
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"
        assert f'alertname="{rule["alert"]}"' in tested
        for metric in re.findall(r"\blandcast_\w+", rule["expr"]):
            assert f'"{metric.removesuffix("_total")}"' in source, metric
