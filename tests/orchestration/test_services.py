"""Requests to the production services over real sockets, with valid and with unusual answers."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orchestration.ending import read_ending
from orchestration.errors import ManyMetrics, ServiceFailed, ServiceNotSetUp, ServiceRefused, WorkFailed
from orchestration.handover import hand_order
from orchestration.job import Order, Output
from orchestration.net.addresses import any_address
from orchestration.net.connection import connect, parse_address
from orchestration.registry import ProcessRow
from orchestration.runners import Done, Failed
from orchestration.services.apply_model import apply_model, calculate_features
from orchestration.services.finish import ServiceRun, finish, give_up
from orchestration.services.prepare_samples import prepare_samples
from orchestration.services.sample_extraction import extract_sentinel_2, scene_of, summary
from orchestration.services.service import MAX_ANSWER, Service
from tests.orchestration.played_services import Asked, PlayedServices, Reply
from tests.ports import free_port

Play = Callable[..., PlayedServices]
JOB = "7f0c5c3e-3a2f-4a57-9a3c-0d6f5b6a1c11"
MODEL: dict[str, Any] = {
    "epsg": 3035,
    "resampling": "bilinear",
    "cloudmask_type": "s2 cloudless & scl",
    "model_path": "models/ä.onnx",
    "data": {"features": {"NDVI": {"values": ["MEDIAN"]}}, "tiles": ["33UXP"]},
    "scene_ids_by_index": {"0": ["a", "b"]},
    "data_type": "int16",
    "path_prefix": "p/q",
    "use_cache": True,
}
FILES: dict[str, Any] = {
    "NDVI": {"MEDIAN": "s3://b/ndvi.tif", "META": "s3://b/ndvi.json"},
    "B02": {"MEAN": "s3://b/b02.TIFF"},
    "SCL": {"COUNT": "s3://b/scl.tif"},
}
PLACES = {"type": "FeatureCollection", "features": []}
SAMPLES = {
    "start_date": "2023-04-01",
    "end_date": "2023-09-30",
    "out_path": "o",
    "include_url": "false",
    "data": PLACES,
}
SCENE = {"acquisition_date": "2023-05-01", "tile_id": "T33UXP", "bands": ["B02"]}
NAME = "S2A_MSIL2A_20230501T100031_N0509_R122_T33UXP_20230501T134502"


@pytest.fixture
def play() -> Iterator[Play]:
    """Return a function that starts stand-ins for the services with a fixed or computed answer."""
    playing: list[PlayedServices] = []

    def start(reply: Reply | Callable[[Asked], Reply]) -> PlayedServices:
        playing.append(PlayedServices(reply if callable(reply) else lambda _asked: reply))
        return playing[-1]

    yield start
    for each in playing:
        each.close()


def features_of(files: Any, dates: Any = ("2023-05-01",)) -> Reply:
    return Reply({"results": {"data": files, "metadata": {"acquisition_dates": dates}}})


def test_features_are_requested_with_the_count_of_observations(play: Play) -> None:
    played = play(features_of(FILES))
    before = json.dumps(MODEL)
    taken = calculate_features(played.service(), MODEL, "run_1", use_cache=True)
    assert taken == {
        "inputs": {"NDVI": "s3://b/ndvi.tif", "B02": "s3://b/b02.TIFF"},
        "acquisition_dates": ["2023-05-01"],
    }
    assert json.dumps(MODEL) == before
    [asked] = played.asked
    assert asked.path == "/s2scenesfeatures"
    assert asked.query == {
        "process_id": "run_1",
        "path_prefix": "p/q",
        "to_upload": "True",
        "use_cache": "True",
        "resolution": "10",
        "data_source": "element_aws_clc",
        "epsg": "3035",
        "resampling": "bilinear",
        "cloudmask_type": "s2 cloudless & scl",
        "data_type": "int16",
    }
    assert asked.content == {
        "features": {"NDVI": {"values": ["MEDIAN"]}, "SCL": {"values": ["COUNT"]}},
        "tiles": ["33UXP"],
    }
    assert asked.headers["Content-Type"] == "application/json"


def test_inputs_without_features_request_only_the_count(play: Play) -> None:
    played = play(features_of(FILES))
    calculate_features(played.service(), {**MODEL, "data": {}}, "run_1", use_cache=False)
    assert played.asked[0].content == {"features": {"SCL": {"values": ["COUNT"]}}}
    assert played.asked[0].query["use_cache"] == "False"


def test_the_data_source_is_that_of_the_caller_or_the_operator(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    played = play(features_of(FILES))
    monkeypatch.setenv("LANDCAST_AIRFLOW_DATA_SOURCE", "cdse")
    calculate_features(played.service(), MODEL, "run_1", use_cache=False)
    calculate_features(played.service(), {**MODEL, "data_source": "own"}, "run_1", use_cache=False)
    assert [asked.query["data_source"] for asked in played.asked] == ["cdse", "own"]


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"results": []},
        {"results": {"data": FILES}},
        {"results": {"data": [], "metadata": {"acquisition_dates": []}}},
        {"results": {"data": FILES, "metadata": {"acquisition_dates": None}}},
        {"results": {"data": {"NDVI": "s3://b/ndvi.tif"}, "metadata": {"acquisition_dates": []}}},
        {"results": {"data": {"NDVI": {"MEDIAN": 1}}, "metadata": {"acquisition_dates": []}}},
        {"results": {"data": {}, "metadata": {"acquisition_dates": []}}},
        {"results": {"data": {"SCL": {"COUNT": "c.tif"}}, "metadata": {"acquisition_dates": []}}},
        {"results": {"data": {"NDVI": {"MEDIAN": "a.tif.json"}}, "metadata": {"acquisition_dates": []}}},
    ],
)
def test_features_of_an_unexpected_type_are_refused(play: Play, answer: Any) -> None:
    service = play(Reply(answer)).service("calculate-feature-service")
    with pytest.raises(ServiceFailed, match="calculate-feature-service answered nonsense: there "):
        calculate_features(service, MODEL, "run_1", use_cache=True)


def test_two_metrics_of_a_feature_are_an_error_that_names_it(play: Play) -> None:
    played = play(features_of({"NDVI": {"MEDIAN": "a.tif", "MEAN": "b.tif"}}))
    with pytest.raises(ManyMetrics, match="one metric a feature; NDVI has MEDIAN, MEAN"):
        calculate_features(played.service(), MODEL, "run_1", use_cache=True)
    other = play(features_of({"SCL": {"COUNT": "a.tif", "MODE": "b.tif"}}))
    assert calculate_features(other.service(), MODEL, "run_1", use_cache=True)["inputs"] == {"SCL": "b.tif"}


def test_the_model_is_applied_to_the_features(play: Play) -> None:
    played = play(Reply({"files": ["s3://b/out.tif"]}))
    features = {"inputs": {"NDVI": "a.tif"}, "acquisition_dates": ["2023-05-01"]}
    assert apply_model(played.service(), MODEL, features, "run_3") == {"files": ["s3://b/out.tif"]}
    [asked] = played.asked
    assert (asked.path, asked.query) == ("/applymodel", {"process_id": "run_3", "model_path": "models/ä.onnx"})
    assert asked.content == {**features, "scene_ids_by_index": {"0": ["a", "b"]}}


@pytest.mark.parametrize(("given", "word"), [("true", "True"), (True, "True"), ("false", "False"), (False, "False")])
def test_samples_are_prepared_for_places(play: Play, given: Any, word: str) -> None:
    played = play(Reply({"path": "o/samples.csv"}))
    answer = prepare_samples(played.service(), {**SAMPLES, "include_url": given}, "run_1")
    assert answer == {"path": "o/samples.csv"}
    [asked] = played.asked
    assert asked.path == "/prepare_samples"
    assert asked.query == {
        "process_id": "run_1",
        "start_date": "2023-04-01",
        "end_date": "2023-09-30",
        "out_path": "o",
        "include_url": word,
    }
    assert asked.content == PLACES


@pytest.mark.parametrize(
    ("entry", "scene"),
    [
        (SCENE, ("2023-05-01", "T33UXP")),
        ({"product_id": NAME, "bands": ["B02"]}, ("2023-05-01", "33UXP")),
        ({"product_id": f"{NAME}.SAFE", "bands": ["B02"]}, ("2023-05-01", "33UXP")),
    ],
)
def test_samples_are_extracted_from_a_scene_or_a_product(play: Play, entry: Any, scene: tuple[str, str]) -> None:
    played = play(Reply(["s3://b/33UXP.csv"]))
    assert extract_sentinel_2(played.service(), entry, "run_4_1") == ["s3://b/33UXP.csv"]
    [asked] = played.asked
    assert (asked.path, asked.query) == ("/extract_sentinel_2", {"process_id": "run_4_1"})
    assert asked.content == {"acquisition_date": scene[0], "tile_id": scene[1], "bands": ["B02"]}


@pytest.mark.parametrize("name", ["x", NAME.replace("20230501T10", "20230230T10"), f"{NAME}\n", f"x{NAME}"])
def test_an_invalid_product_name_has_no_scene(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        scene_of({"product_id": name, "bands": ["B02"]})


def test_a_failure_names_the_failed_and_successful_entries() -> None:
    entries = [SCENE, {"product_id": NAME, "bands": ["B02"]}, SCENE]
    assert summary(entries, {1: "no such product"}) == (
        f"1 of 3 entries failed: s2_parameter_list[1] ({NAME}): no such product; succeeded: s2_parameter_list[0, 2]"
    )
    assert summary([SCENE], {0: "away"}) == (
        "1 of 1 entries failed: s2_parameter_list[0] (T33UXP, 2023-05-01): away; none succeeded"
    )


@pytest.mark.parametrize("status", [400, 404])
def test_a_refusal_has_the_text_of_the_service(play: Play, status: int) -> None:
    said = 'no\n such   tile \x1b[31m "' + "x" * 1000
    service = play(Reply(body=said.encode(), status=status)).service("sample-extraction-service")
    with pytest.raises(ServiceRefused) as caught:
        extract_sentinel_2(service, SCENE, "run_0_1")
    text = str(caught.value)
    assert text.startswith(f'sample-extraction-service refused it with status {status}: no such tile �[31m "xxx')
    assert text.endswith("x…")
    assert len(text) < 400


@pytest.mark.parametrize("status", [500, 502, 503, 401, 403, 302, 307, 100 + 99])
def test_any_other_status_is_a_temporary_failure(play: Play, status: int) -> None:
    """A redirect is not followed: a service must not choose the receiver of an order."""
    played = play(Reply({"secret": "stack"}, status=status, headers={"Location": "/elsewhere"}))
    with pytest.raises(ServiceFailed, match=f"^apply-model-service failed with status {status}$") as caught:
        apply_model(played.service(), MODEL, {"inputs": {}, "acquisition_dates": []}, "run_1")
    assert not isinstance(caught.value, ServiceRefused)
    assert len(played.asked) == 1


NONSENSE = [
    (Reply(body=b""), "no JSON"),
    (Reply(body=b"<html>"), "no JSON"),
    (Reply(body=b'{"a": 1'), "no JSON"),
    (Reply(body=b'{"a": NaN}'), "no JSON"),
    (Reply(body=b'{"a": 1e999}'), "no JSON"),
    (Reply(body=b'"\xff"'), "no JSON"),
    (Reply(body=b'{"a": "\\u0000"}'), "no JSON"),
    (Reply(body=b'{"a": "\\ud800"}'), "no JSON"),
    (Reply(body=b"[" * 100_000), "no JSON"),
    (Reply(None), "it says nothing"),
    (Reply(0), "it says nothing"),
    (Reply({}), "it says nothing"),
    (Reply(body=b'{"a": 1}', length=100), "cut off half-way"),
    (Reply(body=b'{"a": 1}', headers={"Content-Encoding": "gzip"}), "compressed"),
    (Reply(body=b'"' + b"x" * MAX_ANSWER + b'"'), f"larger than {MAX_ANSWER} bytes"),
]


@pytest.mark.parametrize(("reply", "what"), NONSENSE)
def test_an_invalid_answer_is_a_failure_with_the_service(play: Play, reply: Reply, what: str) -> None:
    service = play(reply).service("sample-extraction-service")
    with pytest.raises(ServiceFailed, match=f"^sample-extraction-service answered nonsense: .*{what}"):
        prepare_samples(service, SAMPLES, "run_1")


@pytest.mark.parametrize(
    "reply", [Reply(after=90), Reply({"a": "x" * 300}, drip=0.3)], ids=["no byte", "a byte at a time"]
)
def test_a_slow_answer_ends_at_the_limit(play: Play, reply: Reply) -> None:
    service, start = play(reply).service(seconds=0.5), time.monotonic()
    with pytest.raises(ServiceFailed, match=r"^apply-model-service did not answer within 0.5 s$"):
        prepare_samples(service, SAMPLES, "run_1")
    assert time.monotonic() - start < 45


@pytest.mark.parametrize(
    "url", ["ftp://x:1", "", "http://:5000", "http://a b:5000", "http://me:secret@x:5000", "http://x:0"]
)
def test_an_invalid_address_is_not_an_outage(url: str) -> None:
    with pytest.raises(ServiceNotSetUp, match=r"^apply-model-service is not set up: its connection has no") as caught:
        prepare_samples(Service("apply-model-service", url, 5), SAMPLES, "run_1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid:5000"])
def test_an_unreachable_service_is_a_failure_without_its_address(url: str) -> None:
    with pytest.raises(ServiceFailed, match=r"^apply-model-service cannot be reached") as caught:
        prepare_samples(Service("apply-model-service", url, 5), SAMPLES, "run_1")
    assert "://" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


def test_a_lost_machine_is_detected_while_waiting_for_the_service(play: Play) -> None:
    connection = connect(parse_address(play(Reply()).url), time.monotonic() + 9, allowed=any_address)
    connection.connect()
    [sock] = connection._open
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    probes = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT]
    assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in probes] == [60, 20, 6]
    connection.hang_up()


def test_a_login_is_sent_and_never_shown(play: Play) -> None:
    played = play(Reply({"a": 1}))
    service = played.service(login="me:pässword")
    prepare_samples(service, SAMPLES, "run_1")
    assert played.asked[0].headers["Authorization"] == "Basic bWU6cMOkc3N3b3Jk"
    assert "ssword" not in repr(service)


def test_proxy_variables_are_ignored(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert prepare_samples(play(Reply({"a": 1})).service(), SAMPLES, "run_1") == {"a": 1}


def test_a_run_ends_with_the_answer_or_with_the_reason(tmp_path: Any) -> None:
    hand_order(tmp_path / JOB / "2", Order("p", {"a": "\0"}, "ann"), ProcessRow("p"))
    run = ServiceRun.of({"job": JOB, "attempt": 2, "process": "p"}, f"{JOB}.2", tmp_path)
    assert run.inputs == {"a": "\0"}
    give_up(run, tmp_path, 1, "x" * 9000)
    finish(run, tmp_path, 3, {"a": ["ä"]})
    failed, done = (read_ending(tmp_path / JOB / "2" / try_) for try_ in ("1", "3"))
    assert isinstance(failed, Failed)
    assert failed.reason == "x" * 4000 + "…"
    assert done == Done((Output("result", {"a": ["ä"]}),))
    assert run.process_id(4, 1) == f"{JOB}.2_4_1"


@pytest.mark.parametrize(
    "conf",
    [
        {},
        {"job": "../../x", "attempt": 1},
        {"job": JOB.upper(), "attempt": 1},
        {"job": f"{{{JOB}}}", "attempt": 1},
        {"job": JOB, "attempt": "../1"},
        {"job": JOB, "attempt": 0},
    ],
)
def test_a_run_without_an_order_writes_nothing(conf: Any, tmp_path: Any) -> None:
    """A user who starts runs in Airflow must not choose the folder that is written to."""
    with pytest.raises(WorkFailed, match="started for no order"):
        ServiceRun.of(conf, "run", tmp_path)
