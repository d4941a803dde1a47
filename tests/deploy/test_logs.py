"""The configurations that ship logs to Loki have the documented labels."""

import re
from pathlib import Path

import yaml

LABELS = {"project", "host", "queue", "image", "container", "stream"}


def test_promtail_has_all_labels() -> None:
    document = yaml.safe_load(Path("deploy/logs/promtail.yml").read_text())
    found = set(document["clients"][0]["external_labels"])
    for scrape in document["scrape_configs"]:
        found |= {rule["target_label"] for rule in scrape["relabel_configs"] if "target_label" in rule}
    assert found == LABELS


def test_alloy_has_all_labels_and_refers_to_what_it_has() -> None:
    text = Path("deploy/logs/alloy.alloy").read_text()
    labels = set(re.findall(r'target_label\s*=\s*"(\w+)"', text))
    labels |= set(re.findall(r"^    (\w+)\s*=.*,$", text, re.MULTILINE))
    assert labels == LABELS
    assert text.count("{") == text.count("}")
    blocks = {".".join(found) for found in re.findall(r'^([\w.]+) "(\w+)" \{', text, re.MULTILINE)}
    used = re.findall(r"= \[?((?:loki|discovery)\.[\w.]+)\.(?:receiver|rules|targets|output)", text)
    assert used
    assert set(used) <= blocks
