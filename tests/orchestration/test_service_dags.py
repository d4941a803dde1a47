"""The DAGs of the production services, parsed and run by a real Airflow with stand-ins for the services."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from email import message_from_bytes
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest

from orchestration.ending import read_ending
from orchestration.handover import hand_order, status_of_tasks
from orchestration.job import Order, Output
from orchestration.runners import Done, Failed
from orchestration.runners.airflow import AirflowAccess
from orchestration.runners.airflow.client import Airflow as Client
from orchestration.runners.airflow.condition import examine
from orchestration.runners.airflow.health import AirflowHealth
from tests.airflow import HOME, Airflow
from tests.orchestration.played_services import Asked, PlayedServices, Reply
from tests.orchestration.receivers import Postman
from tests.registry import OURS, SERVICES

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
HOUR, MINUTE = 3600.0, 60.0
NAMES = ("calculate_feature_service", "apply_model_service", "sample_extraction_service")


@cache
def parsed() -> dict[str, Any]:
    """Return our DAGs as Airflow's Python parses them, with the pauses of production."""
    python = HOME / "bin" / "python"
    program = ROOT / "tests" / "orchestration" / "parse_dags.py"
    environment = {
        "PATH": f"{HOME}/bin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AIRFLOW_HOME": "/nonexistent",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nonexistent/none",
        "LANDCAST_AIRFLOW_PYTHON": "/usr/bin/python3",
    }
    done = subprocess.run(
        [python, program, ROOT / "orchestration" / "dags"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["errors"] == {}
    return dict(found["dags"])


# Of each: runs, tasks at once, retries, pause, queue; the limits of its tasks that ask a service.
LISTED: dict[str, tuple[int, int, int, float, str, dict[str, float]]] = {
    "apply-model": (
        22,
        20,
        10,
        MINUTE,
        "clc_prod_apply_model_queue",
        {
            "calculate_feature_service": 5 * HOUR,
            "apply_model_service": HOUR,
            "calculate_feature_service_without_cache": 5 * HOUR,
            "apply_model_service_without_cache": HOUR,
        },
    ),
    "apply-model-testing": (
        2,
        2,
        2,
        3 * MINUTE,
        "clc_test_apply_model_queue",
        {"calculate_feature_service": 2.5 * HOUR, "apply_model_service": 2.5 * HOUR},
    ),
    "prepare-samples": (
        12,
        10,
        6,
        2 * MINUTE,
        "clc_prod_prepare_samples_queue",
        {"prepare_samples_service": 2.5 * HOUR},
    ),
    "prepare-samples-testing": (
        10,
        10,
        6,
        2 * MINUTE,
        "clc_test_prepare_samples_queue",
        {"prepare_samples_service": 2.5 * HOUR},
    ),
    "sample-extraction": (
        10,
        8,
        6,
        2 * MINUTE,
        "clc_prod_sample_extract_queue",
        {"extract_sentinel_2": 2.5 * HOUR},
    ),
    "sample-extraction-testing": (
        10,
        10,
        2,
        MINUTE,
        "clc_test_sample_extract_queue",
        {"extract_sentinel_2": 2.5 * HOUR},
    ),
}


@pytest.mark.parametrize("name", LISTED)
def test_a_dag_has_the_documented_settings(name: str) -> None:
    dag = parsed()[name]
    runs, at_once, retries, pause, queue, limits = LISTED[name]
    assert (dag["runs"], dag["tasks_at_once"], dag["schedule"]) == (runs, at_once, "None")
    tasks = dag["tasks"]
    assert {task: tasks[task]["limit"] for task in tasks if task not in ("plan", "finish")} == limits
    for task in tasks.values():
        assert (task["retries"], task["pause"], task["exponential"], task["queue"]) == (retries, pause, False, queue)
        assert task["at_once"] == at_once


def test_each_service_has_a_dag_and_a_twin() -> None:
    assert set(LISTED) == SERVICES <= parsed().keys()


@pytest.mark.parametrize("name", LISTED)
def test_operators_get_a_mail_of_a_final_failure_and_not_of_a_retry(name: str) -> None:
    tasks = parsed()[name]["tasks"]
    assert {task["retried"] == [] for task in tasks.values()} == {True}
    assert {name: task["failed"] for name, task in tasks.items()} == {
        name: ["mail_unexpected_failure" if name == "finish" else "mail_operators"] for name in tasks
    }
    assert parsed()[name]["failed"] == []


def test_both_tasks_run_again_after_a_failed_model_except_in_tests() -> None:
    tasks = {name: (task["after"], task["rule"]) for name, task in parsed()["apply-model"]["tasks"].items()}
    assert tasks == {
        "calculate_feature_service": ([], "all_success"),
        "apply_model_service": (["calculate_feature_service"], "all_success"),
        "calculate_feature_service_without_cache": (["apply_model_service"], "one_failed"),
        "apply_model_service_without_cache": (["calculate_feature_service_without_cache"], "all_success"),
        "finish": (["apply_model_service", "apply_model_service_without_cache"], "all_done"),
    }
    testing = parsed()["apply-model-testing"]["tasks"]
    assert list(testing) == ["calculate_feature_service", "apply_model_service", "finish"]


def test_each_entry_is_a_task_of_its_own() -> None:
    for name in ("sample-extraction", "sample-extraction-testing"):
        tasks = parsed()[name]["tasks"]
        assert [task for task in tasks if tasks[task]["mapped"]] == ["extract_sentinel_2"]
        assert tasks["finish"]["rule"] == "all_done"


MODEL: dict[str, Any] = {
    "epsg": 3035,
    "resampling": "bilinear",
    "cloudmask_type": "scl",
    "model_path": "models/clcplus.onnx",
    "data": {"features": {"NDVI": {"values": ["MEDIAN"]}}},
    "scene_ids_by_index": {"0": ["a"]},
    "data_type": "int16",
    "path_prefix": "p",
    "use_cache": True,
}
FEATURES = {
    "results": {
        "data": {"NDVI": {"MEDIAN": "s3://b/ndvi.tif"}, "SCL": {"COUNT": "s3://b/scl.tif"}},
        "metadata": {"acquisition_dates": ["2023-05-01"]},
    }
}
SAMPLES = {
    "start_date": "2023-04-01",
    "end_date": "2023-09-30",
    "include_url": "true",
    "out_path": "o",
    "data": {"type": "FeatureCollection", "features": []},
}


def scene(tile: str) -> dict[str, Any]:
    return {"acquisition_date": "2023-05-01", "tile_id": tile, "bands": ["B02"]}


def product(tile: str) -> dict[str, Any]:
    return {"product_id": f"S2A_MSIL2A_20230501T100031_N0509_R122_T{tile}_20230501T134502", "bands": ["B02"]}


_FIRST_TRY = {
    "01AAA": Reply({"message": "busy"}, 500),
    "02AAA": Reply(body=b'{"file": "', length=500),
    "03AAA": Reply(body=b"<html>busy</html>"),
}
"""What tiles answer to the first try; to the second they answer as the others do."""


def _played(asked: Asked) -> Reply:
    """Answer like the services, some of which are faulty."""
    try_ = int(asked.query["process_id"].rpartition("_")[2])
    match asked.path:
        case "/s2scenesfeatures":
            return Reply(FEATURES)
        case "/applymodel":
            well = asked.query["model_path"] != "ill" and (asked.query["model_path"] != "cached" or try_ > 11)
            return Reply({"files": ["s3://b/out.tif"]}) if well else Reply({}, 500)
        case "/prepare_samples":
            gone = asked.query["out_path"] == "gone"
            return Reply({"message": "no such path"}, 404) if gone else Reply({"path": "o"}, 500 if try_ == 1 else 200)
    tile = asked.content["tile_id"]
    if tile == "99ZZZ":
        return Reply({"message": "no such tile"}, 400)
    return _FIRST_TRY.get(tile, Reply({"file": tile})) if try_ == 1 else Reply({"file": tile})


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished run: the requests to the services, the states of its tasks, and the mails about it."""

    state: str
    ending: Done | Failed | None
    asked: list[Asked]
    tasks: dict[str, tuple[str, int]]
    """State and number of tries by task, mapped ones as `task[index]`."""
    mails: list[str]
    said: list[str]
    """How it stood meanwhile, in the order in which it came to that."""

    def count(self) -> Counter[str]:
        """Return the number of requests by path."""
        return Counter(asked.path for asked in self.asked)

    def entries(self) -> Counter[str]:
        """Return the number of requests by entry of a list; Airflow may begin a task again before it asks."""
        return Counter(asked.query["process_id"].rpartition(".")[2].split("_")[1] for asked in self.asked)


class Stage:
    """An Airflow with stand-ins for the services and a mail server."""

    def __init__(self, airflow: Airflow, played: PlayedServices, postman: Postman) -> None:
        self._airflow = airflow
        self._played = played
        self._postman = postman
        self._said: dict[str, list[str]] = {}

    def begin(self, dag: str, inputs: dict[str, Any]) -> tuple[str, str]:
        """Start a run like the server; return its DAG and its job."""
        job = str(uuid4())
        self._said[job] = []
        hand_order(self._airflow.state / "results" / job / "1", Order(dag, inputs, ""), OURS[dag])
        self._airflow.begin(dag, f"{job}.1", {"job": job, "attempt": 1, "process": dag})
        return dag, job

    def wait(self, dag: str, job: str) -> Ran:
        """Return the run once it is over."""
        run = f"{job}.1"
        state = self._airflow.ended(dag, run, within=240)
        found = self._airflow.ask("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        tasks = {_name(each): (each["state"], each["try_number"]) for each in found}
        asked = [each for each in self._played.asked if each.query["process_id"].startswith(run)]
        mails = [mail for mail in map(_text, self._postman.taken) if run in mail]
        return Ran(state, self._ending(job), asked, tasks, mails, self._said[job])

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Receive the states of the runs, like the server."""
        over = Event()
        thread = Thread(target=self._listen, args=(over,))
        thread.start()
        yield
        over.set()
        thread.join()

    def _listen(self, over: Event) -> None:
        while not over.wait(0.02):
            for job in list(self._said):
                found = status_of_tasks(self._airflow.state / "results" / job / "1")
                if found and found not in self._said[job][-1:]:
                    self._said[job].append(found)

    def _ending(self, job: str) -> Done | Failed | None:
        tries = sorted((self._airflow.state / "results" / job / "1").glob("*/"))
        return read_ending(tries[-1]) if tries else None


def _name(task: dict[str, Any]) -> str:
    return str(task["task_id"]) + (f"[{task['map_index']}]" if task["map_index"] >= 0 else "")


def _text(envelope: Any) -> str:
    message = message_from_bytes(envelope.content)
    parts = [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]
    return f"{message['subject']}\n" + "\n".join(part.decode() for part in parts if isinstance(part, bytes))


@pytest.fixture(scope="module")
def ran(airflow: Airflow) -> Iterator[dict[str, Ran]]:
    """Return the concurrent runs of a few orders; the first starts before the operator has set any connection."""
    played, postman = PlayedServices(_played), Postman(port=airflow.mail_port)
    stage = Stage(airflow, played, postman)
    with stage.listening():
        yield _all(airflow, played, stage)
    played.close()
    postman.close()


def _all(airflow: Airflow, played: PlayedServices, stage: Stage) -> dict[str, Ran]:
    problems = _problems(airflow)
    unconnected = stage.wait(*stage.begin("apply-model-testing", MODEL))
    unconnected = replace(unconnected, said=[*unconnected.said, *problems])
    for environment in ("prod", "test"):
        for name in NAMES:
            airflow.connect(f"clc_{environment}_{name}", played.url)
    begun = {
        "cached": stage.begin("apply-model", {**MODEL, "model_path": "cached"}),
        "well": stage.begin("apply-model", {**MODEL, "data_source": "own"}),
        "ill": stage.begin("apply-model-testing", {**MODEL, "model_path": "ill"}),
        "retried": stage.begin("prepare-samples", SAMPLES),
        "refused": stage.begin("prepare-samples-testing", {**SAMPLES, "out_path": "gone"}),
        "entries": stage.begin("sample-extraction", {"s2_parameter_list": [scene("33UXP"), product("34UXP")]}),
        "some": stage.begin(
            "sample-extraction-testing",
            {"s2_parameter_list": [scene("01AAA"), scene("99ZZZ"), scene("02AAA"), scene("03AAA"), product("99ZZZ")]},
        ),
        "slow": stage.begin("test-slow-service", {}),
    }
    return {"unconnected": unconnected, **{name: stage.wait(*each) for name, each in begun.items()}}


def _problems(airflow: Airflow) -> list[str]:
    """Return the problems that `check` and readiness report for the server's own user."""
    access = AirflowAccess(airflow.url, airflow.username, airflow.password)
    with closing(Client(access)) as client:
        health = AirflowHealth(access)
        assert health.trouble() == ""
        return [*examine(client, SERVICES).lacks(SERVICES), *sorted(health.lacking["sample-extraction"])]


def reason(run: Ran) -> str:
    assert run.state == "failed"
    assert isinstance(run.ending, Failed)
    return run.ending.reason


def test_the_model_is_applied_and_its_answer_is_the_result(ran: dict[str, Ran]) -> None:
    run = ran["well"]
    assert (run.state, run.ending) == ("success", Done((Output("result", {"files": ["s3://b/out.tif"]}),)))
    assert [(asked.path, asked.query["process_id"].rpartition(".")[2]) for asked in run.asked] == [
        ("/s2scenesfeatures", "1_1"),
        ("/applymodel", "1_1"),
    ]
    assert (run.asked[0].query["use_cache"], run.asked[0].query["data_source"]) == ("True", "own")
    assert run.asked[0].content["features"] == {"NDVI": {"values": ["MEDIAN"]}, "SCL": {"values": ["COUNT"]}}
    assert run.asked[1].content["inputs"] == {"NDVI": "s3://b/ndvi.tif"}
    assert run.tasks["calculate_feature_service_without_cache"][0] == "skipped"
    assert run.mails == []


def test_a_failed_model_runs_again_without_the_cache(ran: dict[str, Ran]) -> None:
    run = ran["cached"]
    assert (run.state, run.ending) == ("success", Done((Output("result", {"files": ["s3://b/out.tif"]}),)))
    assert run.count() == {"/s2scenesfeatures": 2, "/applymodel": 12}
    features = [asked.query for asked in run.asked if asked.path == "/s2scenesfeatures"]
    assert [query["use_cache"] for query in features] == ["True", "False"]
    names = [asked.query["process_id"] for asked in run.asked if asked.path == "/applymodel"]
    assert [name.rpartition("_")[2] for name in names] == [str(number) for number in range(1, 13)]
    assert run.tasks["apply_model_service"] == ("failed", 11)
    assert run.tasks["apply_model_service_without_cache"] == ("success", 1)
    assert len(run.mails) == 1


def test_a_failed_model_of_a_test_order_fails_the_order(ran: dict[str, Ran]) -> None:
    run = ran["ill"]
    assert reason(run) == "apply-model-service failed with status 500"
    assert run.count() == {"/s2scenesfeatures": 1, "/applymodel": 3}
    assert run.tasks["apply_model_service"] == ("failed", 3)


def test_operators_get_one_mail_of_a_final_failure(ran: dict[str, Ran]) -> None:
    [mail] = ran["ill"].mails
    assert mail.startswith("Landcast: apply_model_service of apply-model-testing failed\n")
    assert "models/" not in mail
    for name in ("well", "retried", "entries"):
        assert ran[name].mails == []


def test_a_temporary_failure_is_tried_again(ran: dict[str, Ran]) -> None:
    run = ran["retried"]
    assert (run.state, run.ending) == ("success", Done((Output("result", {"path": "o"}),)))
    assert [asked.query["process_id"].rpartition(".")[2] for asked in run.asked] == ["1_1", "1_2"]
    assert run.asked[0].query["include_url"] == "True"


def test_a_refusal_is_not_tried_again(ran: dict[str, Ran]) -> None:
    run = ran["refused"]
    found = 'sample-extraction-service refused it with status 404: {"message": "no such path"}'
    assert reason(run) == found
    assert run.count() == {"/prepare_samples": 1}
    assert len(run.mails) == 1


def test_answers_have_the_order_of_the_list(ran: dict[str, Ran]) -> None:
    run = ran["entries"]
    assert run.ending == Done((Output("result", [{"file": "33UXP"}, {"file": "34UXP"}]),))
    assert run.entries() == {"0": 1, "1": 1}


def test_a_failure_names_the_failed_entries_while_others_continue(ran: dict[str, Ran]) -> None:
    run = ran["some"]
    refused = 'sample-extraction-service refused it with status 400: {"message": "no such tile"}'
    assert reason(run) == (
        f"2 of 5 entries failed: s2_parameter_list[1] (99ZZZ, 2023-05-01): {refused}; "
        f"s2_parameter_list[4] ({product('99ZZZ')['product_id']}): {refused}; succeeded: s2_parameter_list[0, 2, 3]"
    )
    assert {name: state for name, (state, _) in run.tasks.items() if name.startswith("extract")} == {
        "extract_sentinel_2[0]": "success",
        "extract_sentinel_2[1]": "failed",
        "extract_sentinel_2[2]": "success",
        "extract_sentinel_2[3]": "success",
        "extract_sentinel_2[4]": "failed",
    }
    assert run.entries() == {"0": 2, "1": 1, "2": 2, "3": 2, "4": 1}, "a temporary failure is tried again, no refusal"
    assert len(run.mails) == 2


def test_a_service_that_times_out_is_tried_again_and_then_fails(ran: dict[str, Ran]) -> None:
    run = ran["slow"]
    assert reason(run) == "the service did not answer within its time limit"
    assert run.tasks["ask"] == ("failed", 2)


def test_a_service_without_a_connection_fails_the_order_at_once_and_is_reported(ran: dict[str, Ran]) -> None:
    run = ran["unconnected"]
    lacking = "Airflow has no connection clc_test_calculate_feature_service"
    assert reason(run) == f"calculate-feature-service is not set up: {lacking}"
    assert (run.tasks["calculate_feature_service"], run.asked) == (("failed", 1), [])
    assert len(run.mails) == 1
    assert f"{lacking}, which apply-model-testing needs" in run.said
    assert run.said[-1] == "clc_prod_sample_extraction_service"


def test_an_order_reports_its_try_and_the_failure_of_the_last_one(ran: dict[str, Ran]) -> None:
    said = ran["ill"].said
    met = "apply-model-service failed with status 500."
    expected = (
        rf"Try 1 of 3 failed: {met} The next is at \d\d:\d\d:\d\d UTC\.",
        rf"Asking apply-model-service, try \d of \d\. The last try failed: {met}",
    )
    for pattern in expected:
        assert any(re.fullmatch(pattern, each) for each in said), said
    assert re.fullmatch(rf"Try (\d) of \1 failed: {met}", said[-1]), "after the last there is no next one"
    found = [each for each in ran["some"].said if each.startswith("[1] ")]
    assert any("refused it with status 400" in each for each in found), "of a list, which entry"
