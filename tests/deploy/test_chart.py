"""The Helm chart: linted and rendered by Helm 4's library, and validated with the schemas of Kubernetes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.environment import variables
from tests.airflow import CELERY, read_environment
from tests.deploy.test_containers import TOOLS

pytestmark = pytest.mark.full
CHART = Path("deploy/chart")
ALL: dict[str, Any] = {"metrics": {"serviceMonitor": True}}
LEAST: dict[str, Any] = {
    "url": "https://maps.example.org/land/",
    "autoscaling": {"enabled": False},
    "ingress": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "state": {"existingClaim": "mine"},
    "imagePullSecrets": [{"name": "pull"}],
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "land", "operator": "Exists"}],
}


def helm(values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [TOOLS / "python", "tests/deploy/render_chart.py", CHART, json.dumps(values)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rendered(values: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Return the rendered objects by kind and name."""
    done = helm(values)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["version"].startswith("v4.")
    assert document["lint"]["errors"] == []
    made = [each for text in document["files"].values() for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in made}


@pytest.fixture(scope="module")
def made() -> dict[tuple[str, str], Any]:
    return rendered(ALL)


@pytest.mark.parametrize("values", [ALL, LEAST], ids=["all", "least"])
def test_the_chart_renders_valid_kubernetes_objects(values: dict[str, Any], tmp_path: Path) -> None:
    ours = {key: each for key, each in rendered(values).items() if key[0] != "ServiceMonitor"}
    files = []
    for number, each in enumerate(ours.values()):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(yaml.safe_dump(each))
    command: list[str | Path] = [TOOLS / "kubernetes-validate", "--strict", "--kubernetes-version", "1.37", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_chart_supports_several_machines(made: dict[tuple[str, str], Any]) -> None:
    assert {kind for kind, _ in made} == {
        *("Deployment", "Job", "Service", "ServiceAccount", "Ingress", "PodDisruptionBudget"),
        *("HorizontalPodAutoscaler", "NetworkPolicy", "PersistentVolumeClaim", "ServiceMonitor"),
    }
    least = rendered(LEAST)
    assert {kind for kind, _ in least} == {"Deployment", "Job", "Service", "ServiceAccount", "PodDisruptionBudget"}
    assert least["Deployment", "maps"]["spec"]["replicas"] == 2
    claims = [volume.get("persistentVolumeClaim") for volume in pod(least, "Deployment", "maps")["volumes"]]
    assert {"claimName": "mine"} in claims


def pod(made: dict[tuple[str, str], Any], kind: str, name: str) -> dict[str, Any]:
    return dict(made[kind, name]["spec"]["template"]["spec"])


@pytest.mark.parametrize(("kind", "name"), [("Deployment", "maps"), ("Job", "maps-migrate")])
def test_a_pod_is_confined_and_its_settings_exist(made: dict[tuple[str, str], Any], kind: str, name: str) -> None:
    spec = pod(made, kind, name)
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {each["name"] for each in container["env"]} <= variables().keys()
    assert container["envFrom"] == [{"secretRef": {"name": "landcast"}}]
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_the_database_is_migrated_before_the_pods_are_replaced(made: dict[tuple[str, str], Any]) -> None:
    job = made["Job", "maps-migrate"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = pod(made, "Job", "maps-migrate")
    assert spec["containers"][0]["args"] == ["migrate"]
    assert spec["serviceAccountName"] == "default", "a hook runs before the chart's own account is made"
    assert not any("persistentVolumeClaim" in volume for volume in spec["volumes"]), "nor is its claim there"
    selector = made["Deployment", "maps"]["spec"]["selector"]["matchLabels"].items()
    assert not selector <= job["spec"]["template"]["metadata"]["labels"].items(), "no request goes to it"


def test_the_probes_and_the_ingress_use_existing_addresses() -> None:
    (container,) = pod(rendered(ALL), "Deployment", "maps")["containers"]
    asked = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert asked == {"/health/live", "/health/ready"}
    for url, path in (("https://a.example.org/land/", "/land"), ("https://a.example.org", "/")):
        (rule,) = rendered({"url": url})["Ingress", "maps"]["spec"]["rules"]
        assert (rule["host"], rule["http"]["paths"][0]["path"]) == ("a.example.org", path)


@pytest.mark.parametrize(
    "wrong",
    [{"url": "maps.example.org"}, {"settings": {"LANDCAST_X": 1}}, {"settings": {"path": "x"}}, {"replicas": 0}],
)
def test_invalid_values_are_refused(wrong: dict[str, Any]) -> None:
    done = helm(wrong)
    found = json.loads(done.stdout)["lint"]["errors"] if done.returncode == 0 else [done.stderr]
    assert found, "neither the linter nor the rendering refuses it"


def test_the_values_of_airflows_chart_have_the_usual_limits_and_queues() -> None:
    given, ours = yaml.safe_load((CHART / "airflow-values.yaml").read_text()), read_environment(CELERY)
    assert given["workers"]["queue"] == ours["LANDCAST_AIRFLOW_QUEUES"]
    sections = ("core", "celery", "scheduler")
    settings = {
        f"AIRFLOW__{name}__{key}".upper(): str(v) for name in sections for key, v in given["config"][name].items()
    }
    shared = settings.keys() & ours.keys()
    assert {name: settings[name] for name in shared} == {name: ours[name] for name in shared}
    assert len(shared) >= 7
